//! Runs one case against an edge, and judges it by what the client got and what
//! the origin server saw.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use seawall::base::Clock;
use seawall::exchange::{Body, ConnectionInfo, Host, Protocol, Request, RequestId, Scheme, Target};

use crate::case::{Case, Expected, Field, FieldExpectation, FieldValue, Interim, OrAny, Step};
use crate::origin::{Seen, dated, latin1, text};

/// What became of a case: the reason where it did not pass.
pub(crate) type Verdict = Result<(), String>;

/// What `pause_after` stands for.
const PAUSE: Duration = Duration::from_secs(3);

/// What a client got.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) text: String,
    /// The interim responses before it.
    pub(crate) interim: Vec<(u16, HeaderMap)>,
}

/// What a case is run against.
pub(crate) trait Edge: Sync {
    /// The time it goes by.
    fn clock(&self) -> &dyn Clock;

    /// What its origin server saw of the case so far.
    fn seen(&self) -> Vec<Seen>;

    /// Answers a request; the reason where there is no answer.
    fn answer(&self, req: Box<Request>) -> impl Future<Output = Result<Got, String>> + Send;

    /// Lets as much time pass.
    fn pause(&self, length: Duration) -> impl Future<Output = ()> + Send;
}

/// Runs `case` from its first request to the last check.
pub(crate) async fn run(case: &Case, edge: &impl Edge) -> Verdict {
    let mut got: Vec<Got> = Vec::new();
    for (index, step) in case.requests.iter().enumerate() {
        let req = request(case, index, step, got.last(), edge.clock());
        got.push(edge.answer(req).await?);
        check_response(case, index, step, &got[index])?;
        if step.pause_after {
            edge.pause(PAUSE).await;
        }
    }
    check_requests(case, &got, &edge.seen())
}

/// The content where the case says nothing: as long as the UUID it is in the
/// public suite.
pub(crate) fn content_of(case: &Case) -> String {
    format!("{:-<36.36}", case.id)
}

fn request(case: &Case, index: usize, step: &Step, before: Option<&Got>, clock: &dyn Clock) -> Box<Request> {
    let address = "127.0.0.1:1".parse().unwrap();
    let mut path = format!("/test/{}", case.id);
    if let Some(filename) = &step.filename {
        path = format!("{path}/{filename}");
    }
    if let Some(query) = &step.query_arg {
        path = format!("{path}?{query}");
    }
    Box::new(Request {
        method: step.request_method.as_deref().map_or(Method::GET, |method| method.parse().unwrap()),
        target: Target {
            scheme: Scheme::Http,
            host: Host::parse(&HeaderValue::from_static("cache.test"), Scheme::Http).unwrap(),
            path_and_query: path.parse().unwrap(),
        },
        fields: Arc::new(request_fields(case, index, step, before)),
        body: step.request_body.clone().map_or(Body::Empty, |content| Body::Full(content.into())),
        upgrade: None,
        client: [127, 0, 0, 1].into(),
        trusted: false,
        id: RequestId(index as u128),
        protocol: Protocol::Http11,
        connection: Arc::new(ConnectionInfo {
            peer: address,
            local: address,
            scheme: Scheme::Http,
            tls: None,
        }),
        session: None,
        interim: None,
        received: clock.now(),
        received_wall: clock.wall(),
    })
}

/// The fields every request has, then those of the step; what has the same name
/// is one line.
fn request_fields(case: &Case, index: usize, step: &Step, before: Option<&Got>) -> HeaderMap {
    let mut lines: Vec<(String, String)> = [
        ("pragma", "foo"),
        ("cache-control", "nothing-to-see-here"),
        ("test-name", &case.name),
        ("test-id", &case.id),
        ("req-num", &(index + 1).to_string()),
        ("accept", "*/*"),
        ("accept-language", "*"),
        ("accept-encoding", "gzip, deflate"),
        ("user-agent", "node"),
        ("sec-fetch-mode", "cors"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    // Fetch sends these only where the caller does not.
    lines.retain(|(name, _)| {
        !name.starts_with("accept")
            || !step.request_headers.iter().any(|own| own.name.eq_ignore_ascii_case(name))
    });
    for field in &step.request_headers {
        let name = field.name.to_ascii_lowercase();
        let value = match &field.value {
            FieldValue::Seconds(_) if step.magic_ims => dated(&name, &field.value, server_now(before)),
            FieldValue::Seconds(number) => number.to_string(),
            FieldValue::Text(text) => text.trim().to_owned(),
        };
        match lines.iter_mut().find(|(other, _)| *other == name) {
            Some((_, line)) => *line = format!("{line}, {value}"),
            None => lines.push((name, value)),
        }
    }
    lines
        .into_iter()
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(&latin1(&value)).unwrap())
        })
        .collect()
}

/// The origin server's time when it made a response.
fn server_now(got: Option<&Got>) -> SystemTime {
    let millis = got.and_then(|got| text(&got.fields, "server-now")).and_then(|now| now.parse().ok());
    UNIX_EPOCH + Duration::from_millis(millis.unwrap_or_default())
}

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(reason()) }
}

fn check_response(case: &Case, index: usize, step: &Step, got: &Got) -> Verdict {
    let number = index + 1;
    let numbers = text(&got.fields, "request-numbers").unwrap_or_default();
    let mut listed: Vec<&str> = numbers.split_whitespace().collect();
    let requests = listed.len();
    listed.sort_unstable();
    listed.dedup();
    ensure(listed.len() == requests, || format!("request {number}: sent more than once ({numbers})"))?;
    let count: Option<usize> = text(&got.fields, "server-request-count").and_then(|count| count.parse().ok());
    match step.expected_type {
        Some(Expected::Cached) => {
            let is_cached = count.map_or(got.status == 304, |count| count < number);
            ensure(is_cached, || format!("request {number}: not cached"))?;
        }
        Some(Expected::NotCached) => {
            ensure(count == Some(number), || format!("request {number}: cached"))?;
        }
        _ => {}
    }
    check_status(number, step, got.status)?;
    for expected in &step.expected_response_headers {
        check_field(number, expected, &got.fields, server_now(Some(got)))?;
    }
    for unwanted in &step.expected_response_headers_missing {
        check_missing(number, unwanted, &got.fields)?;
    }
    if let Some(interim) = &step.expected_interim_responses {
        check_interim(number, interim, &got.interim)?;
    }
    check_content(case, number, step, got)
}

fn check_interim(number: usize, expected: &[Interim], got: &[(u16, HeaderMap)]) -> Verdict {
    let is_alike = |expected: &Interim, (status, fields): &(u16, HeaderMap)| {
        let has = |field: &Field| match &field.value {
            FieldValue::Text(value) => text(fields, &field.name).as_ref() == Some(value),
            FieldValue::Seconds(_) => false,
        };
        expected.status() == *status && expected.fields().iter().all(has)
    };
    let are_alike =
        expected.len() == got.len() && expected.iter().zip(got).all(|(one, got)| is_alike(one, got));
    ensure(are_alike, || format!("request {number}: interim responses {got:?} in place of {expected:?}"))
}

fn check_status(number: usize, step: &Step, status: u16) -> Verdict {
    let expected = match (&step.expected_status, &step.response_status) {
        (Some(OrAny::Any), _) => return Ok(()),
        (Some(OrAny::Just(expected)), _) | (None, Some((expected, _))) => *expected,
        (None, None) if status == 999 => {
            return Err(format!("request {number}: should have been conditional"));
        }
        (None, None) => 200,
    };
    ensure(status == expected, || format!("request {number}: status {status} in place of {expected}"))
}

fn check_field(number: usize, expected: &FieldExpectation, fields: &HeaderMap, now: SystemTime) -> Verdict {
    let name = expected.name();
    let found = text(fields, name);
    let holds = match expected {
        FieldExpectation::Present(_) => found.is_some(),
        FieldExpectation::Is(_, value) => found == Some(dated(name, value, now)),
        FieldExpectation::MoreThan(_, least) => {
            found.as_deref().and_then(|found| found.parse::<i64>().ok()).is_some_and(|found| found > *least)
        }
        FieldExpectation::SameAs(_, other) => found == text(fields, other),
    };
    ensure(holds, || format!("{number}: {expected:?}, but there is {found:?}"))
}

fn check_missing(number: usize, unwanted: &FieldExpectation, fields: &HeaderMap) -> Verdict {
    let found = text(fields, unwanted.name());
    let is_missing = match (unwanted, &found) {
        (FieldExpectation::Is(_, FieldValue::Text(part)), Some(found)) => !found.contains(part.as_str()),
        (_, found) => found.is_none(),
    };
    ensure(is_missing, || format!("{number}: unwanted {} is {found:?}", unwanted.name()))
}

fn check_content(case: &Case, number: usize, step: &Step, got: &Got) -> Verdict {
    if step.check_body == Some(false) {
        return Ok(());
    }
    let expected = match (&step.expected_response_text, &step.response_body) {
        (Some(OrAny::Any), _) => return Ok(()),
        (Some(OrAny::Just(expected)), _) | (None, Some(expected)) => expected,
        (None, None) if matches!(got.status, 204 | 304) || step.request_method.as_deref() == Some("HEAD") => {
            return Ok(());
        }
        (None, None) => &content_of(case),
    };
    ensure(got.text == *expected, || format!("{number}: content {:?} in place of {expected:?}", got.text))
}

/// What the origin server saw, against the requests that were to reach it.
fn check_requests(case: &Case, got: &[Got], seen: &[Seen]) -> Verdict {
    let reached = case.requests.iter().enumerate();
    let reached = reached.filter(|(_, step)| step.expected_type != Some(Expected::Cached));
    for (position, (index, step)) in reached.enumerate() {
        let number = index + 1;
        let seen = seen.get(position).ok_or_else(|| format!("request {number}: never reached the origin"))?;
        let has = |name: &str| seen.fields.contains_key(name);
        match step.expected_type {
            Some(Expected::NotCached) => {
                ensure(seen.number == number, || format!("request {number}: the origin saw another"))?;
            }
            Some(Expected::EtagValidated) => {
                ensure(has("if-none-match"), || format!("request {number}: no If-None-Match"))?;
            }
            Some(Expected::LmValidated) => {
                ensure(has("if-modified-since"), || format!("request {number}: no If-Modified-Since"))?;
            }
            Some(Expected::Cached) | None => {}
        }
        for expected in &step.expected_request_headers {
            check_field(number, expected, &seen.fields, server_now(Some(&got[index])))?;
        }
        for unwanted in &step.expected_request_headers_missing {
            check_missing(number, unwanted, &seen.fields)?;
        }
        for sent in seen.sent.iter().filter(|sent| sent.checked && sent.name != "date") {
            let (received, sent_value) = (text(&got[index].fields, sent.name.as_str()), sent.value());
            let name = &sent.name;
            ensure(received.as_ref() == Some(&sent_value), || {
                format!("{number}: {name} was sent as {sent_value:?} and came as {received:?}")
            })?;
        }
        if let Some(method) = &step.expected_method {
            ensure(seen.method == method.as_str(), || format!("request {number}: method {}", seen.method))?;
        }
    }
    Ok(())
}
