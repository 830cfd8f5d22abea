//! Answers the http-01 challenge of certificate authorities (RFC 8555 s8.3),
//! before any redirect and for any host.

use http::{HeaderValue, header};

use crate::certs::Certificates;
use crate::exchange::{Body, Request, Response, Scheme};

const PREFIX: &str = "/.well-known/acme-challenge/";

/// The answer if `req` is for a challenge that is under way here: the key authorization.
/// Others may be those of an origin server, which orders certificates by itself.
pub(super) fn answer(req: &Request, certificates: &Certificates) -> Option<Box<Response>> {
    if req.connection.scheme != Scheme::Http {
        return None;
    }
    let token = req.target.path().strip_prefix(PREFIX)?;
    let known = token.len() <= 256 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let authorization = known.then(|| certificates.http01(token))??;
    let mut res = Box::new(Response { body: Body::Full(authorization.into()), ..Response::default() });
    res.fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Some(res)
}
