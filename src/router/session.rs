//! The cookie that ties a client to an origin server. It is the edge's own: the
//! cache and the origin servers never see it, and it goes out with no response
//! that is kept for others.

use std::sync::Arc;

use http::header::SET_COOKIE;

use crate::config::model::{Balance, Site};
use crate::exchange::{Request, Response};
use crate::fields::cookie;

/// The name of the cookie, where the site's pool has one.
fn cookie_of(site: &Site) -> Option<&str> {
    match &site.pool.as_ref()?.balance {
        Balance::Sticky(name) => Some(name),
        _ => None,
    }
}

/// True if clients of `site` are tied to origin servers.
pub(super) fn is_kept(site: &Site) -> bool {
    cookie_of(site).is_some()
}

/// Takes the cookie out of `req`, and notes what it says.
pub(super) fn take(req: &mut Request, site: &Site) {
    let Some(name) = cookie_of(site) else { return };
    let Some(value) = cookie::value(&req.fields, name) else { return };
    req.session = tag(value);
    cookie::remove(Arc::make_mut(&mut req.fields), name);
}

/// Gives the client the cookie that `res` has for it. One that is stored is no
/// part of a session, and a cache further on might keep the cookie with it.
pub(super) fn give(res: &mut Response) {
    let Some(cookie) = res.facts.session.take() else { return };
    if !res.facts.cache.as_ref().is_some_and(|cache| cache.stored) {
        res.fields.append(SET_COOKIE, cookie);
    }
}

/// Sixteen hexadecimal digits, as they were given out.
fn tag(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let is_ours = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_ours { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn a_tag_is_sixteen_digits() {
        assert_eq!(tag(b"00000000000000ff"), Some(255));
        for wrong in [&b""[..], b"ff", b"+0000000000000ff", b"00000000000000fg", b"000000000000000ff"] {
            assert_eq!(tag(wrong), None);
        }
    }
}
