//! `redirect`: where a route sends clients, and with which status.

use http::{HeaderValue, StatusCode};

use crate::config::model::Redirect;
use crate::config::read::{Diagnostic, Fault, Table, Value, did_you_mean};

const PLACEHOLDERS: [&str; 4] = ["rest", "host", "path", "query"];

/// Reads the table; `has_rest`: the route's path has a `*`, which `{rest}` stands for.
pub(super) fn redirect(value: &Value<'_>, has_rest: bool) -> Option<Redirect> {
    value.table(|table| {
        let status = table.value("status").and_then(|value| status(&value));
        Some(Redirect {
            to: target(table, has_rest)?,
            status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
        })
    })?
}

fn status(value: &Value<'_>) -> Option<StatusCode> {
    let status = value.number(300..=399)?;
    let known = [301, 302, 303, 307, 308].contains(&status);
    if !known {
        value.fault(
            Fault::new("not a status that redirects")
                .help("301, 302, 303, 307 or 308; 307 and 308 keep the method"),
        );
    }
    StatusCode::from_u16(u16::try_from(status).ok()?).ok()
}

fn target(table: &mut Table<'_>, has_rest: bool) -> Option<String> {
    let Some(to) = table.value("to") else {
        table.report_absent(
            &["to"],
            Diagnostic::error("a redirect without `to`")
                .at(table.span.clone(), "where to?")
                .help("write redirect = { to = \"/new/{rest}\", status = 308 }"),
        );
        return None;
    };
    to.parse("a path or a URL", |text| check_target(text, has_rest).map(|()| text.to_owned()))
}

fn check_target(text: &str, has_rest: bool) -> Result<(), Fault> {
    let starts = ["/", "http://", "https://"];
    if !starts.iter().any(|start| text.starts_with(start)) {
        return Err(Fault::new("neither a path nor a URL").help("begin with `/` or `https://`"));
    }
    if text.starts_with("//") {
        return Err(
            Fault::new("`//` begins the name of another host").help("write the scheme too: \"https://...\"")
        );
    }
    let is_uri = text.bytes().all(|byte| byte.is_ascii_graphic()) && HeaderValue::from_str(text).is_ok();
    if !is_uri {
        return Err(Fault::new("spaces and characters beyond ASCII do not stand in a URI")
            .help("percent-encode them: `%20` is a space"));
    }
    let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    if authority.is_some_and(|authority| authority.contains("{rest}")) {
        return Err(Fault::new("`{rest}` would let clients choose the host").help("write a `/` before it"));
    }
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (_, from_brace) = rest.split_at(at);
        let inside = from_brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let (name, after) = inside.ok_or_else(|| Fault::new("a brace without its partner"))?;
        check_placeholder(name, has_rest)?;
        rest = after;
    }
    Ok(())
}

fn check_placeholder(name: &str, has_rest: bool) -> Result<(), Fault> {
    if !PLACEHOLDERS.contains(&name) {
        let near = did_you_mean(name, PLACEHOLDERS);
        let all = || "known are {rest}, {host}, {path} and {query}".to_owned();
        let help = near.map_or_else(all, |near| format!("did you mean {{{near}}}?"));
        return Err(Fault::new(format!("unknown placeholder `{{{}}}`", name.escape_debug())).help(help));
    }
    if name == "rest" && !has_rest {
        return Err(Fault::new("`{rest}` is what a `*` in `match.path` took, and there is none")
            .help("{path} is the whole path"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_target;

    #[test]
    fn targets_are_paths_or_urls() {
        for to in ["/", "/new/{rest}", "https://{host}{path}{query}", "http://example.com/"] {
            assert_eq!(check_target(to, true), Ok(()), "{to}");
        }
        for to in ["https://example.com{rest}", "http://{rest}/", "https://{rest}"] {
            assert!(check_target(to, true).is_err(), "{to}");
        }
        for to in ["", "new", "//example.com", "/a b", "/é", "/{rest", "/}{", "/{}", "/{rset}", "/a\r\nb"] {
            assert!(check_target(to, true).is_err(), "{to}");
        }
        assert!(check_target("/{rest}", false).is_err());
    }
}
