//! A small HTTP/1.1 server for the admin socket and the metrics endpoint. Each
//! connection carries one exchange, has a deadline, and counts against a
//! limit. It knows no path and no method.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::base::{Backoff, Tasks, random_unit};

const CONNECTIONS: usize = 64;
const BODY_LIMIT: usize = 64 << 10;
const HEAD_LIMIT: usize = 16 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) };

/// Answers requests, whose content is at hand. A connection's deadline is that
/// of its answer.
pub(super) trait Answer: Send + Sync + 'static {
    fn answer(&self, req: Request<Bytes>) -> BoxFuture<'_, Response<Full<Bytes>>>;
}

/// Where connections come from.
pub(super) trait Accept: Send + Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Serves until the tasks are stopped. At the limit of connections, further
/// ones wait in the backlog.
pub(super) async fn serve<L: Accept>(listener: L, answers: Arc<dyn Answer>, tasks: Tasks) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failures = 0;
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            accepted = accepted => accepted,
            () = tasks.stopped() => return,
        };
        match accepted {
            Ok(stream) => {
                failures = 0;
                let connection = serve_connection(stream, Arc::clone(&answers), tasks.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(error = &error as &dyn Error, "no control connection could be accepted");
                let pause = tokio::time::sleep(ACCEPT_BACKOFF.wait(failures, random_unit()));
                tokio::select! {
                    () = pause => {}
                    () = tasks.stopped() => return,
                }
            }
        }
    }
}

async fn serve_connection<S>(stream: S, answers: Arc<dyn Answer>, tasks: Tasks)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |req| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(respond(req, &*answers).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = async {
        tokio::select! {
            result = connection.as_mut() => return result,
            () = tasks.stopped() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = &error as &dyn Error, "a control connection failed"),
        Err(_) => tracing::debug!("a control connection took too long"),
    }
}

async fn respond(req: Request<Incoming>, answers: &dyn Answer) -> Response<Full<Bytes>> {
    let (head, body) = req.into_parts();
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(content) => answers.answer(Request::from_parts(head, content.to_bytes())).await,
        Err(error) if error.is::<LengthLimitError>() => {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, "the content is larger than 64 KiB")
        }
        Err(_) => refusal(StatusCode::BAD_REQUEST, "the content is incomplete"),
    }
}

/// A response with `content` of a media type.
pub(super) fn content(media_type: &'static str, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut res = Response::new(Full::new(content.into()));
    res.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    res.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    res
}

/// A response that says in JSON why there is no other.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut res = content("application/json", json!({ "error": why }).to_string());
    *res.status_mut() = status;
    res
}

/// 405 with the one method that is served (RFC 9110 s15.5.6).
pub(super) fn wrong_method(allowed: &Method) -> Response<Full<Bytes>> {
    let mut res = refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed} is served here"));
    if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
        res.headers_mut().insert(http::header::ALLOW, allowed);
    }
    res
}
