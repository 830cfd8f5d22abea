//! `[[site."NAME".route]]`: which requests a route takes and what it does. The
//! first that matches wins; the last one of a site takes everything.

use std::sync::Arc;

use http::Method;

use super::{edits, pattern, redirect};
use crate::config::model::{FieldEdits, Route, RouteMatch};
use crate::config::read::{Diagnostic, Fault, Span, Table, Value};
use crate::config::{Around, cache, limits};
use crate::policy::CacheRules;

/// Reads the routes of a site over what the site itself says.
pub(super) fn routes(
    table: &mut Table<'_>,
    site_rules: &CacheRules,
    site_body: u64,
    around: &Around<'_>,
) -> Vec<Arc<Route>> {
    let written = table.list("route", |value| {
        let route = value.table(|table| route(table, site_rules, site_body, around))??;
        Some((Arc::new(route), value))
    });
    let written = written.unwrap_or_default();
    for (index, (route, value)) in written.iter().enumerate() {
        let earlier =
            written.iter().take(index).find(|(earlier, _)| pattern::covers(&earlier.matches, &route.matches));
        if let Some((_, earlier)) = earlier {
            warn_of_unreachable(value, &earlier.span);
        }
    }
    let mut routes = Vec::with_capacity(written.len() + 1);
    for (route, _) in written {
        let takes_all = route.matches == RouteMatch::default();
        routes.push(route);
        if takes_all {
            return routes;
        }
    }
    routes.push(Arc::new(plain_route(site_rules, site_body)));
    routes
}

/// What a site does where no route matches.
fn plain_route(rules: &CacheRules, body: u64) -> Route {
    Route {
        matches: RouteMatch::default(),
        cache: Arc::new(rules.clone()),
        redirect: None,
        request_fields: FieldEdits::default(),
        response_fields: FieldEdits::default(),
        body,
    }
}

/// `None` after an error in `match`, so that nothing is said of what the route
/// would take from others.
fn route(
    table: &mut Table<'_>,
    site_rules: &CacheRules,
    site_body: u64,
    around: &Around<'_>,
) -> Option<Route> {
    table.not_yet(&["rate_limit", "allow", "deny", "auth"]);
    table.belongs_elsewhere(&["compress"], "write cache = { compress = ... }");
    table.belongs_elsewhere(&["pool", "origins", "health"], "a site has one pool: make another site for it");
    table
        .belongs_elsewhere(&["path", "method"], "write match = { path = \"/assets/*\", method = [\"GET\"] }");
    let matches = table.section("match", route_match);
    let has_rest = matches.as_ref().is_none_or(pattern::has_star);
    let redirect_value = table.value("redirect");
    let redirect = redirect_value.as_ref().and_then(|value| redirect::redirect(value, has_rest));
    let cache = Arc::new(cache::rules(table.value("cache"), site_rules, around.cache.most));
    let request_fields = table.section("request_fields", edits::field_edits);
    let response_fields = table.section("response_fields", edits::field_edits);
    let body = table.size("body", site_body, limits::BODY);
    if redirect_value.is_some() {
        warn_of_no_effect(table);
    }
    Some(Route { matches: matches?, cache, redirect, request_fields, response_fields, body })
}

fn route_match(table: &mut Table<'_>) -> Option<RouteMatch> {
    let path = match table.value("path") {
        Some(value) => value.parse("a path such as \"/assets/*\"", pattern::path_pattern),
        None => Some(None),
    };
    let methods = match table.value("method") {
        Some(value) => methods(&value),
        None => Some(Vec::new()),
    };
    Some(RouteMatch { path: path?, methods: methods? })
}

fn methods(value: &Value<'_>) -> Option<Vec<Method>> {
    if value.is_empty_list() {
        value.fault(Fault::new("an empty list").help("leave `method` out to match every method"));
        return None;
    }
    let methods: Vec<_> = value.items_or_one().iter().map(method).collect();
    methods.into_iter().collect()
}

fn method(value: &Value<'_>) -> Option<Method> {
    value.parse("a method such as \"GET\"", |text| {
        if text != text.to_ascii_uppercase() {
            let fault = Fault::new("methods are case-sensitive (RFC 9110 s9.1)");
            return Err(fault.help(format!("write \"{}\"", text.to_ascii_uppercase().escape_debug())));
        }
        Method::from_bytes(text.as_bytes()).map_err(|_| Fault::new("not a method"))
    })
}

fn warn_of_no_effect(table: &mut Table<'_>) {
    for key in ["cache", "request_fields", "body"] {
        if let Some(value) = table.value(key) {
            value.warn(format!("`{key}` has no effect"), "a redirect asks no origin server", "take it out");
        }
    }
}

fn warn_of_unreachable(value: &Value<'_>, earlier: &Span) {
    value.reading.report(
        Diagnostic::warning("this route is never reached")
            .at(value.span.clone(), "unreachable")
            .context(earlier.clone(), "takes all of its requests")
            .help("the first route that matches wins: put the narrower one first"),
    );
}
