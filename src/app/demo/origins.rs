//! The origin servers of the demo: HTTP/1.1 on ports of 127.0.0.1 that the
//! system picks. What they answer is decided in `answer`.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{OriginServer, SLOWEST};
use super::files::Files;
use crate::base::{Backoff, SystemClock, Tasks, random_unit};

const CONNECTIONS: usize = 1024;
const BUFFER: usize = 64 << 10;
/// Longer than an edge keeps an unused connection, so that it is the edge that
/// closes it.
const IDLE: Duration = Duration::from_secs(90);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
const ACCEPT_AGAIN: Backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_secs(1) };

/// Starts `count` origin servers on the current runtime and says where they
/// listen. They end when `tasks` is stopped, after the answers under way.
///
/// # Errors
/// If no port can be had.
pub fn start(count: usize, tasks: &Tasks) -> io::Result<Vec<SocketAddr>> {
    let files = Arc::new(Files::new());
    (1..=count)
        .map(|number| {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let name = format!("origin-{number}");
            let server = OriginServer::new(name, Arc::clone(&files), Arc::new(SystemClock), tasks.clone());
            tasks.spawn_until_stopped(accept(
                TcpListener::from_std(listener)?,
                Arc::new(server),
                tasks.clone(),
            ));
            Ok(address)
        })
        .collect()
}

async fn accept(listener: TcpListener, server: Arc<OriginServer>, tasks: Tasks) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failures = 0;
    while let Ok(place) = Arc::clone(&connections).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                failures = 0;
                let (server, stop) = (Arc::clone(&server), tasks.clone());
                tasks.spawn(async move {
                    serve(stream, server, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(error = &error as &dyn std::error::Error, "the demo cannot accept");
                tokio::time::sleep(ACCEPT_AGAIN.wait(failures, random_unit())).await;
            }
        }
    }
}

/// Serves one connection to its end, or until the answer under way is sent
/// once `tasks` is stopped.
async fn serve(stream: TcpStream, server: Arc<OriginServer>, tasks: Tasks) {
    if let Err(error) = bound(&stream) {
        tracing::debug!(error = &error as &dyn std::error::Error, "a socket option was refused");
    }
    let answer = service_fn(move |req| {
        let res = server.answer(req);
        async move { Ok::<_, Infallible>(res) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tasks.stopped() => {
            connection.as_mut().graceful_shutdown();
            timeout(SLOWEST, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection to the demo failed");
    }
}

/// Small writes go at once; a peer that takes nothing is dropped.
fn bound(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

#[cfg(test)]
mod tests;
