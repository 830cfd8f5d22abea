//! A cache that is only right: a list of responses that is gone through from
//! end to end for everything. What a response or a request says is read by
//! `policy`; storing, selecting, validating, invalidating and purging are done
//! anew here, one thing after the other.

use std::collections::HashMap;

use http::header::{AGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use tokio::time::Instant;

use super::super::*;
use super::answer::{answer, got, passed, tell};
use super::origin::{Said, Seen, Site};
use super::stored::{Kept, Part};
use super::{Content, Got, Purging};
use crate::fields::cache_status::ForwardReason;
use crate::fields::range::Span;
use crate::policy::{self, HeadUpdate, RequestHead, Reuse, Storability, StoredHead, Timing};

/// As long requests do not wait for one another after a response that could not
/// be shared.
const ALONE: Duration = Duration::from_secs(120);

/// Until when requests for a path do not wait for one another: all of them, or
/// those that have credentials.
#[derive(Clone, Copy, Debug, Default)]
struct Alone {
    all: Option<Instant>,
    personal: Option<Instant>,
}

/// The cache, and the origin server it asks.
#[derive(Debug)]
pub(super) struct Naive {
    kept: Vec<Kept>,
    alone: HashMap<&'static str, Alone>,
    rules: CacheRules,
    pub(super) site: Site,
    /// What the origin server was asked.
    pub(super) seen: Vec<Seen>,
    pub(super) wall: SystemTime,
    pub(super) now: Instant,
}

/// A request, and what was found out about it.
#[derive(Clone, Debug)]
struct Asked {
    path: &'static str,
    fields: HeaderMap,
    reason: ForwardReason,
    detail: Option<&'static str>,
    validate: Option<Kept>,
    if_error: Option<Kept>,
    collapse: bool,
    /// True if the range is asked for that the client wants.
    of_a_part: bool,
}

impl Asked {
    /// A part is not validated, but asked for again.
    fn validates(&mut self, stored: Kept) {
        if stored.part.is_none() {
            self.validate = Some(stored);
            self.of_a_part = false;
        }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead::new(&Method::GET, path_of(self.path), &self.fields)
    }

    fn status(&self) -> CacheStatus {
        CacheStatus { detail: self.detail, ..CacheStatus::forwarded(self.reason) }
    }
}

fn path_of(path: &str) -> &str {
    path.split('?').next().unwrap()
}

impl Naive {
    pub(super) fn new(site: Site, wall: SystemTime, now: Instant) -> Self {
        let (kept, seen) = (Vec::new(), Vec::new());
        Self { kept, alone: HashMap::new(), rules: CacheRules::default(), site, seen, wall, now }
    }

    /// How many responses are stored, and how many of them are whole.
    pub(super) fn len(&self) -> (u64, u64) {
        let whole = self.kept.iter().filter(|kept| kept.part.is_none());
        (self.kept.len() as u64, whole.count() as u64)
    }

    /// Another process takes over, which finds no parts.
    pub(super) fn restart(&mut self) {
        self.alone.clear();
        self.kept.retain(|kept| kept.part.is_none());
    }

    /// A GET or a HEAD.
    pub(super) fn read(&mut self, method: &Method, path: &'static str, fields: &HeaderMap) -> Got {
        if fields.contains_key("if-match") {
            let status = CacheStatus {
                detail: Some("precondition"),
                ..CacheStatus::forwarded(ForwardReason::Request)
            };
            return self.pass(method, path, fields, status);
        }
        let req = RequestHead::new(method, path_of(path), fields);
        let mut asked = Asked {
            path,
            fields: fields.clone(),
            reason: ForwardReason::UriMiss,
            detail: None,
            validate: None,
            if_error: None,
            collapse: self.collapses(path, fields),
            of_a_part: policy::asks_for_part(&req),
        };
        if let Some(stored) = self.select(&req, path) {
            match policy::reuse(&req, &stored.head, self.wall, &self.rules) {
                Reuse::Serve { ttl } => return self.hit(&req, &stored, ttl),
                Reuse::ServeStale { ttl, revalidate } => {
                    let got = self.hit(&req, &stored, ttl);
                    if revalidate && *method == Method::GET {
                        asked.reason = ForwardReason::Stale;
                        asked.validates(stored);
                        self.fill(&asked);
                    }
                    return got;
                }
                Reuse::Validate { if_error, reason, detail } => {
                    asked.reason = reason;
                    asked.detail = detail;
                    asked.if_error = if_error.then(|| stored.clone());
                    asked.validates(stored);
                }
                Reuse::Forward(reason) => asked.reason = reason,
            }
        } else {
            asked.reason = self.reason_of_miss(path, fields);
        }
        if says(fields, "only-if-cached") {
            return Got::OnlyIfCached;
        }
        if *method == Method::HEAD {
            return self.head(&asked);
        }
        asked.collapse &= asked.reason != ForwardReason::Request;
        let has_validator = [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| fields.contains_key(name));
        let may_lead = !asked.of_a_part && !says(fields, "no-store");
        if asked.collapse && may_lead {
            return self.fill(&asked);
        }
        if has_validator && asked.of_a_part {
            return self.pass(method, path, fields, CacheStatus { detail: Some("range"), ..asked.status() });
        }
        if has_validator && asked.validate.is_none() && !asked.collapse {
            let status = CacheStatus { detail: Some("condition"), ..asked.status() };
            return self.pass(method, path, fields, status);
        }
        self.fill(&asked)
    }

    /// A POST.
    pub(super) fn post(&mut self, path: &'static str, fields: &HeaderMap) -> Got {
        let status = CacheStatus { detail: Some("method"), ..CacheStatus::forwarded(ForwardReason::Method) };
        let Some((code, answered, content)) = self.send(Method::POST, path, fields.clone()) else {
            return Got::NoResponse(status);
        };
        if code.is_success() || code.is_redirection() {
            let location = answered.get("location").map(|location| location.to_str().unwrap());
            self.kept.retain(|kept| kept.path != path && Some(kept.path) != location);
            self.alone.retain(|marked, _| *marked != path && Some(*marked) != location);
        }
        let is_explicit = ["max-age", "s-maxage"].iter().any(|name| says(&answered, name));
        if answered.contains_key("content-location") && is_explicit {
            let mut fields = fields.clone();
            policy::strip_conditional(&mut fields);
            let asked = Asked {
                path,
                fields,
                reason: ForwardReason::Method,
                detail: None,
                validate: None,
                if_error: None,
                collapse: false,
                of_a_part: false,
            };
            return self.accept(&asked, code, answered, content, false);
        }
        got(code, answered, Content::Whole(content), status)
    }

    /// Purges; says how many responses were removed or made stale, and how many
    /// of them were whole.
    pub(super) fn purge(&mut self, purging: &Purging, soft: bool) -> (u64, u64) {
        let covers = |kept: &Kept| match purging {
            Purging::Url(path) => kept.path == *path,
            Purging::Prefix(prefix) => kept.path.starts_with(prefix),
            Purging::Tag(tag) => {
                let tags = kept.head.field(&HeaderName::from_static("surrogate-key")).unwrap_or_default();
                tags.split(|byte| *byte == b' ').any(|own| own == tag.as_bytes())
            }
            Purging::Host | Purging::Everything => true,
        };
        if soft {
            let mut purged = (0, 0);
            for kept in self.kept.iter_mut().filter(|kept| covers(kept)) {
                if let Some(stale) = kept.head.stale_from(self.wall) {
                    kept.head = stale;
                    purged.0 += 1;
                    purged.1 += u64::from(kept.part.is_none());
                }
            }
            return purged;
        }
        let before = self.len();
        self.kept.retain(|kept| !covers(kept));
        let after = self.len();
        match purging {
            Purging::Url(path) => drop(self.alone.remove(path)),
            Purging::Everything => self.alone.clear(),
            Purging::Prefix(_) | Purging::Tag(_) | Purging::Host => {}
        }
        (before.0 - after.0, before.1 - after.1)
    }

    fn collapses(&self, path: &str, fields: &HeaderMap) -> bool {
        let Alone { all, personal } = self.alone.get(path).copied().unwrap_or_default();
        let ended = |until: Option<Instant>| until.is_none_or(|until| until <= self.now);
        ended(all) && (ended(personal) || !is_personal(fields))
    }

    /// The most recent of the stored responses that the request selects.
    fn select(&self, req: &RequestHead<'_>, path: &str) -> Option<Kept> {
        // What a soft purge made stale counts as if it had come then.
        let made = |kept: &Kept| {
            let date = crate::fields::date::parse(kept.head.field(&DATE).unwrap()).unwrap();
            (date, kept.head.received())
        };
        let mut selected: Option<&Kept> = None;
        for kept in self.kept.iter().filter(|kept| kept.path == path) {
            let is_selected = kept.is_selected_by(req.fields)
                && kept.part.is_none_or(|part| part.wanted(req, &kept.head).is_some());
            if is_selected && selected.is_none_or(|other| made(other) <= made(kept)) {
                selected = Some(kept);
            }
        }
        selected.cloned()
    }

    fn reason_of_miss(&self, path: &str, fields: &HeaderMap) -> ForwardReason {
        let mut kept = self.kept.iter().filter(|kept| kept.path == path).peekable();
        if kept.peek().is_none() {
            ForwardReason::UriMiss
        } else if kept.any(|kept| kept.part.is_some() && kept.is_selected_by(fields)) {
            ForwardReason::Partial
        } else {
            ForwardReason::VaryMiss
        }
    }

    fn send(&mut self, method: Method, path: &'static str, fields: HeaderMap) -> Said {
        let seen = Seen { method, path, fields };
        self.seen.push(seen.clone());
        self.site.answer(&seen, self.wall)
    }

    /// Sends a request as it is.
    fn pass(&mut self, method: &Method, path: &'static str, fields: &HeaderMap, status: CacheStatus) -> Got {
        match self.send(method.clone(), path, fields.clone()) {
            Some((code, fields, content)) => got(code, fields, Content::Whole(content), status),
            None => Got::NoResponse(status),
        }
    }

    fn hit(&self, req: &RequestHead<'_>, stored: &Kept, ttl: i64) -> Got {
        let status = CacheStatus { hit: true, ttl: Some(ttl), ..CacheStatus::default() };
        self.serve(req, stored, status)
    }

    fn serve(&self, req: &RequestHead<'_>, stored: &Kept, status: CacheStatus) -> Got {
        let age = stored.head.age(self.wall).as_secs();
        if let Some(part) = stored.part {
            return part.answer(req, stored, age, status);
        }
        answer(req, stored.head.status, stored.head.fields(), &stored.content, Some(age), status, true)
    }

    /// The stored response, where it may stand in for a failure.
    fn stand_in(&self, method: &Method, asked: &Asked, code: Option<StatusCode>) -> Option<Got> {
        let stored = asked.if_error.as_ref()?;
        let req = asked.head().by(method);
        policy::stale_if_error(&req, &stored.head, code, self.wall, &self.rules).then(|| {
            let status = CacheStatus {
                fwd_status: code.map(|code| code.as_u16()),
                ttl: Some(stored.head.ttl(self.wall)),
                detail: Some("stale-if-error"),
                ..asked.status()
            };
            self.serve(&req, stored, status)
        })
    }

    /// Asks for the whole of a response, or whether the stored one still holds.
    fn fill(&mut self, asked: &Asked) -> Got {
        let mut fields = asked.fields.clone();
        if let Some(stored) = &asked.validate {
            policy::strip_conditional(&mut fields);
            let has = |name| stored.head.field(name).map(|value| HeaderValue::from_bytes(value).unwrap());
            if stored.head.status.is_success() {
                fields.extend(has(&ETAG).map(|tag| (IF_NONE_MATCH, tag)));
                fields.extend(has(&LAST_MODIFIED).map(|modified| (IF_MODIFIED_SINCE, modified)));
            }
        } else if !asked.of_a_part {
            policy::strip_conditional(&mut fields);
        }
        let Some((code, answered, content)) = self.send(Method::GET, asked.path, fields) else {
            let stale = self.stand_in(&Method::GET, asked, None);
            return stale.unwrap_or_else(|| Got::NoResponse(asked.status()));
        };
        match &asked.validate {
            Some(stored) if code == StatusCode::NOT_MODIFIED && stored.is_meant_by(&answered) => {
                self.confirmed(asked, stored, &answered)
            }
            // Of something else: it is asked for as if nothing were stored.
            Some(_) if code == StatusCode::NOT_MODIFIED => {
                self.fill(&Asked { validate: None, ..asked.clone() })
            }
            _ => self.accept(asked, code, answered, content, self.site.streams(asked.path)),
        }
    }

    /// A 304 about what is stored.
    fn confirmed(&mut self, asked: &Asked, stored: &Kept, answered: &HeaderMap) -> Got {
        let head = policy::freshened(&stored.head, answered, self.timing(), &self.rules);
        let fresh = Kept { selecting: stored.selecting_with(&head), head, ..stored.clone() };
        match self.storability(asked, fresh.head.status, &fresh.head.fields()) {
            Storability::Store => {
                self.replace(stored, Some(fresh.clone()));
                self.mark_after(asked.path, &fresh.head);
            }
            Storability::DoNotStore(reason) if reason.is_of_request() => {}
            Storability::DoNotStore(_) => self.replace(stored, None),
        }
        let ttl = Some(fresh.head.ttl(self.wall));
        let status = CacheStatus { ttl, fwd_status: Some(304), ..asked.status() };
        let age = answered.contains_key(AGE).then(|| fresh.head.age(self.wall).as_secs());
        let fields = fresh.head.fields();
        answer(&asked.head(), fresh.head.status, fields, &fresh.content, age, status, true)
    }

    /// A response of its own, whose content may come chunk by chunk.
    fn accept(
        &mut self,
        asked: &Asked,
        code: StatusCode,
        answered: HeaderMap,
        content: Bytes,
        streams: bool,
    ) -> Got {
        let refusal = match self.storability(asked, code, &answered) {
            Storability::DoNotStore(reason) => Some((reason.as_str(), reason.is_of_request())),
            Storability::Store if code == StatusCode::PARTIAL_CONTENT => None,
            Storability::Store if asked.of_a_part && code != StatusCode::OK => Some(("range", true)),
            Storability::Store => None,
        };
        if let Some((reason, of_request)) = refusal {
            if !code.is_client_error() && !code.is_server_error() || code == StatusCode::NOT_FOUND {
                if let Some(stored) = asked.validate.as_ref().filter(|_| !of_request) {
                    self.replace(stored, None);
                }
                if asked.collapse && !asked.of_a_part {
                    let (alone, until) = (self.alone.entry(asked.path).or_default(), self.now + ALONE);
                    let marked = if of_request { &mut alone.personal } else { &mut alone.all };
                    *marked = Some(until);
                }
            }
            let stale = self.stand_in(&Method::GET, asked, Some(code));
            return stale.unwrap_or_else(|| {
                let status = CacheStatus { detail: Some(reason), ..asked.status() };
                passed(&asked.head(), code, answered, content, status)
            });
        }
        let fields = answered.clone();
        let head = StoredHead::new(&asked.head(), code, fields, self.timing(), &self.rules);
        let names = answered.get_all("vary").iter().flat_map(|line| line.to_str().unwrap().split(','));
        let selecting = names.map(|name| {
            let name = name.trim().to_ascii_lowercase();
            let value = asked.fields.get(&name).cloned();
            (name, value)
        });
        let part = (code == StatusCode::PARTIAL_CONTENT).then(|| Part::of(&answered));
        let (path, selecting) = (asked.path, Some(selecting.collect()));
        let new = Kept { path, selecting, head, content: content.clone(), part };
        if part.is_some() {
            self.keep_part(new);
            let status = CacheStatus { stored: true, ..asked.status() };
            return got(code, answered, Content::Whole(content), status);
        }
        self.kept.retain(|kept| kept.path != new.path || kept.selecting != new.selecting);
        self.kept.push(new.clone());
        self.mark_after(asked.path, &new.head);
        let ttl = Some(new.head.ttl(self.wall));
        let status = CacheStatus { ttl, stored: true, ..asked.status() };
        let age = answered.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok());
        let mut got = answer(&asked.head(), code, answered, &content, age, status, !streams);
        tell(&mut got, code);
        got
    }

    /// Keeps a part, together with those of the same representation that meet it
    /// (RFC 9111 s3.4).
    fn keep_part(&mut self, mut new: Kept) {
        let received = new.head.clone();
        let others: Vec<Kept> = self.kept.iter().filter(|kept| new.is_of_same(kept)).cloned().collect();
        for other in &others {
            let (Some(one), Some(two)) = (new.part, other.part) else { continue };
            if one.start > two.end || two.start > one.end {
                continue;
            }
            let (start, end) = (one.start.min(two.start), one.end.max(two.end));
            let mut content = vec![0; end - start];
            content[two.start - start..two.end - start].copy_from_slice(&other.content);
            content[one.start - start..one.end - start].copy_from_slice(&new.content);
            let span = Span { first: start as u64, last: end as u64 - 1 };
            new.head = new.head.with_part(policy::Part { span, complete: one.complete as u64 });
            new.content = content.into();
            new.part = (end - start < one.complete).then_some(Part { start, end, ..one });
        }
        let stands_beside = |kept: &Kept| match (kept.part, new.part) {
            (Some(one), Some(two)) => kept.is_of_same(&new) && (one.start >= two.end || two.start >= one.end),
            _ => false,
        };
        self.kept
            .retain(|kept| kept.path != new.path || kept.selecting != new.selecting || stands_beside(kept));
        if new.part.is_none() {
            self.mark_after(new.path, &received);
        }
        self.kept.push(new);
    }

    /// A HEAD that the origin server is asked.
    fn head(&mut self, asked: &Asked) -> Got {
        let Some((code, answered, _)) = self.send(Method::HEAD, asked.path, asked.fields.clone()) else {
            let stale = self.stand_in(&Method::HEAD, asked, None);
            return stale.unwrap_or_else(|| Got::NoResponse(asked.status()));
        };
        if let Some(stale) = self.stand_in(&Method::HEAD, asked, Some(code)) {
            return stale;
        }
        let mut status = asked.status();
        if let Some(stored) = &asked.validate {
            match policy::head_freshens(&stored.head, stored.content.len() as u64, (code, &answered)) {
                HeadUpdate::Freshen => {
                    let head = policy::freshened(&stored.head, &answered, self.timing(), &self.rules);
                    let fresh = Kept { selecting: stored.selecting_with(&head), head, ..stored.clone() };
                    match self.storability(asked, fresh.head.status, &fresh.head.fields()) {
                        Storability::Store => {
                            self.replace(stored, Some(fresh));
                            self.alone.remove(asked.path);
                            status.stored = true;
                        }
                        Storability::DoNotStore(reason) if reason.is_of_request() => {}
                        Storability::DoNotStore(_) => self.replace(stored, None),
                    }
                }
                HeadUpdate::Invalidate => self.replace(stored, None),
                HeadUpdate::Nothing => {}
            }
        }
        got(code, answered, Content::Whole(Bytes::new()), status)
    }

    fn storability(&self, asked: &Asked, code: StatusCode, fields: &HeaderMap) -> Storability {
        policy::storability(&asked.head(), code, fields, self.timing(), &self.rules)
    }

    fn timing(&self) -> Timing {
        Timing { request: self.wall, response: self.wall }
    }

    /// Puts `new` in the place of `old`, and of all that it is selected instead of.
    fn replace(&mut self, old: &Kept, new: Option<Kept>) {
        self.kept.retain(|kept| kept.path != old.path || kept.selecting != old.selecting);
        if let Some(new) = new {
            self.kept.retain(|kept| kept.path != new.path || kept.selecting != new.selecting);
            self.kept.push(new);
        }
    }

    /// Nobody waits for what could not answer a request at this moment.
    fn mark_after(&mut self, path: &'static str, head: &StoredHead) {
        let none = HeaderMap::new();
        let plain = RequestHead::new(&Method::GET, path_of(path), &none);
        let until = match policy::reuse(&plain, head, self.wall, &self.rules) {
            Reuse::Serve { .. } | Reuse::ServeStale { .. } => None,
            Reuse::Validate { .. } | Reuse::Forward(_) => Some(self.now + ALONE),
        };
        self.alone.insert(path, Alone { all: until, personal: None });
    }
}

/// Has a request something for which the response might be for it alone?
fn is_personal(fields: &HeaderMap) -> bool {
    fields.contains_key("authorization") || fields.contains_key("cookie") || says(fields, "no-store")
}

/// Is the directive in Cache-Control?
fn says(fields: &HeaderMap, directive: &str) -> bool {
    let lines = fields.get_all("cache-control").iter();
    let mut members = lines.flat_map(|line| line.to_str().unwrap().split(','));
    members.any(|member| member.trim().split('=').next() == Some(directive))
}
