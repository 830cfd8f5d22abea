//! One exchange, step by step: from the head of a request as hyper gives it to
//! the head of the response as hyper takes it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, DATE, REFERER, SEC_WEBSOCKET_ACCEPT, STRICT_TRANSPORT_SECURITY, UPGRADE,
    USER_AGENT,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::Service;

use super::content::{Content, ContentPace, Reading};
use super::observe::{Observation, Observed};
use super::pace::Pace;
use super::respond::{self, Outgoing};
use super::tunnel::{self, ClientEnd};
use super::{Front, Serving, challenge, identity, normalize};
use crate::base::random_id;
use crate::config::model::Limits;
use crate::exchange::{
    Answer, Body, BodyError, ConnectionInfo, ExchangeEnd, ExchangeRecord, Facts, Failure, FetchError,
    Handling, Interim, Protocol, Request, RequestId, RequestProgress, Response, Tunnel,
};
use crate::fields::date;
use crate::fields::proxy_status::ProxyErrorType;
use crate::telemetry::metrics::Limit;

/// The requests of one connection.
pub(super) struct ConnectionService(pub(super) Arc<Client>);

/// What the exchanges of one connection share. Each counts one reference to it: those to
/// the front all cores would count.
pub(super) struct Client {
    pub(super) front: Arc<Front>,
    pub(super) connection: Arc<ConnectionInfo>,
    pub(super) pace: Arc<Pace>,
}

impl Service<http::Request<Incoming>> for ConnectionService {
    type Response = http::Response<Observed>;
    type Error = Infallible;
    type Future = Exchange;

    /// One of HTTP/1.
    fn call(&self, mut req: http::Request<Incoming>) -> Exchange {
        let is_change = req.method() == Method::CONNECT || req.headers().contains_key(UPGRADE);
        let client_end = is_change.then(|| {
            self.0.pace.ask_for_change();
            ClientEnd::Http1(hyper::upgrade::on(&mut req))
        });
        let (head, incoming) = req.into_parts();
        let has_content = !http_body::Body::is_end_stream(&incoming);
        // HTTP/1.0 has no interim responses (RFC 9110 s15.2).
        let interim = (head.version == Version::HTTP_11)
            .then(|| Interim::new(Arc::clone(&self.0.pace) as _, self.0.pace.interim.next()));
        self.exchange(head, has_content.then_some(Body::Incoming(incoming)), client_end, interim)
    }
}

impl ConnectionService {
    /// Begins an exchange. `content` is there where the request has any; `client_end` is
    /// that of the tunnel which it may ask for.
    pub(super) fn exchange<B>(
        &self,
        mut head: Parts,
        content: Option<B>,
        client_end: Option<ClientEnd>,
        interim: Option<Interim>,
    ) -> Exchange
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
    {
        let under_way = self.0.pace.begin();
        let mut observation = self.observe(&head);
        let is_head = head.method == Method::HEAD;
        let is_http1 = head.version != Version::HTTP_2;
        let serving = self.0.front.serving();
        // A client that keeps to it opens no more than that, and h2 refuses others.
        if !is_http1 && under_way == serving.limits.h2_streams {
            self.0.front.telemetry.metrics.limit(Limit::H2Streams);
        }
        let number = interim.as_ref().filter(|_| is_http1).map(Interim::exchange);
        let asked = self.request(&serving, (&mut head, content, interim), &mut observation);
        let Answer { site, hsts, handling } = match asked {
            Ok(_) if self.0.front.is_out_of_memory() => Answer::of_no_site(Err(Failure::OutOfMemory)),
            Ok(req) => match challenge::answer(&req, &serving.certificates) {
                Some(res) => Answer::of_no_site(Ok(res)),
                None => caught(&self.0.front, || serving.handler.handle(req))
                    .unwrap_or_else(|failure| Answer::of_no_site(Err(failure))),
            },
            Err(failure) => Answer::of_no_site(Err(failure)),
        };
        observation.record.site = site;
        let waits = !handling.is_ready();
        if let Some(number) = number.filter(|_| waits) {
            self.0.pace.interim.begin(number);
        }
        let under_way = UnderWay { observation, waits, hsts, is_head, is_http1, client_end };
        Exchange { handling, under_way: Some(under_way) }
    }

    fn observe(&self, head: &Parts) -> Box<Observation> {
        let clock = &self.0.front.clock;
        Box::new(Observation {
            client: Arc::clone(&self.0),
            received: clock.now(),
            bytes_in: None,
            reading: None,
            record: ExchangeRecord {
                started: clock.wall(),
                head_time: None,
                total_time: Duration::ZERO,
                id: RequestId(random_id()),
                client: self.0.connection.peer.ip().to_canonical(),
                protocol: match head.version {
                    Version::HTTP_2 => Protocol::Http2,
                    Version::HTTP_10 => Protocol::Http10,
                    _ => Protocol::Http11,
                },
                scheme: self.0.connection.scheme,
                method: head.method.clone(),
                host: HeaderValue::from_static(""),
                path_and_query: head.uri.path_and_query().cloned(),
                user_agent: head.headers.get(USER_AGENT).cloned(),
                referer: head.headers.get(REFERER).cloned(),
                site: None,
                // What is logged if the client leaves before there is an answer.
                status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
                bytes_in: 0,
                bytes_out: 0,
                facts: Facts::default(),
                end: ExchangeEnd::ClientLeft,
            },
        })
    }

    /// The request in normal form.
    fn request<B>(
        &self,
        serving: &Serving,
        (head, content, interim): (&mut Parts, Option<B>, Option<Interim>),
        observation: &mut Observation,
    ) -> Result<Box<Request>, Failure>
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
    {
        let front = &self.0.front;
        let who = identity::identify(&self.0.connection, &head.headers, &serving.trusted_proxies);
        let record = &mut observation.record;
        (record.client, record.scheme) = (who.client, who.scheme);
        self.0.pace.check_framing()?;
        let normal = normalize::normalize(head, who.scheme, &serving.limits)?;
        record.host = normal.target.host.value().clone();
        let body = content.map_or(Body::Empty, |content| {
            let received = Arc::new(AtomicU64::new(0));
            let reading = Reading::begin(&content);
            observation.bytes_in = Some(Arc::clone(&received));
            observation.reading = Some(Arc::clone(&reading));
            let metrics = Arc::clone(&front.telemetry.metrics);
            let pace = content_pace(head, &serving.limits);
            Body::boxed(Content::new(content, pace, Arc::clone(&front.clock), metrics, (received, reading)))
        });
        Ok(Box::new(Request {
            method: std::mem::take(&mut head.method),
            target: normal.target,
            fields: Arc::new(std::mem::take(&mut head.headers)),
            body,
            upgrade: normal.upgrade,
            client: who.client,
            trusted: who.trusted,
            id: record.id,
            protocol: record.protocol,
            connection: Arc::clone(&self.0.connection),
            session: None,
            interim,
            received: observation.received,
            received_wall: record.started,
        }))
    }
}

fn content_pace(head: &Parts, limits: &Limits) -> ContentPace {
    let is_grpc =
        head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        ContentPace { timeout: limits.stream_idle, limit: Limit::StreamIdle, min_rate: 0 }
    } else {
        ContentPace { timeout: limits.body_timeout, limit: Limit::BodyTimeout, min_rate: limits.min_rate }
    }
}

/// An exchange whose answer is still to come.
pub(super) struct Exchange {
    handling: Handling,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    observation: Box<Observation>,
    /// False if the answer was there at once.
    waits: bool,
    hsts: bool,
    is_head: bool,
    is_http1: bool,
    client_end: Option<ClientEnd>,
}

impl Future for Exchange {
    type Output = Result<http::Response<Observed>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(under_way) = this.under_way.as_ref() else { return Poll::Pending };
        let polled =
            caught(&under_way.observation.client.front, || Pin::new(&mut this.handling).poll(context));
        let result = match polled {
            Ok(Poll::Ready(result)) => result,
            Ok(Poll::Pending) => {
                if under_way.is_http1 {
                    under_way.observation.client.pace.interim.register(context);
                }
                return Poll::Pending;
            }
            Err(failure) => Err(failure),
        };
        match this.under_way.take() {
            Some(under_way) => Poll::Ready(Ok(under_way.answer(result))),
            None => Poll::Pending,
        }
    }
}

/// An origin server that answers in HTTP has not changed to another protocol.
fn no_switch(facts: Facts) -> Failure {
    let mut error = FetchError::new(ProxyErrorType::HttpUpgradeFailed, RequestProgress::Answered);
    (error.origin_server, error.attempts) = (facts.origin_server, facts.attempts);
    Failure::Fetch { error, cache: facts.cache }
}

/// Says that the protocols were changed in the words of HTTP/2 (RFC 8441 s5).
fn agree_to_connect<B>(switching: &mut http::Response<B>) {
    *switching.status_mut() = StatusCode::OK;
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
        switching.headers_mut().remove(name);
    }
}

/// What `work` gives. A panic in it costs its own exchange and no other.
fn caught<T>(front: &Front, work: impl FnOnce() -> T) -> Result<T, Failure> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        front.telemetry.metrics.panics.increment();
        Failure::Panicked
    })
}

impl UnderWay {
    fn answer(self, result: Result<Box<Response>, Failure>) -> http::Response<Observed> {
        if self.is_http1 && self.waits {
            self.observation.client.pace.interim.answered();
        }
        let mut outgoing = match result {
            Ok(mut res) => match res.tunnel.take() {
                Some(origin) => return self.tunnel(res, origin),
                None if self.would_switch(res.status) => respond::failure(no_switch(res.facts)),
                None => respond::response(res),
            },
            Err(failure) => {
                self.note(&failure);
                respond::failure(failure)
            }
        };
        if self.hsts {
            outgoing.res.fields.insert(STRICT_TRANSPORT_SECURITY, respond::HSTS);
        }
        self.send(outgoing)
    }

    fn send(mut self, outgoing: Outgoing) -> http::Response<Observed> {
        let Outgoing { res, close } = outgoing;
        let Response { status, mut fields, mut body, facts, tunnel: _ } = *res;
        self.note_head(status, facts);
        if self.is_head || status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT {
            body = Body::Empty;
        }
        // That of hyper stands still after the clock was put back.
        let clock = &self.observation.client.front.clock;
        fields.entry(DATE).or_insert_with(|| date::value(clock.wall()));
        if self.is_http1 && (close || self.observation.client.front.is_draining() || self.is_early()) {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut res = http::Response::new(Observed::new(body, self.observation, !self.is_http1));
        *res.status_mut() = status;
        *res.headers_mut() = fields;
        res
    }

    /// True if the answer comes before the end of the request's content, of which hyper
    /// reads no more once nobody else does: it closes the connection (RFC 9112 s9.6),
    /// unless the rest is there in one piece, as content of a known length is.
    fn is_early(&self) -> bool {
        let Some(reading) = &self.observation.reading else { return false };
        !reading.is_over() && (!reading.has_length || self.observation.client.pace.is_amid_content())
    }

    /// True if the client would take `status` for the agreement to a tunnel: to a
    /// CONNECT any that is successful (RFC 9110 s9.3.6).
    fn would_switch(&self, status: StatusCode) -> bool {
        !self.is_http1 && self.client_end.is_some() && status.is_success()
    }

    /// Joins the two ends once both have changed protocols. The exchange lasts
    /// as long as the tunnel.
    fn tunnel(mut self, res: Box<Response>, origin: Tunnel) -> http::Response<Observed> {
        let Some(client) = self.client_end.take() else {
            return self.send(respond::failure(Failure::BadRequest("no protocol to change to")));
        };
        self.observation.client.pace.change_protocol();
        let mut switching = http::Response::new(Observed::unobserved());
        *switching.status_mut() = res.status;
        *switching.headers_mut() = res.fields;
        if !self.is_http1 {
            agree_to_connect(&mut switching);
        }
        self.note_head(switching.status(), res.facts);
        let tasks = self.observation.client.front.tasks.clone();
        tasks.spawn(tunnel::join(client, origin, self.observation));
        switching
    }

    fn note_head(&mut self, status: StatusCode, facts: Facts) {
        let observation = &mut self.observation;
        observation.record.status = status;
        observation.record.facts = facts;
        let passed = || observation.client.front.clock.now().saturating_duration_since(observation.received);
        observation.record.head_time = Some(if self.waits { passed() } else { Duration::ZERO });
    }

    fn note(&self, failure: &Failure) {
        let metrics = &self.observation.client.front.telemetry.metrics;
        match failure {
            Failure::TargetTooLong => metrics.limit(Limit::RequestLine),
            Failure::FieldsTooLarge => metrics.limit(Limit::HeaderBytes),
            Failure::ContentTooLarge { .. } => metrics.limit(Limit::Body),
            Failure::OutOfMemory => metrics.limit(Limit::Memory),
            _ => {}
        }
        tracing::debug!(id = %self.observation.record.id, error = failure as &dyn std::error::Error, "no response");
    }
}
