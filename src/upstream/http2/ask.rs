//! One request by a stream of HTTP/2: its head, its content as the server takes it, and
//! what comes back until there is the head of a response. How long that may take is
//! decided by whoever waits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::response::Parts;
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame};
use tokio_util::sync::CancellationToken;

use super::Stream;
use crate::exchange::{Interim, OpenEnd, StreamContent};
use crate::upstream::content::Incoming;
use crate::upstream::inbound;
use crate::upstream::upload::RequestContent;

/// Why there is no response.
#[derive(Debug)]
pub(in crate::upstream) struct Unanswered {
    pub(in crate::upstream) error: h2::Error,
    /// The content of a request of which nothing was sent.
    pub(in crate::upstream) unsent: Option<RequestContent>,
}

impl Stream {
    /// Sends a request and waits for the head of the response, with what comes behind it:
    /// content, or the server's end of a tunnel. Interim ones before it are passed on if
    /// somebody wants them. The content is sent as long as the stream is held.
    /// If the future is dropped, the stream is reset with it.
    pub(in crate::upstream) async fn ask(
        &mut self,
        message: Request<RequestContent>,
        interim: Option<Interim>,
    ) -> Result<(Parts, Incoming, Option<OpenEnd>), Unanswered> {
        let (head, content) = message.into_parts();
        let is_connect = head.method == Method::CONNECT;
        let is_whole = !is_connect && content.is_end_stream();
        let head = Request::from_parts(head, ());
        let sender = self.connection.sender.clone().ready().await;
        let sent = sender.and_then(|mut sender| sender.send_request(head, is_whole));
        let (answer, sending) = match sent {
            Ok(sent) => sent,
            Err(error) => return Err(Unanswered { error, unsent: Some(content) }),
        };
        let mut tunnel = None;
        if is_connect {
            tunnel = Some(sending);
        } else if !is_whole {
            self.upload(content, sending);
        }
        let answer = answered(answer, interim.as_ref()).await;
        let (head, content) = answer.map_err(|error| Unanswered { error, unsent: None })?.into_parts();
        let (content, tunnel) = match tunnel.filter(|_| head.status.is_success()) {
            Some(sending) => (Incoming::None, Some(OpenEnd::of_stream(content, sending))),
            None => (Incoming::Http2(StreamContent::new(content, &head.headers)), None),
        };
        Ok((head, content, tunnel))
    }

    /// Begins to send the content, which goes on by itself.
    fn upload(&mut self, content: RequestContent, sending: SendStream<Bytes>) {
        let end = CancellationToken::new();
        let mut upload = Box::pin(end.clone().run_until_cancelled_owned(send(content, sending)));
        // What is at hand is sent before a task is made for it.
        if upload.as_mut().now_or_never().is_none() {
            self.connection.tasks.spawn(upload);
            self.upload = Some(end.drop_guard());
        }
    }
}

/// The response, before which interim ones are passed on.
async fn answered(
    mut answer: ResponseFuture,
    interim: Option<&Interim>,
) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|context| {
        while let Some(interim) = interim
            && let Poll::Ready(Some(Ok(res))) = answer.poll_informational(context)
        {
            inbound::pass_on(interim, res.status(), res.headers(), res.version());
        }
        Pin::new(&mut answer).poll(context)
    })
    .await
}

/// Sends content to its end. Where that is not come to, the stream is reset, for what
/// waits of it would wait on; whoever waits for the response is told by that.
async fn send(mut content: RequestContent, stream: SendStream<Bytes>) {
    let mut sending = Sending { stream, is_over: false };
    while !sending.is_over {
        let Some((frame, is_last)) = sending.next(&mut content).await else { return };
        if sending.send(frame, is_last).await.is_none() {
            return;
        }
    }
}

/// A stream whose request is being sent; what gives `None` found that the server wants no
/// more of it, or that the client's content failed.
struct Sending {
    stream: SendStream<Bytes>,
    is_over: bool,
}

impl Sending {
    /// What is to be sent next, and whether it is the last; an empty frame where the end
    /// comes by itself.
    async fn next(&mut self, content: &mut RequestContent) -> Option<(Frame<Bytes>, bool)> {
        poll_fn(|context| {
            if self.stream.poll_reset(context).is_ready() {
                return Poll::Ready(None);
            }
            Pin::new(&mut *content).poll_frame(context).map(|frame| match frame {
                Some(frame) => Some((frame.ok()?, content.is_end_stream())),
                None => Some((Frame::data(Bytes::new()), true)),
            })
        })
        .await
    }

    async fn send(&mut self, frame: Frame<Bytes>, is_last: bool) -> Option<()> {
        match frame.into_data() {
            Ok(data) => self.send_data(data, is_last).await,
            Err(frame) => {
                self.stream.reserve_capacity(0);
                self.is_over = true;
                self.stream.send_trailers(frame.into_trailers().ok()?).ok()
            }
        }
    }

    async fn send_data(&mut self, data: Bytes, is_last: bool) -> Option<()> {
        // h2 asks for as much as is sent; what is reserved before, for data that waits, is
        // kept from other streams.
        self.stream.reserve_capacity(usize::from(!data.is_empty()));
        while !data.is_empty() && self.stream.capacity() == 0 {
            poll_fn(|context| self.stream.poll_capacity(context)).await?.ok()?;
        }
        self.is_over = is_last;
        self.stream.send_data(data, is_last).ok()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_over {
            self.stream.send_reset(Reason::CANCEL);
        }
    }
}
