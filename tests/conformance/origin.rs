//! The origin server of a case: it answers each request as the case says, and
//! takes down what it saw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use seawall::base::Clock;
use seawall::exchange::{Body, FetchError, Request, RequestProgress, Response};
use seawall::fields::proxy_status::ProxyErrorType;

use crate::case::{Expected, Field, FieldValue, Step};

/// Fields whose integer values are dates.
const DATES: [&str; 5] = ["date", "expires", "last-modified", "if-modified-since", "if-unmodified-since"];

/// Answers the requests of one case.
#[derive(Debug)]
pub(crate) struct CaseOrigin {
    steps: Vec<Step>,
    content: String,
    clock: Arc<dyn Clock>,
    seen: Mutex<Vec<Seen>>,
}

/// A request that reached the origin server.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) number: usize,
    pub(crate) method: Method,
    pub(crate) fields: HeaderMap,
    pub(crate) sent: Vec<Sent>,
}

/// A field that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) name: HeaderName,
    lines: Vec<String>,
    /// True if the client is to get just this.
    pub(crate) checked: bool,
}

impl Sent {
    /// Its lines in one.
    pub(crate) fn value(&self) -> String {
        self.lines.join(", ")
    }
}

impl CaseOrigin {
    /// The origin server of a case; `content` is its content where the case
    /// says nothing.
    pub(crate) fn new(content: String, steps: &[Step], clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { steps: steps.to_vec(), content, clock, seen: Mutex::default() })
    }

    /// How long the answer to a request is to take.
    pub(crate) fn pause(&self, req: &Request) -> Duration {
        Duration::from_secs(self.step(req).1.response_pause)
    }

    /// The interim responses before the answer to a request.
    pub(crate) fn interim(&self, req: &Request) -> Vec<(StatusCode, HeaderMap)> {
        let field = |field: &Field| match &field.value {
            FieldValue::Text(value) => (field.name.parse().unwrap(), value.parse().unwrap()),
            FieldValue::Seconds(number) => (field.name.parse().unwrap(), (*number).into()),
        };
        let interim = self.step(req).1.interim_responses.iter();
        let sent = interim.map(|one| (one.status(), one.fields().iter().map(field).collect()));
        sent.map(|(status, fields)| (StatusCode::from_u16(status).unwrap(), fields)).collect()
    }

    /// The number of a request, and its step.
    fn step(&self, req: &Request) -> (usize, &Step) {
        let number: usize = text(&req.fields, "req-num").and_then(|number| number.parse().ok()).unwrap();
        (number, &self.steps[number - 1])
    }

    /// The requests that reached it, in order.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request as its step says.
    pub(crate) fn respond(&self, req: &Request) -> Result<Box<Response>, FetchError> {
        let (number, step) = self.step(req);
        let status = self.status(number, step, &req.fields);
        let mut fields = self.counters(number, req);
        let sent = self.sent(step, req);
        for field in &sent {
            for line in &field.lines {
                fields.append(&field.name, HeaderValue::from_bytes(&latin1(line)).unwrap());
            }
        }
        self.seen().push(Seen {
            number,
            method: req.method.clone(),
            fields: HeaderMap::clone(&req.fields),
            sent,
        });
        if step.disconnect {
            return Err(FetchError::new(ProxyErrorType::ConnectionTerminated, RequestProgress::Sent));
        }
        let content = step.response_body.clone().unwrap_or_else(|| self.content.clone());
        let allows_content = !matches!(status.as_u16(), 204 | 304);
        let defaults = [
            ("content-type", "text/plain".to_owned()),
            ("date", httpdate::fmt_http_date(self.clock.wall())),
            ("content-length", content.len().to_string()),
        ];
        for (name, value) in defaults.into_iter().take(if allows_content { 3 } else { 2 }) {
            fields.entry(name).or_insert_with(|| value.parse().unwrap());
        }
        let has_content = allows_content && req.method != Method::HEAD;
        let body = if has_content { in_two_parts(content) } else { Body::Empty };
        Ok(Box::new(Response { status, fields, body, ..Response::default() }))
    }

    /// 999 where the request should have been conditional and was not.
    fn status(&self, number: usize, step: &Step, req: &HeaderMap) -> StatusCode {
        let told = match step.expected_type {
            Some(Expected::EtagValidated | Expected::LmValidated) => {
                let same = |asked, sent| {
                    text(req, asked).is_some_and(|asked| self.sent_before(number, sent) == Some(asked))
                };
                if same("if-modified-since", "last-modified") || same("if-none-match", "etag") {
                    304
                } else {
                    999
                }
            }
            _ => step.response_status.as_ref().map_or(200, |(status, _)| *status),
        };
        StatusCode::from_u16(told).unwrap()
    }

    /// What the response to the step before carried.
    fn sent_before(&self, number: usize, name: &str) -> Option<String> {
        let seen = self.seen();
        let before = seen.iter().rev().find(|seen| seen.number + 1 == number)?;
        before.sent.iter().find(|sent| sent.name == name).map(Sent::value)
    }

    fn counters(&self, number: usize, req: &Request) -> HeaderMap {
        let now = self.clock.wall().duration_since(UNIX_EPOCH).unwrap();
        let numbers: Vec<_> = self.seen().iter().map(|seen| seen.number).chain([number]).collect();
        let listed: Vec<_> = numbers.iter().map(usize::to_string).collect();
        [
            ("server-base-url", req.target.path().to_owned()),
            ("server-request-count", numbers.len().to_string()),
            ("client-request-count", number.to_string()),
            ("server-now", now.as_millis().to_string()),
            ("request-numbers", listed.join(" ")),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect()
    }

    fn sent(&self, step: &Step, req: &Request) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        for field in &step.response_headers {
            let name: HeaderName = field.name.parse().unwrap();
            let value = value_of(field, step, self.clock.wall(), req.target.path());
            match sent.iter_mut().find(|other| other.name == name) {
                Some(other) => other.lines.push(value),
                None => sent.push(Sent { name, lines: vec![value], checked: field.checked }),
            }
        }
        sent
    }
}

/// A date where the name wants one, the value as it is otherwise.
pub(crate) fn dated(name: &str, value: &FieldValue, now: SystemTime) -> String {
    match value {
        FieldValue::Text(text) => text.clone(),
        FieldValue::Seconds(seconds) if DATES.contains(&name.to_ascii_lowercase().as_str()) => {
            httpdate::fmt_http_date(moved(now, *seconds))
        }
        FieldValue::Seconds(number) => number.to_string(),
    }
}

fn value_of(field: &Field, step: &Step, now: SystemTime, base: &str) -> String {
    let is = |name: &&String| name.eq_ignore_ascii_case(&field.name);
    let is_location =
        ["location", "content-location"].iter().any(|name| field.name.eq_ignore_ascii_case(name));
    match (&field.value, dated(&field.name, &field.value, now)) {
        (FieldValue::Text(_), value) if step.magic_locations && is_location => match value.as_str() {
            "" => base.to_owned(),
            below => format!("{base}/{below}"),
        },
        (FieldValue::Seconds(_), value) if step.rfc850date.iter().any(|name| is(&name)) => rfc850(&value),
        (_, value) => value,
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as `Sunday, 06-Nov-94 08:49:37 GMT`.
fn rfc850(date: &str) -> String {
    let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let day = days.iter().find(|day| day.starts_with(&date[..3])).unwrap();
    format!("{day}, {}-{}-{} {}", &date[5..7], &date[8..11], &date[14..16], &date[17..])
}

fn moved(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time.checked_sub(by).unwrap() } else { time.checked_add(by).unwrap() }
}

/// The lines of a field in one, read as Latin-1.
pub(crate) fn text(fields: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<String> = fields
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes().iter().map(|byte| char::from(*byte)).collect())
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Text as Latin-1.
pub(crate) fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?')).collect()
}

/// Content in two frames, so that it is a running fill.
fn in_two_parts(content: String) -> Body {
    let mut first = Bytes::from(content);
    let second = first.split_off(first.len() / 2);
    let frames = [first, second].map(|part| Ok(Frame::data(part)));
    Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}
