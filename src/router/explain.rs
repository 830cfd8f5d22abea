//! What becomes of a request, told instead of done: its site, its route, what
//! it is looked up as, what is stored for it, and which rules say no. Nothing
//! is stored or counted; an origin server is asked only if that is wanted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, Method};
use serde::Serialize;

use super::{ReadyRoute, Router, SiteRoutes, edits, redirect, session};
use crate::base::random_id;
use crate::cache::{self, InvalidPurge, StoredView};
use crate::config::model::{PathPattern, Route};
use crate::exchange::{Body, ConnectionInfo, Failure, Protocol, Request, RequestId, Response, Target};
use crate::fields::forwarding;
use crate::policy::{self, CacheRules, FieldLine, Refusal, Remedy, Sender};

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The URL in question.
    pub url: String,
    /// The site that answers.
    pub site: Option<String>,
    /// Its route, counted from 1, and what that takes.
    pub route: Option<(usize, String)>,
    /// What the site asks of its clients, beyond the request; that is told as if the
    /// client had a certificate only where one is given among the fields.
    pub clients: Option<&'static str>,
    /// What happens to it without the cache, if that is all.
    pub answered: Option<String>,
    /// What is looked up, and forwarded.
    pub target: Option<String>,
    /// The parts of the key.
    pub key: Vec<(&'static str, String)>,
    /// Fields of the request that no origin server sees.
    pub dropped_fields: Vec<String>,
    /// The rules of the route that are not the defaults.
    pub rules: Vec<String>,
    /// What Cache-Status would say.
    pub cache_status: Option<String>,
    /// What would change that.
    pub remedy: Option<String>,
    /// What is stored under the key.
    pub stored: Vec<StoredView>,
    /// What the origin server said to it just now.
    pub origin: Option<OriginView>,
}

/// What an origin server said, and what that is to the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OriginView {
    /// Why there was no answer.
    pub error: Option<String>,
    /// The status code of the answer.
    pub status: Option<u16>,
    /// For how many seconds it would be fresh.
    pub lifetime: u64,
    /// What states the lifetime.
    pub lifetime_from: &'static str,
    /// Why it is not stored; empty if it is.
    pub refusals: Vec<RefusalView>,
}

/// One rule that forbids to store the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalView {
    /// The name of the reason, as in Cache-Status.
    pub reason: &'static str,
    /// Whose field line is to blame: `client` or `origin server`.
    pub sender: Option<&'static str>,
    /// The line.
    pub line: Option<String>,
    /// What the origin server could do.
    pub origin: Option<&'static str>,
    /// What the operator could do.
    pub operator: Option<&'static str>,
}

impl Router {
    /// Tells what becomes of a GET of `url` with these fields. If nothing stored
    /// answers it and `asks`, an origin server is asked; what it says is not
    /// stored.
    pub async fn explain(
        &self,
        url: &str,
        fields: HeaderMap,
        asks: bool,
    ) -> Result<Explanation, InvalidPurge> {
        // Without a scheme https is meant.
        let target = cache::purge_targets(url)?.pop().ok_or(InvalidPurge::Nothing)?;
        let told = Explanation { url: target.to_string(), ..Explanation::default() };
        let req = self.request(target, fields);
        Ok(match self.site(&req) {
            Err(failure) => told.ended(&failure),
            Ok(site) => self.explain_at(site, req, told, asks).await,
        })
    }

    async fn explain_at(
        &self,
        site: &Arc<SiteRoutes>,
        mut req: Box<Request>,
        mut told: Explanation,
        asks: bool,
    ) -> Explanation {
        told.site = Some(site.site.name.to_string());
        if let Some(res) = redirect::of_site(&req, &site.site, self.https_port) {
            return told.redirected(&res);
        }
        let ready = match site.route(&req.method, req.target.path()) {
            Err(failure) => return told.ended(&failure),
            Ok((path, ready)) => {
                let number = site.routes.iter().position(|route| std::ptr::eq(route, ready)).unwrap_or(0) + 1;
                told.route = Some((number, taken(&ready.route)));
                if ready.origin.is_none() {
                    return told.redirected(&redirect::of_route(&req, &ready.route, &path));
                }
                ready
            }
        };
        told.clients = site.site.client_auth.as_ref().map(|auth| match auth.required {
            true => "need a certificate; give one as Client-Cert to have that told",
            false => "may have a certificate; give one as Client-Cert to have that told",
        });
        let kept = edits::kept(&site.site);
        let dropped = forwarding::untrusted(&req.fields, &kept, false);
        told.dropped_fields = dropped.map(ToString::to_string).collect();
        forwarding::drop_untrusted(Arc::make_mut(&mut req.fields), &kept, false);
        session::take(&mut req, &site.site);
        if let Err(failure) = ready.normalize(&mut req) {
            return told.ended(&failure);
        }
        self.explain_cached(ready, req, told, asks).await
    }

    async fn explain_cached(
        &self,
        ready: &ReadyRoute,
        req: Box<Request>,
        mut told: Explanation,
        asks: bool,
    ) -> Explanation {
        told.target = Some(req.target.path_and_query.to_string());
        told.key = key_of(&req.target, &ready.rules);
        told.rules = rules_in_words(&ready.rules);
        let (req, outlook) = self.cache.look_into(req, &ready.rules).await;
        told.cache_status = Some(outlook.status.to_string());
        told.remedy = outlook.status.detail.and_then(policy::remedy_of).map(in_words);
        told.stored = outlook.stored;
        if let Some(origin) = ready.origin.as_ref().filter(|_| asks && !outlook.status.hit) {
            told.origin = Some(match self.cache.ask_origin(req, &ready.rules, origin).await {
                Ok(Some((status, _, verdict))) => OriginView {
                    error: None,
                    status: Some(status.as_u16()),
                    lifetime: verdict.lifetime.duration.as_secs(),
                    lifetime_from: verdict.lifetime.source.as_str(),
                    refusals: verdict.refusals.into_iter().map(RefusalView::of).collect(),
                },
                Ok(None) => OriginView::failed("no answer within ten seconds".to_owned()),
                Err(error) => OriginView::failed(error.to_string()),
            });
        }
        told
    }

    /// A GET as it would come over a connection from this machine.
    fn request(&self, target: Target, fields: HeaderMap) -> Box<Request> {
        let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let clock = self.cache.clock();
        let scheme = target.scheme;
        Box::new(Request {
            method: Method::GET,
            target,
            fields: Arc::new(fields),
            body: Body::Empty,
            upgrade: None,
            client: local.ip(),
            trusted: false,
            id: RequestId(random_id()),
            protocol: Protocol::Http11,
            connection: Arc::new(ConnectionInfo { peer: local, local, scheme, tls: None }),
            session: None,
            interim: None,
            received: clock.now(),
            received_wall: clock.wall(),
        })
    }
}

impl Explanation {
    fn ended(self, failure: &Failure) -> Self {
        Self { answered: Some(failure.to_string()), ..self }
    }

    fn redirected(self, res: &Response) -> Self {
        let to = res.fields.get(http::header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
        let answered = format!("{} to {}", res.status, to.unwrap_or_default());
        Self { answered: Some(answered), ..self }
    }
}

impl OriginView {
    fn failed(error: String) -> Self {
        Self { error: Some(error), lifetime_from: "none", ..Self::default() }
    }
}

impl RefusalView {
    fn of(refusal: Refusal) -> Self {
        let Refusal { reason, blame, remedy } = refusal;
        let sender = blame.as_ref().map(|FieldLine { sender, .. }| match sender {
            Sender::Client => "client",
            Sender::OriginServer => "origin server",
        });
        let (origin, operator) = (remedy.origin, remedy.operator);
        Self { reason: reason.as_str(), sender, line: blame.map(|blame| blame.text), origin, operator }
    }
}

fn in_words(remedy: Remedy) -> String {
    [remedy.origin, remedy.operator].into_iter().flatten().collect::<Vec<_>>().join(" Or: ")
}

/// The requests that a route takes.
fn taken(route: &Route) -> String {
    let path = match &route.matches.path {
        None => "every path".to_owned(),
        Some(PathPattern::Exact(path)) => path.clone(),
        Some(PathPattern::Prefix(path)) => format!("{path}*"),
        Some(PathPattern::Suffix(path)) => format!("*{path}"),
    };
    let methods: Vec<&str> = route.matches.methods.iter().map(Method::as_str).collect();
    if methods.is_empty() { path } else { format!("{} {path}", methods.join(", ")) }
}

fn key_of(target: &Target, rules: &CacheRules) -> Vec<(&'static str, String)> {
    let mut key = vec![
        ("scheme", target.scheme.to_string()),
        ("host", target.host.as_str().to_owned()),
        ("path", target.path().to_owned()),
    ];
    key.extend(target.query().map(|query| ("query", query.to_owned())));
    let fields: Vec<&str> = rules.key_fields.iter().map(http::HeaderName::as_str).collect();
    if !fields.is_empty() {
        key.push(("fields", fields.join(", ")));
    }
    key
}

/// What a route says that is not the default.
fn rules_in_words(rules: &CacheRules) -> Vec<String> {
    let default = CacheRules::default();
    let mut words = Vec::new();
    let mut say = |is_said: bool, text: String| {
        if is_said {
            words.push(text);
        }
    };
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs());
    say(!rules.enabled, "cache = false".to_owned());
    if let Some(ttl) = rules.ttl {
        say(true, format!("ttl = {}", seconds(ttl)));
    }
    say(rules.force, "force: no-store and private do not count".to_owned());
    say(rules.default_ttl != default.default_ttl, format!("default_ttl = {}", seconds(rules.default_ttl)));
    say(
        rules.negative_ttl != default.negative_ttl,
        format!("negative_ttl = {}", seconds(rules.negative_ttl)),
    );
    say(
        rules.stale_while_revalidate != default.stale_while_revalidate,
        format!("stale_while_revalidate = {}", seconds(rules.stale_while_revalidate)),
    );
    say(
        rules.stale_if_error != default.stale_if_error,
        format!("stale_if_error = {}", seconds(rules.stale_if_error)),
    );
    say(rules.ignore_cookies, "ignore_cookies".to_owned());
    say(rules.query.ignored, "ignore_query".to_owned());
    say(rules.query.sorted, "query parameters are sorted".to_owned());
    say(!rules.query.dropped.is_empty(), "some query parameters are left out".to_owned());
    say(rules.compression.is_none(), "compress = false".to_owned());
    words
}
