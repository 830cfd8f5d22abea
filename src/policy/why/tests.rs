use std::time::Duration;

use http::Method;

use super::NoStoreReason as Reason;
use super::*;
use crate::policy::testing::{at_once, fields, get, now};
use crate::policy::{LifetimeSource, Storability, storability};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// One row a reason: what was sent and answered, and what is to blame.
#[test]
fn every_reason_has_its_line() {
    let rules = CacheRules { max_object: 10, ..CacheRules::default() };
    let disabled = CacheRules { enabled: false, ..rules.clone() };
    let long = "x".repeat(300);
    for (rules, method, asked, status, response, expected) in [
        (&disabled, "GET", &[][..], 200, &[FRESH][..], &[(Reason::Disabled, None)][..]),
        (&rules, "POST", &[], 200, &[FRESH], &[(Reason::Method, None)]),
        (
            &rules,
            "GET",
            &[("cache-control", "no-store")],
            200,
            &[FRESH],
            &[(Reason::RequestNoStore, Some("Cache-Control: no-store"))],
        ),
        (&rules, "GET", &[], 304, &[FRESH], &[(Reason::Status, None)]),
        (
            &rules,
            "GET",
            &[],
            206,
            &[FRESH, ("content-range", "bytes 0-1/2")],
            &[(Reason::Partial, Some("Content-Range: bytes 0-1/2"))],
        ),
        (
            &rules,
            "GET",
            &[],
            200,
            &[FRESH, ("cache-control", "No-Store")],
            &[(Reason::NoStore, Some("Cache-Control: No-Store"))],
        ),
        (
            &rules,
            "GET",
            &[],
            200,
            &[FRESH, ("cdn-cache-control", "private, max-age=60")],
            &[(Reason::Private, Some("CDN-Cache-Control: private, max-age=60"))],
        ),
        (&rules, "GET", &[], 200, &[FRESH, ("vary", "a, *")], &[(Reason::VaryStar, Some("Vary: a, *"))]),
        (
            &rules,
            "GET",
            &[],
            200,
            &[FRESH, ("vary", "forwarded")],
            &[(Reason::VaryClient, Some("Vary: forwarded"))],
        ),
        (
            &rules,
            "GET",
            &[("authorization", "Basic c2VjcmV0")],
            200,
            &[FRESH],
            &[(Reason::Authorization, Some("Authorization: Basic ..."))],
        ),
        (
            &rules,
            "GET",
            &[("cookie", "session=secret; theme=dark")],
            200,
            &[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")],
            &[(Reason::Cookie, Some("Cookie: session=...; theme=..."))],
        ),
        (
            &rules,
            "GET",
            &[],
            200,
            &[FRESH, ("set-cookie", "session=secret; HttpOnly")],
            &[(Reason::SetCookie, Some("Set-Cookie: session=..."))],
        ),
        (
            &rules,
            "GET",
            &[],
            200,
            &[("cache-control", "max-age=60, no-cache")],
            &[(Reason::NoCache, Some("Cache-Control: max-age=60, no-cache"))],
        ),
        (&rules, "GET", &[], 200, &[], &[(Reason::NoLifetime, None)]),
        (
            &rules,
            "GET",
            &[],
            200,
            &[("expires", &long)],
            &[(Reason::NoLifetime, Some(&*format!("Expires: {}...", &long[..200])))],
        ),
        (
            &rules,
            "GET",
            &[],
            200,
            &[FRESH, ("content-length", "11")],
            &[(Reason::TooLarge, Some("Content-Length: 11"))],
        ),
    ] {
        let (asked, response) = (fields(asked), fields(response));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let req = get(&asked).by(&method);
        let status = StatusCode::from_u16(status).unwrap();
        let verdict = why(&req, status, &response, at_once(now()), rules);
        let found: Vec<_> = verdict
            .refusals
            .iter()
            .map(|refusal| (refusal.reason, refusal.blame.as_ref().map(|blame| &*blame.text)))
            .collect();
        assert_eq!(found, expected);
        let first = storability(&req, status, &response, at_once(now()), rules);
        assert_eq!(first, Storability::DoNotStore(found[0].0));
        let said = verdict.refusals[0].remedy;
        assert!(said.origin.is_some() || said.operator.is_some());
    }
}

#[test]
fn all_that_speaks_against_it_is_told() {
    let asked = fields(&[("cookie", "a=b"), ("authorization", "secret")]);
    let req = RequestHead { path: "/account/x.css", ..get(&asked) };
    let response =
        fields(&[("cache-control", "private"), ("set-cookie", "a"), ("content-type", "text/html")]);
    let verdict = why(&req, StatusCode::OK, &response, at_once(now()), &CacheRules::default());
    let reasons: Vec<_> = verdict.refusals.iter().map(|refusal| refusal.reason).collect();
    let expected = [
        Reason::Private,
        Reason::Deception,
        Reason::Authorization,
        Reason::Cookie,
        Reason::SetCookie,
        Reason::NoLifetime,
    ];
    assert_eq!(reasons, expected);
    assert!(!format!("{verdict:?}").contains("secret"));
}

#[test]
fn what_is_stored_has_a_lifetime_and_nothing_against_it() {
    let none = fields(&[]);
    let verdict = why(&get(&none), StatusCode::OK, &fields(&[FRESH]), at_once(now()), &CacheRules::default());
    let lifetime = FreshnessLifetime { duration: Duration::from_secs(60), source: LifetimeSource::MaxAge };
    assert_eq!(verdict, Verdict { refusals: Vec::new(), lifetime });
}

#[test]
fn every_name_has_something_to_say() {
    for reason in Reason::ALL {
        assert_eq!(remedy_of(reason.as_str()), Some(remedy(reason)));
    }
    // What the floors above say in Cache-Status besides.
    for detail in [
        "changed",
        "content",
        "error",
        "length-mismatch",
        "only-if-cached",
        "precondition",
        "range",
        "request-max-age",
        "request-min-fresh",
        "request-no-cache",
        "stale-if-error",
        "upgrade",
    ] {
        assert!(remedy_of(detail).is_some(), "{detail}");
    }
    assert!(remedy_of("no such name").is_none());
}
