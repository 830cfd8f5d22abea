use std::time::Duration;

use proptest::prelude::*;

use super::NoStoreReason as Reason;
use super::*;
use crate::policy::testing::{at_once, fields, get, now};

type Lines<'a> = &'a [(&'a str, &'a str)];

const MODIFIED: (&str, &str) = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn refused(asked: Lines<'_>, status: u16, response: Lines<'_>, rules: &CacheRules) -> Option<Reason> {
    let (asked, status) = (fields(asked), StatusCode::from_u16(status).unwrap());
    match storability(&get(&asked), status, &fields(response), at_once(now()), rules) {
        Storability::Store => None,
        Storability::DoNotStore(reason) => Some(reason),
    }
}

/// RFC 9111 s3
#[test]
fn by_status_and_directives() {
    let rules = CacheRules { max_object: 10, ..CacheRules::default() };
    for (status, response, expected) in [
        (200, &[FRESH][..], None),
        (404, &[FRESH], None),
        (599, &[FRESH], None),
        (503, &[("expires", "Mon, 07 Nov 1994 08:49:37 GMT")], None),
        (200, &[MODIFIED], None),
        (599, &[MODIFIED], Some(Reason::NoLifetime)),
        (599, &[MODIFIED, ("cache-control", "public")], None),
        (200, &[], Some(Reason::NoLifetime)),
        (200, &[("etag", "\"1\"")], None),
        (302, &[("etag", "\"1\"")], Some(Reason::NoLifetime)),
        (404, &[("etag", "\"1\"")], Some(Reason::NoLifetime)),
        (200, &[("cache-control", "max-age=0")], Some(Reason::NoLifetime)),
        (200, &[("cache-control", "max-age=0"), ("etag", "\"1\"")], None),
        (404, &[("cache-control", "max-age=0"), ("etag", "\"1\"")], Some(Reason::NoLifetime)),
        (200, &[("cache-control", "no-cache, max-age=60")], Some(Reason::NoCache)),
        (200, &[("cache-control", "no-cache"), MODIFIED], None),
        (200, &[("cache-control", "max-age=60, No-Store")], Some(Reason::NoStore)),
        (200, &[("cache-control", "no-store=x, max-age=60")], Some(Reason::NoStore)),
        (200, &[("cache-control", "max-age=60, no-store, must-understand")], None),
        (599, &[("cache-control", "max-age=60, no-store, must-understand")], Some(Reason::NoStore)),
        (200, &[("cache-control", "private, max-age=60")], Some(Reason::Private)),
        (200, &[("cache-control", "private=\"x\", max-age=60")], Some(Reason::Private)),
        (200, &[FRESH, ("cdn-cache-control", "private")], Some(Reason::Private)),
        (200, &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")], None),
        (200, &[FRESH, ("vary", "a"), ("vary", "b, *")], Some(Reason::VaryStar)),
        (200, &[FRESH, ("vary", "accept, X-Forwarded-For")], Some(Reason::VaryClient)),
        (200, &[FRESH, ("vary", "X-Forwarded-Host")], None),
        (206, &[FRESH], Some(Reason::Partial)),
        (304, &[FRESH], Some(Reason::Status)),
        (103, &[FRESH], Some(Reason::Status)),
        (200, &[FRESH, ("content-length", "10")], None),
        (200, &[FRESH, ("content-length", "11")], Some(Reason::TooLarge)),
    ] {
        assert_eq!(refused(&[], status, response, &rules), expected, "{status} {response:?}");
    }
}

/// RFC 9111 s3, s5.2.1.5
#[test]
fn by_request() {
    let rules = CacheRules::default();
    let (asked, response) = (fields(&[]), fields(&[FRESH]));
    let post = get(&asked).by(&Method::POST);
    let answer = storability(&post, StatusCode::OK, &response, at_once(now()), &rules);
    assert_eq!(answer, Storability::DoNotStore(Reason::Method));
    let unwanted = refused(&[("cache-control", "no-store")], 200, &[FRESH], &rules);
    assert_eq!(unwanted, Some(Reason::RequestNoStore));
    let disabled = CacheRules { enabled: false, ..rules };
    assert_eq!(refused(&[], 200, &[FRESH], &disabled), Some(Reason::Disabled));
}

/// RFC 9111 s3.5, and that a made-up lifetime is for nobody's own.
#[test]
fn by_credentials_of_the_request() {
    let strict = CacheRules { ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
    let lax = CacheRules { ignore_cookies: true, ..strict.clone() };
    let (login, cookie) = (&[("authorization", "x")][..], &[("cookie", "a=b")][..]);
    for (rules, asked, response, expected) in [
        (&strict, login, &[FRESH][..], Some(Reason::Authorization)),
        (&lax, login, &[FRESH], Some(Reason::Authorization)),
        (&strict, login, &[("cache-control", "max-age=60, public")], None),
        (&strict, login, &[("cache-control", "max-age=60, must-revalidate")], None),
        (&strict, login, &[("cache-control", "s-maxage=60")], None),
        (&strict, login, &[("cache-control", "max-age=60, proxy-revalidate")], Some(Reason::Authorization)),
        (&strict, login, &[("cache-control", "public")], Some(Reason::Authorization)),
        (&strict, cookie, &[FRESH], None),
        (&strict, cookie, &[], Some(Reason::Cookie)),
        (&strict, cookie, &[MODIFIED], Some(Reason::Cookie)),
        (&lax, cookie, &[MODIFIED], None),
        (&strict, &[], &[], None),
    ] {
        assert_eq!(refused(asked, 200, response, rules), expected, "{asked:?} {response:?}");
        assert!(expected.is_none_or(Reason::is_of_request));
        let asked = fields(asked);
        assert!(expected.is_none() || is_personal(&get(&asked), rules));
    }
}

#[test]
fn by_what_the_path_promises() {
    let strict = CacheRules { ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
    let lax = CacheRules { ignore_cookies: true, ..strict.clone() };
    let forced = CacheRules { force: true, ..lax.clone() };
    let (page, style) = (("content-type", "text/html"), ("content-type", "text/css"));
    let (cookie, login) = (&[("cookie", "a=b")][..], &[("authorization", "x")][..]);
    let shared = ("cache-control", "public, max-age=60");
    for (rules, path, asked, response, expected) in [
        (&strict, "/account/x.css", cookie, &[page, shared][..], Some(Reason::Deception)),
        (&lax, "/account/x.css", cookie, &[page], Some(Reason::Deception)),
        (&forced, "/account/x.css", cookie, &[page], Some(Reason::Deception)),
        (&lax, "/account/x.css", login, &[page, shared], Some(Reason::Deception)),
        (&lax, "/account/x.css", &[], &[page], None),
        (&lax, "/account/x.css", cookie, &[style], None),
        (&lax, "/account", cookie, &[page], None),
    ] {
        let (asked, response) = (fields(asked), fields(response));
        let req = RequestHead { path, ..get(&asked) };
        let answer = storability(&req, StatusCode::OK, &response, at_once(now()), rules);
        let reason = match answer {
            Storability::Store => None,
            Storability::DoNotStore(reason) => Some(reason),
        };
        assert_eq!(reason, expected, "{path} {asked:?} {response:?}");
        assert!(expected.is_none() || is_personal(&req, rules));
    }
}

#[test]
fn by_set_cookie() {
    let strict = CacheRules { ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
    let lax = CacheRules { ignore_cookies: true, ..strict.clone() };
    for (rules, said, expected) in [
        (&strict, "x", Some(Reason::SetCookie)),
        (&strict, "max-age=60", Some(Reason::SetCookie)),
        (&strict, "public", Some(Reason::SetCookie)),
        (&strict, "public, max-age=60", None),
        (&strict, "s-maxage=60", None),
        (&strict, "max-age=60, no-cache=\"set-cookie\"", None),
        (&lax, "x", None),
        (&lax, "max-age=60", None),
    ] {
        let response = [("set-cookie", "a=b"), ("cache-control", said)];
        assert_eq!(refused(&[], 200, &response, rules), expected, "{said}");
    }
}

#[test]
fn force_overrides_the_response_but_not_credentials() {
    let rules = CacheRules { force: true, ttl: Some(Duration::from_secs(60)), ..CacheRules::default() };
    let private = &[("cache-control", "private, no-store")][..];
    assert_eq!(refused(&[], 200, private, &rules), None);
    assert_eq!(refused(&[("authorization", "x")], 200, private, &rules), Some(Reason::Authorization));
    assert_eq!(refused(&[("cookie", "x")], 200, private, &rules), Some(Reason::Cookie));
}

proptest! {
    #[test]
    fn no_store_and_private_always_win(
        mut said in proptest::collection::vec("[a-zA-Z-]{1,9}(=[0-9]{1,3}|=\"[a-z, ]{0,5}\")?", 0..5),
        forbidding in "[nN]o-[sS]tore|[pP]rivate|PRIVATE=\"a\"|NO-STORE=1",
        at: proptest::sample::Index,
        lines: bool,
        status in 200u16..600,
        ttl: Option<u16>,
    ) {
        prop_assume!(!said.iter().any(|text| text.eq_ignore_ascii_case("must-understand")));
        said.insert(at.index(said.len() + 1), forbidding);
        let joined = said.join(", ");
        let split: Vec<_> = said.iter().map(|text| ("cache-control", text.as_str())).collect();
        let response = if lines { split } else { vec![("cache-control", joined.as_str())] };
        let ttl = ttl.map(|ttl| Duration::from_secs(ttl.into()));
        let rules = CacheRules { ttl, default_ttl: Duration::from_secs(9), ..CacheRules::default() };
        let reason = refused(&[], status, &response, &rules);
        prop_assert!(matches!(
            reason,
            Some(Reason::NoStore | Reason::Private | Reason::Partial | Reason::Status)
        ));
    }

    #[test]
    fn no_cache_control_panics(text in "[ -~]{0,40}", status in 200u16..600) {
        refused(&[("cache-control", &text)], status, &[("cache-control", &text)], &CacheRules::default());
    }
}
