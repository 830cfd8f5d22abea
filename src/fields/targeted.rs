//! `CDN-Cache-Control` (RFC 9213): cache directives for us, written as a
//! Structured Field.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::cache_control::{Directive, ResponseDirectives};

/// The targeted field this cache heeds.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What the field says. `None` where it is missing, empty or invalid, and
/// Cache-Control holds (RFC 9213 s2.2). A directive in it whose argument is of
/// the wrong type makes all of it invalid.
pub fn of(fields: &HeaderMap) -> Option<ResponseDirectives> {
    let mut lines = fields.get_all(CDN_CACHE_CONTROL).iter().map(http::HeaderValue::as_bytes);
    let mut text = lines.next()?.to_vec();
    for line in lines {
        text.push(b',');
        text.extend_from_slice(line);
    }
    let dictionary: Dictionary = Parser::new(&text).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut found = ResponseDirectives::default();
    for (name, entry) in &dictionary {
        add(&mut found, name.as_str(), entry)?;
    }
    Some(found)
}

fn add(found: &mut ResponseDirectives, name: &str, entry: &ListEntry) -> Option<()> {
    let ListEntry::Item(item) = entry else {
        // No directive takes an inner list; an unknown one is its own affair.
        return (!takes_seconds(name)).then(|| found.add(&Directive::new(name.as_bytes(), None)));
    };
    match &item.bare_item {
        BareItem::Integer(number) => {
            let digits = i64::from(*number).to_string();
            found.add(&Directive::new(name.as_bytes(), Some(digits.as_bytes())));
        }
        _ if takes_seconds(name) => return None,
        BareItem::Boolean(false) => {}
        BareItem::String(text) => {
            found.add(&Directive::new(name.as_bytes(), Some(text.as_str().as_bytes())));
        }
        _ => found.add(&Directive::new(name.as_bytes(), None)),
    }
    Some(())
}

fn takes_seconds(name: &str) -> bool {
    matches!(name, "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::cache_control::NoCache;
    use crate::fields::delta_seconds;

    fn parse(lines: &[&str]) -> Option<ResponseDirectives> {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(CDN_CACHE_CONTROL, line.parse().unwrap());
        }
        of(&fields)
    }

    #[test]
    fn valid_fields_say_what_cache_control_would() {
        let none = ResponseDirectives::default;
        for (lines, expected) in [
            (&["max-age=3600"][..], ResponseDirectives { max_age: Some(3600), ..none() }),
            (&["foo"], none()),
            (&["foobar, max-age=1"], ResponseDirectives { max_age: Some(1), ..none() }),
            (&["foo=(1 2), max-age=1"], ResponseDirectives { max_age: Some(1), ..none() }),
            (&["max-age=60;a=1"], ResponseDirectives { max_age: Some(60), ..none() }),
            (&["max-age=99999999999"], ResponseDirectives { max_age: Some(delta_seconds::MAX), ..none() }),
            (&["max-age=-1"], ResponseDirectives { max_age: Some(0), ..none() }),
            (&["no-store"], ResponseDirectives { no_store: true, ..none() }),
            (&["no-store=?0"], none()),
            (&["private", "max-age=5"], ResponseDirectives { private: true, max_age: Some(5), ..none() }),
            (&["no-cache"], ResponseDirectives { no_cache: NoCache::Whole, ..none() }),
            (
                &["no-cache=\"set-cookie\""],
                ResponseDirectives { no_cache: NoCache::Fields(vec![http::header::SET_COOKIE]), ..none() },
            ),
            // The last of a key counts in a dictionary (RFC 9651 s4.2.2).
            (&["max-age=5, max-age=6"], ResponseDirectives { max_age: Some(6), ..none() }),
        ] {
            assert_eq!(parse(lines), Some(expected), "{lines:?}");
        }
    }

    /// RFC 9213 s2.1
    #[test]
    fn invalid_fields_say_nothing() {
        for lines in [
            &[][..],
            &[""],
            &["max-age=10000, &&&&&"],
            &["max-age=\"10000\""],
            &["max-age=1.5"],
            &["max-age=(1)"],
            &["max-age"],
            &["max-age =100"],
            &["max-age= 100"],
            &["MaX-aGe=3600"],
        ] {
            assert_eq!(parse(lines), None, "{lines:?}");
        }
    }
}
