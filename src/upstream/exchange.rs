//! One request on a connection to an origin server: from its message to the head
//! of the response, watched for silence, and how far it had come if there is none.

use std::pin::{Pin, pin};
use std::sync::Arc;

use http::response::Parts;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::ext::on_informational;
use tokio::select;
use tokio::time::sleep;

use super::OutboundRequest;
use super::connection::Lease;
use super::failure::{fetch_error, stream_error};
use super::http2::{Stream, Unanswered};
use super::inbound;
use super::server::OriginServer;
use super::stream::Traffic;
use super::upload::{RequestContent, Upload};
use crate::exchange::{Body, FetchError, Interim, RequestProgress, Scheme, TunnelEnd};
use crate::fields::proxy_status::ProxyErrorType;

impl OriginServer {
    /// Sends the message and waits for the head of the response.
    pub(super) async fn exchange(
        &self,
        lease: &mut Lease,
        req: &mut OutboundRequest,
    ) -> Result<Received, FetchError> {
        let gone = || FetchError::new(ProxyErrorType::ProxyInternalError, RequestProgress::Sent);
        let connection = lease.connection().ok_or_else(gone)?;
        let (content, upload) = self.watched(req.take_content().ok_or_else(gone)?);
        self.metrics.origin_requests.increment();
        connection.traffic.restart();
        let message = with_interim(req.message(content), req.interim());
        let answer = pin!(connection.sender.try_send_request(message));
        let Some(answer) = self.in_time(answer, upload.as_deref()).await else {
            let progress = connection.traffic.progress();
            return Err(FetchError::new(ProxyErrorType::HttpResponseTimeout, progress));
        };
        match answer {
            Ok(res) => Ok(Received::by_http1(res)),
            Err(failed) => Err(unanswered(failed, req, &connection.traffic, upload.as_deref())),
        }
    }

    /// The same beside others, by HTTP/2.
    pub(super) async fn exchange_on(
        &self,
        stream: &mut Stream,
        req: &mut OutboundRequest,
    ) -> Result<Received, FetchError> {
        if req.upgrade().is_some() && !stream.connection.takes_connect {
            return Err(FetchError::new(ProxyErrorType::HttpUpgradeFailed, RequestProgress::NotSent));
        }
        let scheme = if self.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let gone = || FetchError::new(ProxyErrorType::ProxyInternalError, RequestProgress::Sent);
        let (content, upload) = self.watched(req.take_content().ok_or_else(gone)?);
        let message = req.message_for_http2(content, scheme).ok_or_else(gone)?;
        self.metrics.origin_requests.increment();
        let connection = Arc::clone(&stream.connection);
        let answer = pin!(stream.ask(message, req.interim().cloned()));
        let Some(answer) = self.in_time(answer, upload.as_deref()).await else {
            // Nobody knows whether anything still arrives there.
            connection.retire();
            return Err(FetchError::new(ProxyErrorType::HttpResponseTimeout, RequestProgress::Sent));
        };
        answer.map_err(|Unanswered { error, unsent }| {
            if error.is_go_away() || error.is_io() {
                connection.retire();
            }
            let mut error = stream_error(error);
            if let Some(content) = unsent {
                error.progress = RequestProgress::NotSent;
                req.put_back(content.into_body());
            }
            blamed(error, upload.as_deref())
        })
    }

    /// The content as it is sent, and what is seen of that where it is not at hand.
    fn watched(&self, content: Body) -> (RequestContent, Option<Arc<Upload>>) {
        let upload = match content {
            Body::Empty | Body::Full(_) => None,
            _ => Some(Upload::begin(Arc::clone(&self.clock))),
        };
        (RequestContent::new(content, upload.clone()), upload)
    }

    /// `answer`, unless the server has been silent for `timeouts.first_byte`.
    /// Time in which the client's content is waited for does not count.
    async fn in_time<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
        upload: Option<&Upload>,
    ) -> Option<T> {
        let limit = self.timeouts.first_byte;
        let mut timer = pin!(sleep(limit));
        loop {
            select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = &mut timer => {
                    let waited = upload.map_or(Some(limit), Upload::waited_for_server).unwrap_or_default();
                    if waited >= limit {
                        return None;
                    }
                    timer.set(sleep(limit - waited));
                }
            }
        }
    }
}

/// The head of a response as it came, and what comes behind it.
pub(super) struct Received {
    pub(super) head: Parts,
    pub(super) content: Body,
    /// There after a change of protocols, in the place of content.
    pub(super) tunnel: Option<TunnelEnd>,
}

impl Received {
    fn by_http1(res: http::Response<Incoming>) -> Self {
        let (mut head, incoming) = res.into_parts();
        let tunnel = head.extensions.remove().map(TunnelEnd::Connection);
        Self { head, content: Body::Incoming(incoming), tunnel }
    }
}

/// The message, interim responses to which are passed on if somebody wants them.
fn with_interim(
    mut message: http::Request<RequestContent>,
    interim: Option<&Interim>,
) -> http::Request<RequestContent> {
    if let Some(interim) = interim.cloned() {
        on_informational(&mut message, move |res| {
            inbound::pass_on(&interim, res.status(), res.headers(), res.version());
        });
    }
    message
}

/// Why there is no answer; takes the request back if nothing of it left.
fn unanswered(
    mut failed: TrySendError<http::Request<RequestContent>>,
    req: &mut OutboundRequest,
    traffic: &Traffic,
    upload: Option<&Upload>,
) -> FetchError {
    let progress = match failed.take_message() {
        Some(message) => {
            req.put_back(message.into_body().into_body());
            RequestProgress::NotSent
        }
        None => traffic.progress(),
    };
    blamed(fetch_error(failed.into_error(), progress), upload)
}

/// The failure of a request; that of the client's content, if it was the reason.
fn blamed(mut error: FetchError, upload: Option<&Upload>) -> FetchError {
    if let Some(reason) = upload.and_then(Upload::take_failure) {
        error.kind = ProxyErrorType::HttpRequestError;
        error.request_body = Some(reason);
    }
    error
}

/// True if a request that failed on a kept connection may go out on a new one:
/// nothing of it left, or the connection was dead before the server answered
/// and processing it twice does no harm (RFC 9112 s9.3.1).
pub(super) fn may_use_new_connection(error: &FetchError, req: &OutboundRequest) -> bool {
    let was_dead = error.kind == ProxyErrorType::ConnectionTerminated;
    let is_safe = match error.progress {
        RequestProgress::NotSent => true,
        RequestProgress::Sent => was_dead && req.is_idempotent(),
        RequestProgress::Answered => false,
    };
    is_safe && req.is_at_hand() && error.request_body.is_none()
}
