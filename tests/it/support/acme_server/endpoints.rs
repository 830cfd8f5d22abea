//! From connections to answers: which resource a request is for, whether it is
//! to fail, and the resources that need no account (RFC 8555 s7.1, s7.2).

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LINK, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::fault::{Fault, Step};
use super::jws::Jws;
use super::orders::certificate_of;
use super::problem::Problem;

pub(super) type Answer = Response<Full<Bytes>>;

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// Takes connections until it is aborted, which ends them too.
pub(super) async fn listen(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|req| answer(&shared, req));
            // A client that goes away is no failure of the server.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The answer, or an error that ends the connection.
async fn answer(shared: &Arc<Shared>, req: Request<Incoming>) -> Result<Answer, std::io::Error> {
    let (head, body) = req.into_parts();
    let sent = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let target = Target::of(head.uri.path());
    let fault = target.as_ref().and_then(|target| shared.state().arrive(target.step()));
    let mut res = match fault {
        None => match target {
            Some(target) => shared.serve(&target, &head, &sent).unwrap_or_else(|problem| problem.answer()),
            None => Problem::not_found().answer(),
        },
        Some(Fault::Status(status, retry_after)) => {
            Problem::new("serverInternal", status, "the test has it fail").retry_after(retry_after).answer()
        }
        Some(Fault::Problem(kind, status, retry_after)) => {
            Problem::new(kind, status, "the test has it fail").retry_after(retry_after).answer()
        }
        Some(Fault::Garbage) => return Ok(garbage()),
        Some(Fault::Json(text)) => return Ok(content(StatusCode::OK, text)),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Close) => return Err(std::io::Error::other("the test closes the connection")),
    };
    let fields = res.headers_mut();
    fields.append(LINK, field(&format!("<{}/directory>;rel=\"index\"", shared.base)));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if head.method == Method::POST || head.uri.path() == "/new-nonce" {
        fields.insert(REPLAY_NONCE, field(&shared.state().nonces.issue()));
    }
    Ok(res)
}

/// What a URL stands for.
enum Target<'a> {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    Order(usize),
    Finalize(usize),
    Authorization(usize),
    Challenge(usize),
    Certificate(usize),
    RenewalInfo(&'a str),
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let mut words = path.strip_prefix('/')?.split('/');
        let target = match (words.next()?, words.next(), words.next()) {
            ("directory", None, _) => Self::Directory,
            ("new-nonce", None, _) => Self::NewNonce,
            ("new-account", None, _) => Self::NewAccount,
            ("new-order", None, _) => Self::NewOrder,
            ("order", Some(index), None) => Self::Order(index.parse().ok()?),
            ("order", Some(index), Some("finalize")) => Self::Finalize(index.parse().ok()?),
            ("authorization", Some(index), None) => Self::Authorization(index.parse().ok()?),
            ("challenge", Some(index), None) => Self::Challenge(index.parse().ok()?),
            ("certificate", Some(index), None) => Self::Certificate(index.parse().ok()?),
            ("renewal-info", Some(id), None) => Self::RenewalInfo(id),
            _ => return None,
        };
        words.next().is_none().then_some(target)
    }

    fn step(&self) -> Step {
        match self {
            Self::Directory => Step::Directory,
            Self::NewNonce => Step::NewNonce,
            Self::NewAccount => Step::NewAccount,
            Self::NewOrder => Step::NewOrder,
            Self::Order(_) => Step::Order,
            Self::Finalize(_) => Step::Finalize,
            Self::Authorization(_) => Step::Authorization,
            Self::Challenge(_) => Step::Challenge,
            Self::Certificate(_) => Step::Certificate,
            Self::RenewalInfo(_) => Step::RenewalInfo,
        }
    }

    fn allows(&self, method: &Method) -> bool {
        match self {
            Self::Directory | Self::RenewalInfo(_) => method == Method::GET,
            Self::NewNonce => method == Method::GET || method == Method::HEAD,
            _ => method == Method::POST,
        }
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, target: &Target<'_>, head: &Parts, sent: &[u8]) -> Result<Answer, Problem> {
        if !target.allows(&head.method) {
            return Err(Problem::new("malformed", 405, "a wrong method"));
        }
        match *target {
            Target::Directory => return Ok(self.directory()),
            Target::NewNonce if head.method == Method::HEAD => return Ok(content(StatusCode::OK, "")),
            Target::NewNonce => return Ok(content(StatusCode::NO_CONTENT, "")),
            Target::RenewalInfo(id) => return self.renewal_info(id),
            _ => {}
        }
        if head.headers.get(CONTENT_TYPE).is_none_or(|value| value != "application/jose+json") {
            return Err(Problem::new("malformed", 415, "only application/jose+json is taken"));
        }
        let jws = Jws::parse(sent)?;
        let mut state = self.state();
        let state = &mut *state;
        if let Target::NewAccount = target {
            return self.new_account(state, &jws, head);
        }
        let account = self.account_of(state, &jws, head)?;
        match *target {
            Target::NewOrder => self.new_order(state, account, jws.json()?),
            Target::Order(order) => self.order(state, account, order, &jws),
            Target::Finalize(order) => self.finalize(state, account, order, &jws.json()?),
            Target::Authorization(authorization) => self.authorization(state, account, authorization, &jws),
            Target::Challenge(challenge) => self.challenge(state, account, challenge, &jws),
            Target::Certificate(certificate) => certificate_of(state, account, certificate, &jws),
            Target::Directory | Target::NewNonce | Target::NewAccount | Target::RenewalInfo(_) => {
                unreachable!("served above")
            }
        }
    }

    fn directory(&self) -> Answer {
        let url = |path: &str| format!("{}/{path}", self.base);
        let profiles = self.options.profiles.iter().map(|name| ((*name).to_owned(), json!("of the test")));
        let mut directory = json!({
            "newNonce": url("new-nonce"),
            "newAccount": url("new-account"),
            "newOrder": url("new-order"),
            "meta": {
                "profiles": profiles.collect::<Map<_, _>>(),
                "externalAccountRequired": self.options.external_account.is_some(),
                "caaIdentities": self.options.caa_identities,
            },
        });
        if self.options.renewal_info {
            directory["renewalInfo"] = url("renewal-info").into();
        }
        json_content(StatusCode::OK, &directory)
    }

    /// RFC 9773 s4.
    fn renewal_info(&self, id: &str) -> Result<Answer, Problem> {
        let state = self.state();
        let certificate = state.certificates.iter().find(|certificate| certificate.issued.id == id);
        let certificate = certificate.filter(|_| self.options.renewal_info).ok_or_else(Problem::not_found)?;
        let default = || certificate.issued.default_renewal_window();
        let (start, end) = state.renewal_window.unwrap_or_else(default);
        let window = json!({ "suggestedWindow": { "start": timestamp(start), "end": timestamp(end) } });
        let mut res = json_content(StatusCode::OK, &window);
        if let Some(retry_after) = state.renewal_retry_after {
            res.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
        }
        Ok(res)
    }
}

fn garbage() -> Answer {
    let mut res = content(StatusCode::OK, "<!DOCTYPE html><title>Down for maintenance</title>");
    res.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    res
}

pub(super) fn json_content(status: StatusCode, document: &Value) -> Answer {
    let mut res = content(status, document.to_string());
    res.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    res
}

pub(super) fn content(status: StatusCode, content: impl Into<Bytes>) -> Answer {
    let mut res = Response::new(Full::new(content.into()));
    *res.status_mut() = status;
    res
}

pub(super) fn field(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap()
}

pub(super) fn timestamp(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap()
}
