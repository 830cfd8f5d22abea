//! One stream: the request goes to the service, and what comes back goes to the
//! client, as fast as it takes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::oneshot;

use super::interim::InterimResponses;
use super::patience::Patience;
use super::received::Received;
use crate::exchange::{BodyError, Interim, OpenEnd};
use crate::front::observe::Observed;
use crate::front::service::{Client, ConnectionService, Exchange};
use crate::front::tunnel::ClientEnd;
use crate::telemetry::metrics::Limit;

/// Serves a request, which ends when its response was handed to h2 or its client gave
/// it up.
pub(super) async fn serve(
    client: Arc<Client>,
    req: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    patience: Patience,
) {
    let interim = Arc::new(InterimResponses::default());
    let (head, receiving) = req.into_parts();
    let (content, tunnel, client_end) = if head.method == Method::CONNECT {
        let (opened, client_end) = oneshot::channel();
        (None, Some(Tunnel { receiving, opened }), Some(ClientEnd::Http2(client_end)))
    } else {
        let has_content = !receiving.is_end_stream();
        let received = || Received::new(receiving, &head.headers, &interim);
        (has_content.then(received), None, None)
    };
    let told = Interim::new(Arc::clone(&interim) as _, 0);
    let service = ConnectionService(client);
    let exchange = service.exchange(head, content, client_end, Some(told));
    let answered = answered(exchange, &mut respond, &interim).await;
    interim.end();
    let Some(res) = answered else { return };
    let Some(mut sending) = send_head(res, respond, tunnel) else { return };
    let sent = sending.send(patience).await;
    if sent != Sent::Over {
        sending.content.give_up();
    }
    if sent == Sent::Stalled {
        service.0.front.telemetry.metrics.limit(Limit::WriteTimeout);
        sending.stream.send_reset(Reason::CANCEL);
    }
}

/// What becomes a tunnel where the answer agrees to it.
struct Tunnel {
    receiving: RecvStream,
    opened: oneshot::Sender<OpenEnd>,
}

/// The answer, before which the client is told what comes meanwhile; `None` if it gave
/// the stream up.
async fn answered(
    mut exchange: Exchange,
    respond: &mut SendResponse<Bytes>,
    interim: &InterimResponses,
) -> Option<Response<Observed>> {
    poll_fn(|context| {
        let answered = Pin::new(&mut exchange).poll(context);
        if answered.is_pending() {
            interim.register(context);
        }
        // Of a reset h2 says nothing to who sends an interim response.
        if (answered.is_pending() || interim.are_waiting()) && respond.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        interim.send(respond);
        answered.map(|Ok(res)| Some(res))
    })
    .await
}

/// Sends the head; returns what is to be sent behind it, if there is anything.
fn send_head(
    res: Response<Observed>,
    mut respond: SendResponse<Bytes>,
    tunnel: Option<Tunnel>,
) -> Option<Sending> {
    let (mut head, mut content) = res.into_parts();
    let tunnel = tunnel.filter(|_| head.status.is_success());
    let is_whole = tunnel.is_none() && content.is_end_stream();
    if !is_whole
        && tunnel.is_none()
        && let Some(length) = content.size_hint().exact()
    {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let stream = match respond.send_response(Response::from_parts(head, ()), is_whole) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no head was sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
            content.give_up();
            return None;
        }
    };
    if let Some(Tunnel { receiving, opened }) = tunnel {
        // Nobody waits for it if the edge has given the exchange up, and then it is reset.
        let _ = opened.send(OpenEnd::of_stream(receiving, stream));
        return None;
    }
    (!is_whole).then_some(Sending { content, stream, piece: None })
}

/// A response whose head has been sent.
struct Sending {
    content: Observed,
    stream: SendStream<Bytes>,
    /// What the client has no room for yet, and whether it is the last.
    piece: Option<(Bytes, bool)>,
}

/// How the content of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// It was handed to h2, or cut.
    Over,
    /// The client gave it up.
    GivenUp,
    /// The client took too long for a piece.
    Stalled,
}

impl Sending {
    /// Sends the content to its end.
    async fn send(&mut self, mut patience: Patience) -> Sent {
        poll_fn(|context| {
            let polled = self.poll(&mut patience, context);
            if polled.is_pending() && self.stream.poll_reset(context).is_ready() {
                return Poll::Ready(Sent::GivenUp);
            }
            polled
        })
        .await
    }

    fn poll(&mut self, patience: &mut Patience, context: &mut Context<'_>) -> Poll<Sent> {
        loop {
            if let Some(sent) = ready!(self.poll_piece(patience, context)) {
                return Poll::Ready(sent);
            }
            let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
            if let Some(sent) = self.take(frame) {
                return Poll::Ready(sent);
            }
        }
    }

    /// Sends the piece that waits, if one does, as far as there is room for it; says how all
    /// ended, if it did.
    fn poll_piece(&mut self, patience: &mut Patience, context: &mut Context<'_>) -> Poll<Option<Sent>> {
        let Some((mut piece, is_last)) = self.piece.take() else { return Poll::Ready(None) };
        // What there is no window for stays here, where the client is waited for.
        while !piece.is_empty() {
            let room = match self.poll_room(context) {
                Poll::Ready(0) => return Poll::Ready(Some(Sent::GivenUp)),
                Poll::Ready(room) => room.min(piece.len()),
                Poll::Pending => {
                    self.piece = Some((piece, is_last));
                    return patience.poll_end(context).map(|()| Some(Sent::Stalled));
                }
            };
            let part = piece.split_to(room);
            let ends = is_last && piece.is_empty();
            if self.stream.send_data(part, ends).is_err() {
                return Poll::Ready(Some(Sent::GivenUp));
            }
            if ends {
                return Poll::Ready(Some(Sent::Over));
            }
            if !piece.is_empty() {
                self.stream.reserve_capacity(piece.len());
            }
        }
        patience.renew();
        if is_last && self.stream.send_data(piece, true).is_err() {
            return Poll::Ready(Some(Sent::GivenUp));
        }
        Poll::Ready(is_last.then_some(Sent::Over))
    }

    /// Has content that comes wait to be sent, and sends what ends it; says how all ended,
    /// if it did.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>) -> Option<Sent> {
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.stream.send_reset(reason(&error));
                return Some(Sent::Over);
            }
            None => {
                self.piece = Some((Bytes::new(), true));
                return None;
            }
        };
        match frame.into_data() {
            Ok(data) => {
                self.stream.reserve_capacity(data.len());
                self.piece = Some((data, self.content.is_end_stream()));
                None
            }
            Err(frame) => {
                let sent = frame.into_trailers().map(|trailers| self.stream.send_trailers(trailers));
                Some(if matches!(sent, Ok(Ok(()))) { Sent::Over } else { Sent::GivenUp })
            }
        }
    }

    /// Ready with the bytes that there is room for; none where there will be none any more.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        while self.stream.capacity() == 0 {
            if !matches!(ready!(self.stream.poll_capacity(context)), Some(Ok(_))) {
                return Poll::Ready(0);
            }
        }
        Poll::Ready(self.stream.capacity())
    }
}

/// Why a response is cut: as its origin server says, where that speaks HTTP/2, too.
fn reason(error: &BodyError) -> Reason {
    let said = if let BodyError::Stream(error) = error { error.reason() } else { None };
    said.unwrap_or(Reason::INTERNAL_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_that_of_the_origin_server() {
        let reset = BodyError::Stream(Box::new(Reason::ENHANCE_YOUR_CALM.into()));
        assert_eq!(reason(&reset), Reason::ENHANCE_YOUR_CALM);
        assert_eq!(reason(&BodyError::Cut), Reason::INTERNAL_ERROR);
    }
}
