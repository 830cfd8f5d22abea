//! URI references in fields (RFC 3986 s4, s5), resolved as far as a cache
//! needs: to the path and query of a target with the same origin.

use super::KeyParts;

/// The path and query that `reference` leads to from `base`. `None` if it leads
/// to another origin, or is none.
pub(super) fn same_origin(base: KeyParts<'_>, reference: &str) -> Option<String> {
    let reference = reference.split('#').next()?;
    let (has_scheme, rest) = match scheme(reference) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(base.scheme) => (true, rest),
        Some(_) => return None,
        None => (false, reference),
    };
    if let Some(rest) = rest.strip_prefix("//") {
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = split_query(target);
        return is_host(authority, base).then(|| join(&without_dots(path), query));
    }
    if has_scheme {
        return None;
    }
    let (path, query) = split_query(rest);
    Some(match path {
        "" => join(base.path, query.or(base.query)),
        path if path.starts_with('/') => join(&without_dots(path), query),
        path => {
            let (folder, _) = base.path.rsplit_once('/').unwrap_or_default();
            join(&without_dots(&format!("{folder}/{path}")), query)
        }
    })
}

/// The scheme a reference begins with, and what follows its colon.
fn scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_at(reference.find([':', '/', '?'])?);
    let is_valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    Some((scheme, rest.strip_prefix(':')?)).filter(|_| is_valid)
}

fn is_host(authority: &str, base: KeyParts<'_>) -> bool {
    let default_port = if base.scheme == "https" { ":443" } else { ":80" };
    let host = authority.strip_suffix(default_port).or(authority.strip_suffix(':')).unwrap_or(authority);
    host.eq_ignore_ascii_case(base.host)
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

fn join(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// RFC 3986 s5.2.4, for a path that begins with a slash; an empty one becomes
/// `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let ends_in_folder = matches!(segments.clone().next_back(), Some("." | ".."));
    for segment in segments {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if ends_in_folder {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 s5.4, with what belongs to other origins.
    #[test]
    fn references_are_resolved() {
        let base = KeyParts { scheme: "http", host: "a", path: "/b/c/d;p", query: Some("q") };
        for (reference, expected) in [
            ("http:g", None),
            ("g:h", None),
            ("g", Some("/b/c/g")),
            ("./g", Some("/b/c/g")),
            ("g/", Some("/b/c/g/")),
            ("/g", Some("/g")),
            ("//g", None),
            ("?y", Some("/b/c/d;p?y")),
            ("g?y", Some("/b/c/g?y")),
            ("#s", Some("/b/c/d;p?q")),
            ("g?y#s", Some("/b/c/g?y")),
            (";x", Some("/b/c/;x")),
            ("", Some("/b/c/d;p?q")),
            (".", Some("/b/c/")),
            ("..", Some("/b/")),
            ("../g", Some("/b/g")),
            ("../../../g", Some("/g")),
            ("/./g", Some("/g")),
            ("g;x=1/../y", Some("/b/c/y")),
            ("g?y/../x", Some("/b/c/g?y/../x")),
            ("http://a/x?y", Some("/x?y")),
            ("HTTP://A:80/x", Some("/x")),
            ("//a", Some("/")),
            ("//a?y", Some("/?y")),
            ("http://a:8080/x", None),
            ("https://a/x", None),
            ("http://user@a/x", None),
            ("http://b/x", None),
        ] {
            assert_eq!(same_origin(base, reference).as_deref(), expected, "{reference}");
        }
    }
}
