//! What the origin server of the model test answers: a pure function of its
//! resources and the request.

use std::fmt::Write as _;
use std::sync::Mutex;

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use crate::fields::date;
use crate::policy::{self, RangeAnswer, RequestHead};

/// What may be asked for: one path is the beginning of another one.
pub(super) const PATHS: [&str; 4] = ["/a", "/a/b", "/c?d=e", "/f"];

/// The field that responses vary on.
pub(super) const X: &str = "x";

/// A resource of the origin server.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    /// Says which content and which validators it has.
    version: u64,
    status: u16,
    said: &'static str,
    varies: bool,
    validators: Validators,
    tags: &'static str,
    age: Option<u8>,
    sets_cookie: bool,
    /// True if its content comes chunk by chunk.
    streams: bool,
    /// True if it answers a range with that.
    takes_ranges: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Validators {
    None,
    Strong,
    Weak,
    Modified,
    Both,
}

/// How an origin server fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failing {
    /// It takes no connection.
    Refuses,
    /// It answers with a status.
    Answers(u16),
}

/// The origin server.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) resources: [Resource; PATHS.len()],
    pub(super) failing: Option<Failing>,
}

/// A request as the origin server sees it, what matters of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) fields: HeaderMap,
}

/// What it answers; `None` is no answer at all.
pub(super) type Said = Option<(StatusCode, HeaderMap, Bytes)>;

impl Site {
    /// What the origin server says to a request that comes now.
    pub(super) fn answer(&self, seen: &Seen, now: SystemTime) -> Said {
        let at = PATHS.iter().position(|path| *path == seen.path).unwrap();
        let resource = &self.resources[at];
        let mut fields = HeaderMap::new();
        fields.insert(DATE, date::value(now));
        match self.failing {
            Some(Failing::Refuses) => return None,
            Some(Failing::Answers(status)) => {
                let content = if seen.method == Method::HEAD { "" } else { "failed" };
                return Some((StatusCode::from_u16(status).unwrap(), fields, content.into()));
            }
            None => {}
        }
        if seen.method == Method::POST {
            return Some(resource.posted(seen, fields));
        }
        let x = resource.x(&seen.fields);
        resource.describe(&x, &mut fields);
        if resource.is_unchanged(&seen.fields, &fields) {
            return Some((StatusCode::NOT_MODIFIED, fields, Bytes::new()));
        }
        let content = resource.content(seen.path, &x);
        if resource.sets_cookie {
            fields.insert("set-cookie", HeaderValue::from_static("a=b"));
        }
        let status = StatusCode::from_u16(resource.status).unwrap();
        if resource.takes_ranges {
            let req = RequestHead::new(&seen.method, seen.path, &seen.fields);
            let range = policy::range(&req, status, &fields, content.len() as u64);
            if let RangeAnswer::Part { first, last } = range {
                let part = content.slice(usize::try_from(first).unwrap()..=usize::try_from(last).unwrap());
                let range = format!("bytes {first}-{last}/{}", content.len());
                fields.insert(CONTENT_RANGE, HeaderValue::try_from(range).unwrap());
                fields.insert(CONTENT_LENGTH, part.len().into());
                return Some((StatusCode::PARTIAL_CONTENT, fields, part));
            }
        }
        fields.insert(CONTENT_LENGTH, content.len().into());
        let content = if seen.method == Method::HEAD { Bytes::new() } else { content };
        Some((status, fields, content))
    }

    /// True if the content of a path comes chunk by chunk.
    pub(super) fn streams(&self, path: &str) -> bool {
        let at = PATHS.iter().position(|other| *other == path).unwrap();
        self.failing.is_none() && self.resources[at].streams
    }
}

impl Resource {
    /// What of the request its content depends on.
    fn x(&self, asked: &HeaderMap) -> String {
        let x = asked.get(X).filter(|_| self.varies);
        x.map_or_else(String::new, |x| x.to_str().unwrap().to_owned())
    }

    fn describe(&self, x: &str, fields: &mut HeaderMap) {
        let mut add = |name: &'static str, value: String| {
            fields.insert(name, HeaderValue::try_from(value).unwrap());
        };
        add("content-type", "application/octet-stream".to_owned());
        add("version", self.version.to_string());
        if !self.said.is_empty() {
            add("cache-control", self.said.to_owned());
        }
        if self.varies {
            add("vary", X.to_owned());
        }
        if !self.tags.is_empty() {
            add("surrogate-key", self.tags.to_owned());
        }
        if let Some(age) = self.age {
            add("age", age.to_string());
        }
        let weak = if self.validators == Validators::Weak { "W/" } else { "" };
        if matches!(self.validators, Validators::Strong | Validators::Weak | Validators::Both) {
            add("etag", format!("{weak}\"{}{x}\"", self.version));
        }
        if matches!(self.validators, Validators::Modified | Validators::Both) {
            let modified = Duration::from_secs(1_700_000_000 + 60 * self.version);
            fields.insert(LAST_MODIFIED, date::value(SystemTime::UNIX_EPOCH + modified));
        }
    }

    fn is_unchanged(&self, asked: &HeaderMap, fields: &HeaderMap) -> bool {
        let opaque = |tag: &HeaderValue| tag.to_str().unwrap().trim_start_matches("W/").to_owned();
        if self.status != 200 {
            return false;
        }
        match (asked.get(IF_NONE_MATCH), asked.get(IF_MODIFIED_SINCE)) {
            (Some(asked), _) => {
                asked == "*" || fields.get(ETAG).is_some_and(|own| opaque(own) == opaque(asked))
            }
            (None, Some(since)) => fields.get(LAST_MODIFIED).is_some_and(|own| own == since),
            (None, None) => false,
        }
    }

    /// A write: it says what it did in `post`, and makes nothing of it.
    fn posted(&self, seen: &Seen, mut fields: HeaderMap) -> (StatusCode, HeaderMap, Bytes) {
        let post = seen.fields["post"].to_str().unwrap();
        match post {
            "kept" => {
                let x = self.x(&seen.fields);
                self.describe(&x, &mut fields);
                fields.insert("content-location", HeaderValue::from_static(seen.path));
                (StatusCode::OK, fields, self.content(seen.path, &x))
            }
            "refused" => (StatusCode::BAD_REQUEST, fields, Bytes::from_static(b"refused")),
            location => {
                fields.insert("location", HeaderValue::from_str(location).unwrap());
                (StatusCode::CREATED, fields, Bytes::from_static(b"created"))
            }
        }
    }

    /// No two of them are alike, nor two places in one.
    fn content(&self, path: &str, x: &str) -> Bytes {
        let (mut content, length) = (String::new(), 400 + 7 * self.version);
        while (content.len() as u64) < length {
            let at = content.len();
            write!(content, "{path} {} {x} {at};", self.version).unwrap();
        }
        Bytes::from(content)
    }
}

/// The origin server as the engine meets it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) site: Mutex<Site>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) seen: Mutex<Vec<Seen>>,
}

impl Origin for Server {
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        Box::pin(async move {
            let asked = req.target.path_and_query.as_str();
            let path = PATHS.into_iter().find(|path| *path == asked).unwrap();
            let seen = Seen { method: req.method, path, fields: Arc::unwrap_or_clone(req.fields) };
            let site = self.site.lock().unwrap().clone();
            self.seen.lock().unwrap().push(seen.clone());
            let (status, fields, content) = site.answer(&seen, self.clock.wall()).ok_or_else(refused)?;
            let body = if content.is_empty() {
                Body::Empty
            } else if site.streams(path) && seen.method == Method::GET {
                let half = content.len() / 2;
                let (first, second) = (content.slice(..half), content.slice(half..));
                let chunks = [first, second].map(|chunk| Ok(Frame::data(chunk)));
                Body::boxed(StreamBody::new(futures_util::stream::iter(chunks)))
            } else {
                Body::Full(content)
            };
            Ok(Box::new(Response { status, fields, body, ..Response::default() }))
        })
    }
}

pub(super) fn resource() -> impl Strategy<Value = Resource> {
    const STORED: [&str; 9] = [
        "max-age=60",
        "max-age=10",
        "max-age=10, stale-while-revalidate=30",
        "max-age=10, stale-if-error=20",
        "max-age=20, must-revalidate",
        "s-maxage=10",
        "public, max-age=20",
        "max-age=60, immutable",
        "max-age=20, no-cache=\"version\"",
    ];
    const OTHER: [&str; 6] = ["max-age=0", "no-cache", "no-store", "private", "public", ""];
    let validators = prop_oneof![
        2 => Just(Validators::Strong),
        1 => select(&[Validators::None, Validators::Weak, Validators::Modified, Validators::Both]),
    ];
    (
        0..4_u64,
        prop_oneof![8 => Just(200), 1 => Just(404), 1 => Just(301)],
        prop_oneof![3 => select(&STORED), 1 => select(&OTHER)],
        any::<bool>(),
        validators,
        select(vec!["", "red", "blue red"]),
        prop_oneof![4 => Just(None), 1 => (0..15_u8).prop_map(Some)],
        prop::bool::weighted(0.1),
        (any::<bool>(), prop::bool::weighted(0.3)),
    )
        .prop_map(|(version, status, said, varies, validators, tags, age, sets_cookie, how)| {
            let (streams, takes_ranges) = how;
            Resource {
                version,
                status,
                said,
                varies,
                validators,
                tags,
                age,
                sets_cookie,
                streams,
                takes_ranges,
            }
        })
}
