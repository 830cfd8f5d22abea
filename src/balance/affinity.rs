//! What of a request says which server it belongs to. Pure: the request in, a
//! number out, the same in every process.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, HeaderName};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::config::model::HashKey;
use crate::exchange::{Request, Target};
use crate::fields::cookie;

/// The key of `req`; `None` if it has nothing of what makes one.
pub(super) fn key(by: &HashKey, req: &Request) -> Option<u64> {
    match by {
        HashKey::Client => Some(of_address(req.client)),
        HashKey::Uri => Some(of_target(&req.target)),
        HashKey::Field(name) if *name == HOST => Some(xxh3_64(req.target.host.as_str().as_bytes())),
        HashKey::Field(name) => of_field(&req.fields, name),
        HashKey::Cookie(name) => cookie::value(&req.fields, name).map(xxh3_64),
    }
}

fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => xxh3_64(&address.octets()),
        IpAddr::V6(address) => xxh3_64(&address.octets()),
    }
}

fn of_target(target: &Target) -> u64 {
    let host = xxh3_64(target.host.as_str().as_bytes());
    xxh3_64_with_seed(target.path_and_query.as_str().as_bytes(), host)
}

/// Of all lines of the field, in order.
fn of_field(fields: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = fields.get_all(name).iter();
    let first = xxh3_64(lines.next()?.as_bytes());
    Some(lines.fold(first, |key, line| xxh3_64_with_seed(line.as_bytes(), key)))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::upstream::test_origin::{request, request_with};

    fn field(name: &'static str) -> HashKey {
        HashKey::Field(HeaderName::from_static(name))
    }

    #[test]
    fn what_is_not_there_makes_no_key() {
        let req = request_with(Method::GET, &[("cookie", "a=1"), ("x-user", "me")]);
        assert!(key(&field("x-user"), &req).is_some());
        assert!(key(&field("x-other"), &req).is_none());
        assert!(key(&HashKey::Cookie("a".into()), &req).is_some());
        assert!(key(&HashKey::Cookie("b".into()), &req).is_none());
        for always in [HashKey::Client, HashKey::Uri, field("host")] {
            assert!(key(&always, &req).is_some());
        }
    }

    #[test]
    fn only_what_is_named_makes_the_key() {
        let (one, other) = (request(Method::GET, "/a"), request(Method::POST, "/a?b"));
        assert_eq!(key(&HashKey::Client, &one), key(&HashKey::Client, &other));
        assert_ne!(key(&HashKey::Uri, &one), key(&HashKey::Uri, &other));
        assert_eq!(key(&field("host"), &one), key(&field("host"), &other));
    }

    #[test]
    fn an_ipv4_address_is_the_same_in_ipv6() {
        let mut req = request(Method::GET, "/");
        req.client = "192.0.2.7".parse().unwrap();
        let plain = key(&HashKey::Client, &req);
        req.client = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(key(&HashKey::Client, &req), plain);
    }
}
