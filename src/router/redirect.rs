//! Redirects: to https, to the main name of a site, and those of routes.

use http::{HeaderValue, StatusCode, header};

use super::route::{self, PathReading};
use crate::config::model::{Redirect, Route, Site, SiteTls};
use crate::exchange::{Request, Response, Scheme};

/// The redirect a site as a whole asks for.
pub(super) fn of_site(req: &Request, site: &Site, https_port: u16) -> Option<Box<Response>> {
    let name = req.target.host.name();
    let is_main = *site.name == *name;
    let to_main = site.redirect_aliases && !is_main && !site.name.starts_with('*');
    let to_https = site.redirect_http && site.tls != SiteTls::Off && req.target.scheme == Scheme::Http;
    let path = &req.target.path_and_query;
    // `OPTIONS *` asks for nothing that could be elsewhere (RFC 9110 s9.3.7).
    if !(to_main || to_https) || path.as_str() == "*" {
        return None;
    }
    let host = if to_main { &*site.name } else { name };
    let own_port = req.target.host.as_str().strip_prefix(name).unwrap_or_default();
    let location = match req.target.scheme {
        Scheme::Http if to_https && https_port == 443 => format!("https://{host}{path}"),
        Scheme::Http if to_https => format!("https://{host}:{https_port}{path}"),
        Scheme::Http => format!("http://{host}{own_port}{path}"),
        // What is listened on may have another port outside.
        Scheme::Https => format!("https://{host}{own_port}{path}"),
    };
    Some(response(StatusCode::PERMANENT_REDIRECT, &location))
}

/// The redirect of a route that has one.
pub(super) fn of_route(req: &Request, route: &Route, path: &PathReading<'_>) -> Box<Response> {
    let Some(Redirect { to, status }) = &route.redirect else {
        return Box::new(Response::empty(StatusCode::NOT_FOUND));
    };
    // The rest as it was sent, where the pattern matches that too, so that what
    // was encoded stays encoded.
    let rest = route.matches.path.as_ref().and_then(|pattern| {
        route::rest(pattern, req.target.path())
            .map(str::to_owned)
            .or_else(|| route::rest(pattern, path.as_str()).map(encode))
    });
    let query = req.target.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = filled(to, |name| match name {
        "rest" => rest.as_deref().unwrap_or_default(),
        "host" => req.target.host.as_str(),
        "path" => req.target.path(),
        "query" => &query,
        _ => "",
    });
    response(*status, &local(to, location))
}

/// `to` with `value` of each name in braces in its place; what comes in there is not
/// looked into.
fn filled<'a>(to: &str, value: impl Fn(&str) -> &'a str) -> String {
    let mut parts = to.split('{');
    let mut location = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once('}').unwrap_or_default();
        location.push_str(value(name));
        location.push_str(after);
    }
    location
}

/// Keeps a redirect to a path on this host: browsers take `//` and `/\` at the
/// beginning for another one, and a client chose the rest.
fn local(to: &str, location: String) -> String {
    if to.starts_with('/') { format!("/{}", location.trim_start_matches(['/', '\\'])) } else { location }
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

fn response(status: StatusCode, location: &str) -> Box<Response> {
    let mut res = Box::new(Response::empty(status));
    match HeaderValue::from_str(location) {
        Ok(location) => {
            res.fields.insert(header::LOCATION, location);
            res
        }
        Err(_) => Box::new(Response::empty(StatusCode::NOT_FOUND)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use http::{HeaderValue, Method};

    use super::*;
    use crate::base::{Clock, SystemClock};
    use crate::config;
    use crate::exchange::{Body, ConnectionInfo, Host, Protocol, RequestId, Target};

    fn req(scheme: Scheme, host: &'static str, path: &str) -> Box<Request> {
        let address = "127.0.0.1:1".parse().unwrap();
        Box::new(Request {
            method: Method::GET,
            target: Target {
                scheme,
                host: Host::parse(&HeaderValue::from_static(host), scheme).unwrap(),
                path_and_query: path.parse().unwrap(),
            },
            fields: Arc::default(),
            body: Body::Empty,
            upgrade: None,
            client: "127.0.0.1".parse().unwrap(),
            trusted: false,
            id: RequestId(1),
            protocol: Protocol::Http11,
            connection: Arc::new(ConnectionInfo { peer: address, local: address, scheme, tls: None }),
            session: None,
            interim: None,
            received: SystemClock.now(),
            received_wall: SystemTime::UNIX_EPOCH,
        })
    }

    fn site(keys: &str) -> Arc<Site> {
        let text = format!("[site.\"a.test\"]\norigins = [\"127.0.0.1:1\"]\n{keys}");
        let loaded = config::parse("test", &text, std::path::Path::new("")).unwrap();
        Arc::clone(&loaded.config.sites[0])
    }

    fn location(res: &Response) -> &str {
        res.fields[header::LOCATION].to_str().unwrap()
    }

    #[test]
    fn cleartext_goes_to_https_with_its_port() {
        let site = site("");
        let sent = |port| of_site(&req(Scheme::Http, "a.test:8080", "/x?y=1"), &site, port).unwrap();
        assert_eq!(location(&sent(443)), "https://a.test/x?y=1");
        assert_eq!(location(&sent(8443)), "https://a.test:8443/x?y=1");
        assert!(of_site(&req(Scheme::Https, "a.test", "/"), &site, 443).is_none());
    }

    #[test]
    fn an_alias_goes_to_the_main_name() {
        let site = site("aliases = [\"www.a.test\"]\nredirect_aliases = true\nredirect_http = false");
        let sent = of_site(&req(Scheme::Http, "www.a.test:8080", "/x"), &site, 443).unwrap();
        assert_eq!(location(&sent), "http://a.test:8080/x");
        for (host, expected) in
            [("www.a.test", "https://a.test/x"), ("www.a.test:444", "https://a.test:444/x")]
        {
            let sent = of_site(&req(Scheme::Https, host, "/x"), &site, 8443).unwrap();
            assert_eq!(location(&sent), expected);
        }
        assert!(of_site(&req(Scheme::Http, "www.a.test", "*"), &site, 443).is_none());
        assert!(of_site(&req(Scheme::Http, "a.test", "/x"), &site, 443).is_none());
    }

    #[test]
    fn a_route_puts_in_what_its_pattern_took() {
        let site = site(
            "[[site.\"a.test\".route]]\nmatch = { path = \"/old/*\" }\nredirect = { to = \"/new/{rest}{query}\" }",
        );
        for (path, expected) in
            [("/old/caf%C3%A9/x?y", "/new/caf%C3%A9/x?y"), ("/old/{host}?{path}", "/new/{host}?{path}")]
        {
            let req = req(Scheme::Https, "a.test", path);
            let path = PathReading::of(req.target.path()).unwrap();
            assert_eq!(location(&of_route(&req, &site.routes[0], &path)), expected);
        }
    }

    #[test]
    fn a_client_cannot_choose_the_host_of_a_redirect() {
        let site =
            site("[[site.\"a.test\".route]]\nmatch = { path = \"/old/*\" }\nredirect = { to = \"/{rest}\" }");
        for path in ["/old//evil.test", "/old/%5Cevil.test", "/old///evil.test"] {
            let req = req(Scheme::Https, "a.test", path);
            let reading = PathReading::of(req.target.path()).unwrap();
            let res = of_route(&req, &site.routes[0], &reading);
            assert!(!location(&res).starts_with("//") && !location(&res).starts_with("/\\"), "{path}");
        }
    }
}
