//! What a request with the method PURGE names, and who may send one; and under
//! which keys the responses of a URL are kept. What a purge does is the cache's
//! business.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;

use crate::cache::{self, Cache, InvalidPurge, Purge, PurgeError, Purged};
use crate::config::model::Secret;
use crate::exchange::{Body, Failure, Request, Response};
use crate::policy::{self, CacheKey};

use super::Router;

/// Methods by which caches are told what to do. No origin server is sent one,
/// unless a route names it.
const OF_CACHES: [&str; 3] = ["PURGE", "BAN", "REFRESH"];

/// What the target of a PURGE stands for: itself, or `prefix`, `host`, `all`.
const PURGE_BY: HeaderName = HeaderName::from_static("purge-by");

/// `Soft-Purge: 1` makes stale and removes nothing.
const SOFT_PURGE: HeaderName = HeaderName::from_static("soft-purge");

/// Who may purge by requests, and the field that has the tags.
#[derive(Debug)]
pub(super) struct Purging {
    pub(super) token: Option<Secret>,
    pub(super) tags_field: HeaderName,
}

/// True for a method that is for a cache.
pub(super) fn is_for_caches(method: &Method) -> bool {
    OF_CACHES.contains(&method.as_str())
}

impl Router {
    /// The keys under which the responses of a URL are kept: in the form that
    /// its route gives the query, under http and https unless the URL says which.
    pub fn keys_of(&self, url: &str) -> Result<Vec<CacheKey>, InvalidPurge> {
        let mut keys = Vec::new();
        for mut target in cache::purge_targets(url)? {
            let site = self.sites.find(target.host.name());
            let normal = site.and_then(|site| site.normal_form(target.path_and_query.as_str()));
            if let Some(normal) = normal {
                let invalid = |_| InvalidPurge::Url(url.to_owned());
                target.path_and_query = normal.try_into().map_err(invalid)?;
            }
            keys.push(Cache::key(&target));
        }
        Ok(keys)
    }

    /// The cache that answers.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Purges, as [`Cache::purge`] does.
    pub async fn purge(&self, purge: Purge) -> Result<Purged, PurgeError> {
        self.cache.purge(purge).await
    }

    /// What a request for caches asks for, if it may.
    pub(super) fn purge_asked_for(&self, req: &Request) -> Result<Purge, Failure> {
        let Purging { token, tags_field } = &self.purging;
        let token = token.as_ref().filter(|_| req.method.as_str() == "PURGE");
        let token = token.ok_or_else(|| Failure::MethodNotAllowed(req.method.clone()))?;
        if !is_authorized(req, token) {
            return Err(Failure::Unauthorized);
        }
        let purge = self.named(req, tags_field);
        let purge = purge.map_err(|_| Failure::BadRequest("a PURGE that names nothing, or too much"))?;
        match req.fields.get(&SOFT_PURGE).map(HeaderValue::as_bytes) {
            None => Ok(purge),
            Some(b"1") => Ok(purge.softly(true)),
            Some(_) => Err(Failure::BadRequest("a Soft-Purge that is not 1")),
        }
    }

    fn named(&self, req: &Request, tags_field: &HeaderName) -> Result<Purge, InvalidPurge> {
        let by = req.fields.get(&PURGE_BY).map(HeaderValue::as_bytes);
        if let Some(tags) = policy::requested_tags(&req.fields, tags_field) {
            return if by.is_none() { Purge::tags(tags) } else { Err(InvalidPurge::Nothing) };
        }
        let host = req.target.host.as_str();
        let url = format!("{host}{}", req.target.path_and_query);
        match by {
            None => Purge::keys(self.keys_of(&url)?),
            Some(b"prefix") => Purge::prefixes(&[url]),
            Some(b"host") => Purge::hosts(&[host.to_owned()]),
            Some(b"all") => Ok(Purge::everything()),
            Some(_) => Err(InvalidPurge::Nothing),
        }
    }
}

/// `Authorization: Bearer TOKEN` (RFC 6750 s2.1).
fn is_authorized(req: &Request, token: &Secret) -> bool {
    let mut lines = req.fields.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let words = line.as_bytes().split_at_checked("Bearer ".len());
    words.is_some_and(|(scheme, sent)| scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(sent))
}

/// The answer to a PURGE: 200, or 202 while it still goes on.
pub(super) fn response(purged: Result<Purged, PurgeError>) -> Box<Response> {
    let (status, content) = match purged {
        Ok(purged) => {
            let status = if purged.complete { StatusCode::OK } else { StatusCode::ACCEPTED };
            (status, serde_json::to_vec(&purged).unwrap_or_default())
        }
        Err(error) => {
            let why = json!({ "error": error.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, why.to_string().into_bytes())
        }
    };
    let mut res = Box::new(Response { body: Body::Full(content.into()), ..Response::empty(status) });
    res.fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    res.fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    res
}
