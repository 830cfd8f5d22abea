//! The WebSocket echo of the demo (RFC 6455): says back every message until
//! the client closes, stays silent for too long, or the demo ends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::answer::refusal;
use crate::base::Tasks;
use crate::exchange::Body;

const LARGEST_MESSAGE: usize = 64 << 10;
const IDLE: Duration = Duration::from_secs(300);
const LAST_WORD: Duration = Duration::from_secs(1);

/// Answers an opening handshake (s4.2.2) and echoes on a task of its own; a
/// request that is none gets 426.
pub(super) fn accept(mut req: Request<Incoming>, tasks: &Tasks) -> Response<Body> {
    let Some(key) = key_of(req.headers()) else {
        let mut res = refusal(StatusCode::UPGRADE_REQUIRED, "This is a WebSocket.\n");
        promise(res.headers_mut(), SEC_WEBSOCKET_VERSION, "13");
        return res;
    };
    let Ok(accepted) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) else {
        return refusal(StatusCode::BAD_REQUEST, "The key of the handshake is none.\n");
    };
    tasks.spawn(echo(hyper::upgrade::on(&mut req), tasks.clone()));
    let mut res = Response::new(Body::Empty);
    *res.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    res.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accepted);
    promise(res.headers_mut(), CONNECTION, "Upgrade");
    res
}

fn promise(fields: &mut HeaderMap, name: HeaderName, value: &'static str) {
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(name, HeaderValue::from_static(value));
}

/// The key of an opening handshake of version 13 (s4.2.1).
fn key_of(fields: &HeaderMap) -> Option<&HeaderValue> {
    let names = |name, token: &str| {
        let values = fields.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|written| written.trim().eq_ignore_ascii_case(token))
    };
    let opens = names(UPGRADE, "websocket") && names(CONNECTION, "upgrade");
    let version = fields.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    fields.get(SEC_WEBSOCKET_KEY).filter(|_| opens && version)
}

async fn echo(upgrade: OnUpgrade, tasks: Tasks) {
    let Ok(upgraded) = upgrade.await else { return };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE))
        .max_write_buffer_size(4 * LARGEST_MESSAGE)
        .write_buffer_size(0);
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let ended = tokio::select! {
        ended = echo_messages(&mut socket) => ended,
        () = tasks.stopped() => Ok(CloseCode::Away),
    };
    let result = match ended {
        Ok(code) => {
            let frame = CloseFrame { code, reason: "".into() };
            timeout(LAST_WORD, socket.close(Some(frame))).await.unwrap_or(Ok(()))
        }
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        tracing::debug!(error = &error as &dyn std::error::Error, "a WebSocket of the demo failed");
    }
}

/// Echoes until the client closes or says nothing for too long.
async fn echo_messages(socket: &mut WebSocketStream<TokioIo<Upgraded>>) -> Result<CloseCode, Error> {
    loop {
        match timeout(IDLE, socket.next()).await {
            Ok(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                let Ok(sent) = timeout(IDLE, socket.send(message)).await else {
                    return Ok(CloseCode::Away);
                };
                sent?;
            }
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => return Err(error),
            Ok(None) => return Ok(CloseCode::Normal),
            Err(_) => return Ok(CloseCode::Away),
        }
    }
}
