//! From requests to routes: which site answers, by which of its routes, which
//! form of the target is keyed and forwarded, and what that changes on the
//! request and on the response. It asks the cache for the answer and never an
//! origin server.

mod client;
mod edits;
mod explain;
mod purge;
mod redirect;
mod route;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use crate::cache::{Cache, NormalForms};
use crate::config::ByHost;
use crate::config::model::{Config, Route, Site};
use crate::exchange::{Answer, Failure, Handler, Handling, Origin, Request, Scheme, SiteNumber};
use crate::policy::CacheRules;
use crate::telemetry::Metrics;

pub use explain::{Explanation, OriginView, RefusalView};

use edits::Edited;
use purge::Purging;
use route::PathReading;

/// Every site with its routes.
#[derive(Debug)]
pub struct Router {
    sites: ByHost<Arc<SiteRoutes>>,
    cache: Arc<Cache>,
    https_port: u16,
    purging: Purging,
}

/// A site, ready to answer.
#[derive(Debug)]
struct SiteRoutes {
    number: SiteNumber,
    site: Arc<Site>,
    routes: Vec<ReadyRoute>,
}

#[derive(Debug)]
struct ReadyRoute {
    route: Arc<Route>,
    rules: Arc<CacheRules>,
    /// `None` for a redirect.
    origin: Option<Arc<dyn Origin>>,
}

impl Router {
    /// Joins the sites of a configuration with the pools they name.
    pub fn new(
        config: &Config,
        pools: &BTreeMap<Arc<str>, Arc<dyn Origin>>,
        cache: Arc<Cache>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let mut sites = ByHost::default();
        for site in &config.sites {
            let ready = Arc::new(SiteRoutes::new(site, pools, metrics));
            for name in std::iter::once(&site.name).chain(&site.aliases) {
                sites.insert(name, Arc::clone(&ready));
            }
        }
        let https_port = config.listen.https.first().map_or(443, std::net::SocketAddr::port);
        let (token, tags_field) = (config.purge_token.clone(), config.cache.tags_field.clone());
        Self { sites, cache, https_port, purging: Purging { token, tags_field } }
    }

    fn site(&self, req: &Request) -> Result<&Arc<SiteRoutes>, Failure> {
        let site = self.sites.find(req.target.host.name()).ok_or(Failure::UnknownHost)?;
        let asked_for = req.connection.tls.as_ref().and_then(|session| session.sni.as_deref());
        match asked_for.map(|name| self.sites.find(name)) {
            Some(Some(other)) if !Arc::ptr_eq(other, site) => Err(Failure::Misdirected),
            _ => Ok(site),
        }
    }

    fn answer(&self, mut req: Box<Request>, site: &Arc<SiteRoutes>) -> Handling {
        if let Some(res) = redirect::of_site(&req, &site.site, self.https_port) {
            return Handling::ready(Ok(res));
        }
        if let Err(failure) = client::identify(&mut req, &site.site) {
            return Handling::ready(Err(failure));
        }
        let (path, ready) = match site.route(&req.method, req.target.path()) {
            Ok(found) => found,
            Err(failure) => return Handling::ready(Err(failure)),
        };
        if purge::is_for_caches(&req.method) && !ready.route.matches.methods.contains(&req.method) {
            return self.answer_purge(&req);
        }
        let Some(origin) = &ready.origin else {
            return Handling::ready(Ok(redirect::of_route(&req, &ready.route, &path)));
        };
        session::take(&mut req, &site.site);
        match limit(&mut req, ready.route.body).and_then(|()| ready.normalize(&mut req)) {
            Ok(()) if req.method.is_safe() => self.cache.answer(req, &ready.rules, origin),
            Ok(()) => self.cache.write(req, &ready.rules, origin, Arc::clone(site) as Arc<dyn NormalForms>),
            Err(failure) => Handling::ready(Err(failure)),
        }
        .map_response(&ready.route)
        .map_session(&site.site)
    }
}

impl Router {
    fn answer_purge(&self, req: &Request) -> Handling {
        match self.purge_asked_for(req) {
            Ok(purge) => {
                let cache = Arc::clone(&self.cache);
                Handling::pending(async move { Ok(purge::response(cache.purge(purge).await)) })
            }
            Err(failure) => Handling::ready(Err(failure)),
        }
    }
}

impl Handler for Router {
    fn handle(&self, req: Box<Request>) -> Answer {
        match self.site(&req) {
            Ok(site) => Answer {
                site: Some(site.number),
                hsts: site.site.hsts && req.target.scheme == Scheme::Https,
                handling: self.answer(req, site),
            },
            Err(failure) => Answer::of_no_site(Err(failure)),
        }
    }
}

impl SiteRoutes {
    fn new(site: &Arc<Site>, pools: &BTreeMap<Arc<str>, Arc<dyn Origin>>, metrics: &Arc<Metrics>) -> Self {
        let pool = site.pool.as_ref().and_then(|pool| pools.get(&pool.name));
        let routes = site
            .routes
            .iter()
            .map(|route| ReadyRoute {
                route: Arc::clone(route),
                rules: Arc::clone(&route.cache),
                origin: pool.filter(|_| route.redirect.is_none()).map(|pool| {
                    Arc::new(Edited::new(Arc::clone(pool), site, route, metrics)) as Arc<dyn Origin>
                }),
            })
            .collect();
        Self { number: metrics.number(&site.name), site: Arc::clone(site), routes }
    }

    /// The route that takes a request, and how it reads the path.
    fn route<'a>(&self, method: &Method, path: &'a str) -> Result<(PathReading<'a>, &ReadyRoute), Failure> {
        let path = PathReading::of(path)?;
        let found = route::find(&self.routes, |ready| &ready.route.matches, method, &path)?;
        found.map(|ready| (path, ready)).ok_or(Failure::UnknownHost)
    }
}

impl SiteRoutes {
    /// The form under which the response to a GET of this path and query is
    /// kept, if it is another one.
    fn normal_form(&self, path_and_query: &str) -> Option<String> {
        let (path, query) = path_and_query.split_once('?')?;
        let (_, ready) = self.route(&Method::GET, path).ok()?;
        ready.normal_form(path, query)
    }
}

impl NormalForms for SiteRoutes {
    fn of_get(&self, path_and_query: &str) -> Option<String> {
        self.normal_form(path_and_query)
    }
}

impl ReadyRoute {
    /// Gives the target of a request that the cache may answer its normal form:
    /// from here on it is what is looked up and what is forwarded.
    fn normalize(&self, req: &mut Request) -> Result<(), Failure> {
        let is_read = req.method == Method::GET || req.method == Method::HEAD;
        let normal = match req.target.query() {
            Some(query) if is_read && req.upgrade.is_none() => self.normal_form(req.target.path(), query),
            _ => None,
        };
        if let Some(normal) = normal {
            let normal = normal.try_into();
            req.target.path_and_query =
                normal.map_err(|_| Failure::BadRequest("the query has no normal form"))?;
        }
        Ok(())
    }

    fn normal_form(&self, path: &str, query: &str) -> Option<String> {
        if self.rules.enabled { self.rules.query.normal_form(path, query) } else { None }
    }
}

/// Edits of the response, where there are any.
trait MapResponse {
    fn map_response(self, route: &Arc<Route>) -> Self;

    /// After all edits: the cookie is the edge's own.
    fn map_session(self, site: &Site) -> Self;
}

impl MapResponse for Handling {
    fn map_response(self, route: &Arc<Route>) -> Self {
        if route.response_fields.is_empty() {
            return self;
        }
        let route = Arc::clone(route);
        self.map(move |res| {
            edits::apply(&route.response_fields, &mut res.fields);
            res.body = std::mem::take(&mut res.body).without_trailers();
        })
    }

    fn map_session(self, site: &Site) -> Self {
        if !session::is_kept(site) {
            return self;
        }
        self.map(session::give)
    }
}

/// Holds the content to the route's limit.
fn limit(req: &mut Request, limit: u64) -> Result<(), Failure> {
    let size = http_body::Body::size_hint(&req.body);
    if size.lower() > limit {
        return Err(Failure::ContentTooLarge { limit });
    }
    if size.upper().is_none_or(|upper| upper > limit) {
        req.body = std::mem::take(&mut req.body).limited(limit);
    }
    Ok(())
}
