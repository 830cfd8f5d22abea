//! Redirects: to https, to the main name of a site, and those of routes.

use http::{HeaderValue, StatusCode, header};

use super::route::{self, PathReading};
use crate::config::model::{Redirect, Route, Site, SiteTls};
use crate::exchange::{Request, Response, Scheme};

/// The redirect a site as a whole asks for.
pub(super) fn of_site(req: &Request, site: &Site, https_port: u16) -> Option<Response> {
    let name = req.target.host.name();
    let is_main = *site.name == *name;
    let to_main = site.redirect_aliases && !is_main && !site.name.starts_with('*');
    let to_https = site.redirect_http && site.tls != SiteTls::Off && req.target.scheme == Scheme::Http;
    if !to_main && !to_https {
        return None;
    }
    let host = if to_main { &*site.name } else { name };
    let path = &req.target.path_and_query;
    let location = if to_https || req.target.scheme == Scheme::Https {
        let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
        format!("https://{host}{port}{path}")
    } else {
        let port = req.target.host.as_str().strip_prefix(name).unwrap_or_default();
        format!("http://{host}{port}{path}")
    };
    Some(response(StatusCode::PERMANENT_REDIRECT, &location))
}

/// The redirect of a route that has one.
pub(super) fn of_route(req: &Request, route: &Route, path: &PathReading<'_>) -> Response {
    let Some(Redirect { to, status }) = &route.redirect else {
        return Response::empty(StatusCode::NOT_FOUND);
    };
    // The rest as it was sent, where the pattern matches that too, so that what
    // was encoded stays encoded.
    let rest = route.matches.path.as_ref().and_then(|pattern| {
        route::rest(pattern, req.target.path())
            .map(str::to_owned)
            .or_else(|| route::rest(pattern, path.as_str()).map(encode))
    });
    let query = req.target.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = to
        .replace("{rest}", rest.as_deref().unwrap_or_default())
        .replace("{host}", req.target.host.as_str())
        .replace("{path}", req.target.path())
        .replace("{query}", &query);
    response(*status, &location)
}

fn encode(decoded: &str) -> String {
    use std::fmt::Write;
    decoded.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@%".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn response(status: StatusCode, location: &str) -> Response {
    let mut res = Response::empty(status);
    match HeaderValue::from_str(location) {
        Ok(location) => {
            res.fields.insert(header::LOCATION, location);
            res
        }
        Err(_) => Response::empty(StatusCode::NOT_FOUND),
    }
}
