//! The command line's side of the admin socket.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::ControlError;

const TIMEOUT: Duration = Duration::from_secs(5);
const LONG_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: usize = 64 << 20;

/// Sends one request and returns the status and the content of the answer, all
/// within five seconds. Cancel safe.
pub async fn request(socket: &Path, method: Method, path: &str) -> Result<(StatusCode, Bytes), ControlError> {
    request_within(TIMEOUT, socket, method, path, Bytes::new()).await
}

/// Sends one request with `content`, for an answer that may take a while: half a
/// minute, as long as the server has for it. Cancel safe.
pub async fn request_with(
    socket: &Path,
    method: Method,
    path: &str,
    content: Bytes,
) -> Result<(StatusCode, Bytes), ControlError> {
    request_within(LONG_TIMEOUT, socket, method, path, content).await
}

pub(super) async fn request_within(
    timeout: Duration,
    socket: &Path,
    method: Method,
    path: &str,
    content: Bytes,
) -> Result<(StatusCode, Bytes), ControlError> {
    let answered = async {
        let stream = UnixStream::connect(socket).await.map_err(|source| unreachable(socket, source))?;
        exchange(stream, method, path, content)
            .await
            .map_err(|source| ControlError::Exchange { path: socket.to_owned(), source })
    };
    match tokio::time::timeout(timeout, answered).await {
        Ok(answer) => answer,
        Err(_) => Err(ControlError::TimedOut { path: socket.to_owned() }),
    }
}

fn unreachable(socket: &Path, source: io::Error) -> ControlError {
    let path = socket.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => ControlError::Denied { path, source },
        _ => ControlError::Connect { path, source },
    }
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
    content: Bytes,
) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    let req =
        Request::builder().method(method).uri(path).header(HOST, "localhost").body(Full::new(content))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = async move {
        let (head, body) = sender.send_request(req).await?.into_parts();
        let content = Limited::new(body, ANSWER_LIMIT).collect().await?.to_bytes();
        Ok((head.status, content))
    };
    // The connection ends when the sender is gone; what fails it fails the
    // answer too.
    let (answer, _) = tokio::join!(answered, connection);
    answer
}
