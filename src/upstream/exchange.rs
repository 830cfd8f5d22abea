//! One request on a connection to an origin server: from its message to the head
//! of the response, watched for silence, and how far it had come if there is none.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::response::Parts;
use tokio::task::yield_now;

use super::OutboundRequest;
use super::connection::{Connection, Lease};
use super::content::Incoming;
use super::failure::{fetch_error, stream_error};
use super::http1;
use super::http2::{self, Stream};
use super::server::OriginServer;
use super::silence::Silence;
use super::upload::{RequestContent, Upload};
use crate::exchange::{Body, FetchError, OpenEnd, RequestProgress, Scheme};
use crate::fields::proxy_status::ProxyErrorType;

impl OriginServer {
    /// Sends the message and waits for the head of the response.
    pub(super) async fn exchange(
        &self,
        lease: &mut Lease,
        req: &mut OutboundRequest,
    ) -> Result<Received, FetchError> {
        let gone = || FetchError::new(ProxyErrorType::ProxyInternalError, RequestProgress::Sent);
        let (content, upload) = self.watched(req.take_content().ok_or_else(gone)?);
        self.metrics.origin_requests.increment();
        let Connection { http1, traffic, silence, .. } = &mut *lease.connection;
        traffic.restart();
        let answer = {
            let answer = pin!(http1.ask(req.message(content), req.interim()));
            self.in_time(answer, silence, upload.as_deref()).await
        };
        let progress = traffic.progress();
        let Some(answer) = answer else {
            return Err(FetchError::new(ProxyErrorType::HttpResponseTimeout, progress));
        };
        let answer = answer.map_err(|http1::Unanswered { error, unsent }| {
            if let Some(content) = unsent {
                req.put_back(content.into_body());
            }
            blamed(fetch_error(error, progress), upload.as_deref())
        });
        let (head, receiving) = answer?;
        if receiving.lacks_content_of(&head) {
            // A server that sends it all the same mostly does so right behind the head: what
            // comes by then keeps the connection from being used again.
            yield_now().await;
        }
        Ok(Received { head, content: Incoming::Http1(receiving), upload, tunnel: None })
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
        let mut silence = Silence::default();
        let Some(answer) = self.in_time(answer, &mut silence, upload.as_deref()).await else {
            // Nobody knows whether anything still arrives there.
            connection.retire();
            return Err(FetchError::new(ProxyErrorType::HttpResponseTimeout, RequestProgress::Sent));
        };
        let answer = answer.map_err(|http2::Unanswered { error, unsent }| {
            if error.is_go_away() || error.is_io() {
                connection.retire();
            }
            let mut error = stream_error(error);
            if let Some(content) = unsent {
                error.progress = RequestProgress::NotSent;
                req.put_back(content.into_body());
            }
            blamed(error, upload.as_deref())
        });
        let (head, content, tunnel) = answer?;
        Ok(Received { head, content, upload, tunnel })
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
        silence: &mut Silence,
        upload: Option<&Upload>,
    ) -> Option<T> {
        let limit = self.timeouts.first_byte;
        silence.end();
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            silence.poll_over_beside(upload, limit, context).map(|()| None)
        })
        .await
    }
}

/// The head of a response as it came, and what comes behind it.
pub(super) struct Received {
    pub(super) head: Parts,
    pub(super) content: Incoming,
    /// Watches the content of the request, where that was not at hand.
    pub(super) upload: Option<Arc<Upload>>,
    /// There after a change of protocols by HTTP/2, in the place of content.
    pub(super) tunnel: Option<OpenEnd>,
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
pub(super) fn may_be_sent_anew(error: &FetchError, req: &OutboundRequest) -> bool {
    let was_dead = error.kind == ProxyErrorType::ConnectionTerminated;
    let is_safe = match error.progress {
        RequestProgress::NotSent => true,
        RequestProgress::Sent => was_dead && req.is_idempotent(),
        RequestProgress::Answered => false,
    };
    is_safe && req.is_at_hand() && error.request_body.is_none()
}
