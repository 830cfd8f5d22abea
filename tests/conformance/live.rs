//! The running program, with an origin server and a client that speak HTTP/1.1
//! over sockets. Time passes by itself.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::ext::on_informational;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use seawall::base::{Clock, SystemClock};
use seawall::exchange::{
    Body, ConnectionInfo, Host, InterimClient, Protocol, Request, RequestId, Response, Scheme, Target,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::case::Case;
use crate::in_process::Told;
use crate::origin::{CaseOrigin, Seen};
use crate::run::{Edge, Got, content_of};

/// No exchange takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

const NAME: &str = "cache.test";

/// `seawall run` in front of the origin server of all cases.
pub(crate) struct Live {
    process: Child,
    _directory: TempDir,
    address: SocketAddr,
    cases: Arc<Cases>,
}

/// The origin servers of the cases, by their ids.
type Cases = Mutex<HashMap<String, Arc<CaseOrigin>>>;

/// One case before the running program.
pub(crate) struct LiveCase {
    address: SocketAddr,
    origin: Arc<CaseOrigin>,
}

impl Live {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start() -> Self {
        let cases = Arc::new(Cases::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::clone(&cases)));
        let directory = TempDir::new().unwrap();
        let (address, place) = (free_address(), directory.path().display());
        let config = format!(
            "state_dir = \"{place}/state\"\nlisten = {{ http = [\"{address}\"], https = [] }}\n\
             log = {{ access = \"{place}/access.log\" }}\n[admin]\nsocket = \"{place}/admin.sock\"\n\
             [site.\"{NAME}\"]\norigins = [\"{origin}\"]\nhealth = false\ntls = \"off\"\n"
        );
        let file = directory.path().join("seawall.toml");
        std::fs::write(&file, config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(["run", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let listening = async {
            while TcpStream::connect(address).is_err() {
                assert!(process.try_wait().unwrap().is_none(), "the program ended");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, listening).await.expect("the program listens");
        Self { process, _directory: directory, address, cases }
    }

    /// Has the origin server answer for a case, too.
    pub(crate) fn case(&self, case: &Case) -> LiveCase {
        let origin = CaseOrigin::new(content_of(case), &case.requests, Arc::new(SystemClock));
        self.cases.lock().unwrap().insert(case.id.clone(), Arc::clone(&origin));
        LiveCase { address: self.address, origin }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Edge for LiveCase {
    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn seen(&self) -> Vec<Seen> {
        self.origin.seen().clone()
    }

    async fn answer(&self, req: Box<Request>) -> Result<Got, String> {
        let exchange = tokio::time::timeout(DEADLINE, self.exchange(req)).await;
        exchange.map_err(|_| "no answer in time".to_owned())?.map_err(|error| format!("no response: {error}"))
    }

    /// What the cases mean by a pause is that clocks go on.
    async fn pause(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }
}

impl LiveCase {
    async fn exchange(&self, req: Box<Request>) -> Result<Got, Box<dyn std::error::Error + Send + Sync>> {
        let content = match req.body {
            Body::Full(content) => content,
            _ => Bytes::new(),
        };
        let mut sent = http::Request::new(Full::new(content));
        *sent.method_mut() = req.method;
        *sent.uri_mut() = req.target.path_and_query.as_str().parse()?;
        *sent.headers_mut() = Arc::unwrap_or_clone(req.fields);
        sent.headers_mut().insert(HOST, NAME.parse()?);
        let told = Arc::<Told>::default();
        let client = Arc::clone(&told);
        on_informational(&mut sent, move |res| client.tell(1, res.status(), res.headers()));
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection);
        let (head, body) = sender.send_request(sent).await?.into_parts();
        let content = body.collect().await?.to_bytes();
        drop(sender);
        let _ = driving.await;
        let text = String::from_utf8_lossy(&content).into_owned();
        Ok(Got { status: head.status.as_u16(), fields: head.headers, text, interim: told.take() })
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn serve(listener: TcpListener, cases: Arc<Cases>) {
    while let Ok((stream, _)) = listener.accept().await {
        let cases = Arc::clone(&cases);
        let stream = stream.into_std().unwrap();
        // hyper's server sends no interim responses: they are written past it.
        let past = Arc::new(stream.try_clone().unwrap());
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let service = service_fn(move |req| respond(Arc::clone(&cases), req, Arc::clone(&past)));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

/// The answer of the case that the path names; an error closes the connection.
async fn respond(
    cases: Arc<Cases>,
    req: http::Request<Incoming>,
    past: Arc<TcpStream>,
) -> Result<http::Response<Body>, std::io::Error> {
    let (head, body) = req.into_parts();
    let id = head.uri.path().split('/').nth(2).unwrap_or_default().to_owned();
    let origin = cases.lock().unwrap().get(&id).cloned().expect(&id);
    let _ = body.collect().await;
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let scheme = Scheme::Http;
    let req = Request {
        method: head.method,
        target: Target {
            scheme,
            host: Host::parse(&NAME.parse().unwrap(), scheme).unwrap(),
            path_and_query: head.uri.into_parts().path_and_query.unwrap(),
        },
        fields: Arc::new(head.headers),
        body: Body::Empty,
        upgrade: None,
        client: address.ip(),
        trusted: false,
        id: RequestId(1),
        protocol: Protocol::Http11,
        connection: Arc::new(ConnectionInfo { peer: address, local: address, scheme, tls: None }),
        session: None,
        interim: None,
        received: SystemClock.now(),
        received_wall: SystemClock.wall(),
    };
    tokio::time::sleep(origin.pause(&req)).await;
    for (status, fields) in origin.interim(&req) {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in &fields {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        (&*past).write_all(format!("{head}\r\n").as_bytes())?;
    }
    let Response { status, fields, body, .. } = *origin.respond(&req).map_err(std::io::Error::other)?;
    let mut res = http::Response::new(body);
    (*res.status_mut(), *res.headers_mut()) = (status, fields);
    Ok(res)
}
