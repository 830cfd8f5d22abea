//! `match.path`: patterns for decoded paths, and which pattern takes all that
//! another one would.

use crate::config::model::{PathPattern, RouteMatch};
use crate::config::read::Fault;

/// Reads a pattern; `None` matches every path.
pub(super) fn path_pattern(text: &str) -> Result<Option<PathPattern>, Fault> {
    if text == "*" {
        return Ok(None);
    }
    check_characters(text)?;
    let pattern = match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(end), None) => PathPattern::Suffix(end.to_owned()),
        (None, Some(start)) => PathPattern::Prefix(start.to_owned()),
        (None, None) => PathPattern::Exact(text.to_owned()),
        (Some(_), Some(_)) => return Err(one_star()),
    };
    match &pattern {
        PathPattern::Suffix(part) | PathPattern::Prefix(part) | PathPattern::Exact(part)
            if part.contains('*') =>
        {
            Err(one_star())
        }
        PathPattern::Prefix(part) | PathPattern::Exact(part) if !part.starts_with('/') => {
            Err(Fault::new("a path begins with `/`").help(format!("write \"/{}\"", text.escape_debug())))
        }
        _ => Ok(Some(pattern)),
    }
}

fn check_characters(text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new("an empty path").help("leave `path` out to match every path"));
    }
    if text.contains(['?', '#']) {
        return Err(Fault::new("a query is no part of the path"));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::new("a control character"));
    }
    let is_encoded = |start: &str| start.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if text.split('%').skip(1).any(is_encoded) {
        return Err(Fault::new("percent-encoded: it is the decoded path that is matched")
            .help("write the characters themselves"));
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Fault::new("`.` and `..` are resolved before a path is matched"));
    }
    Ok(())
}

fn one_star() -> Fault {
    Fault::new("one `*` only, at the beginning or the end").help("write \"/old/*\" or \"*.css\"")
}

/// True if the path has a `*` that stands for something.
pub(super) fn has_star(matches: &RouteMatch) -> bool {
    matches!(matches.path, Some(PathPattern::Prefix(_) | PathPattern::Suffix(_)))
}

/// True if `first` takes every request that `second` would.
pub(super) fn covers(first: &RouteMatch, second: &RouteMatch) -> bool {
    let takes_methods = first.methods.is_empty()
        || !second.methods.is_empty() && second.methods.iter().all(|method| first.methods.contains(method));
    takes_methods && covers_path(first.path.as_ref(), second.path.as_ref())
}

fn covers_path(first: Option<&PathPattern>, second: Option<&PathPattern>) -> bool {
    use PathPattern::{Exact, Prefix, Suffix};
    match (first, second) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(Exact(first)), Some(Exact(second))) => first == second,
        (Some(Prefix(first)), Some(Exact(second) | Prefix(second))) => second.starts_with(first.as_str()),
        (Some(Suffix(first)), Some(Exact(second) | Suffix(second))) => second.ends_with(first.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_star_stands_at_one_end() {
        let pattern = |text| path_pattern(text).map_err(|fault| fault.reason);
        assert_eq!(pattern("*"), Ok(None));
        assert_eq!(pattern("/a"), Ok(Some(PathPattern::Exact("/a".to_owned()))));
        assert_eq!(pattern("/a/*"), Ok(Some(PathPattern::Prefix("/a/".to_owned()))));
        assert_eq!(pattern("*.css"), Ok(Some(PathPattern::Suffix(".css".to_owned()))));
        for wrong in ["", "a", "a/*", "/a/*.css", "**", "*a*", "/a?b", "/a%20b", "/a/../b", "/a\n"] {
            assert!(path_pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_an_earlier_route_takes_a_later_one_never_sees() {
        let route = |path: &str, methods: &[Method]| RouteMatch {
            path: path_pattern(path).unwrap(),
            methods: methods.to_vec(),
        };
        assert!(covers(&route("*", &[]), &route("/a", &[])));
        assert!(covers(&route("/a/*", &[]), &route("/a/b/*", &[Method::GET])));
        assert!(covers(&route("*.css", &[]), &route("/a.css", &[])));
        assert!(covers(&route("/a", &[Method::GET, Method::HEAD]), &route("/a", &[Method::GET])));
        assert!(!covers(&route("/a", &[Method::GET]), &route("/a", &[])));
        assert!(!covers(&route("/a/*", &[]), &route("*.css", &[])));
        assert!(!covers(&route("/a/b", &[]), &route("/a/*", &[])));
    }
}
