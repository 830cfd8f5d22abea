//! The head of a response, judged before anybody sees it: what can be read in
//! two ways is refused, hop-by-hop fields go, and `Via` is added.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, VIA};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};

use super::failure::malformed;
use super::outbound::decimal;
use super::upgrade::Upgrade;
use super::via;
use crate::exchange::{FetchError, Interim, RequestProgress};
use crate::fields::hop_by_hop;
use crate::fields::proxy_status::ProxyErrorType;

/// Brings `head` into normal form, or refuses it. `upgrade` is the change of
/// protocols the request asked for; by HTTP/2 the stream `is_connected` if it took place.
pub(super) fn normalize(
    head: &mut Parts,
    upgrade: Option<&Upgrade>,
    is_connected: bool,
) -> Result<(), FetchError> {
    if is_connected {
        // What a CONNECT that succeeds is in HTTP/1.1.
        head.status = StatusCode::SWITCHING_PROTOCOLS;
    }
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let upgrade = if is_connected {
        Some(connected(upgrade, &mut head.headers)?)
    } else if is_switch {
        Some(agreed(upgrade, &head.headers)?)
    } else {
        None
    };
    hop_by_hop::remove(&mut head.headers);
    if is_switch || head.status == StatusCode::NO_CONTENT {
        // RFC 9110 s8.6 forbids it there, and some recipients would wait.
        head.headers.remove(CONTENT_LENGTH);
    }
    if let Some(upgrade) = upgrade {
        upgrade.confirm(&mut head.headers);
    }
    head.headers.append(VIA, via::of_response(head.version));
    Ok(())
}

/// Passes an interim response on, unless it is about this connection alone: 100 answers
/// an expectation that the edge has met itself (RFC 9110 s10.1.1), and 101 is none that
/// HTTP/2 has (RFC 9113 s8.6).
pub(super) fn pass_on(interim: &Interim, status: StatusCode, fields: &HeaderMap, version: Version) {
    if [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&status) {
        return;
    }
    let mut fields = fields.clone();
    hop_by_hop::remove(&mut fields);
    // There is no content (RFC 9110 s8.6).
    fields.remove(CONTENT_LENGTH);
    fields.append(VIA, via::of_response(version));
    interim.pass_on(status, &fields);
}

/// What the fields of a response say of where its content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    /// Behind so many bytes.
    Length(u64),
    Unsaid,
}

/// What the fields say of where the content ends, or why two recipients could read that in
/// two ways (RFC 9112 s6.3).
pub(super) fn framing(fields: &HeaderMap) -> Result<Framing, &'static str> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Unsaid),
        (Some(_), Some(_)) => Err("both Transfer-Encoding and Content-Length"),
        (Some(coding), None) => {
            let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            if is_chunked && codings.next().is_none() {
                Ok(Framing::Chunked)
            } else {
                Err("a Transfer-Encoding other than chunked")
            }
        }
        (None, Some(length)) => {
            let length = decimal(length).filter(|_| lengths.next().is_none());
            length.map(Framing::Length).ok_or("a Content-Length that is not one number")
        }
    }
}

/// What a 101 changes to, if that is what was asked for.
fn agreed<'a>(asked: Option<&'a Upgrade>, fields: &HeaderMap) -> Result<&'a Upgrade, FetchError> {
    match asked {
        None => Err(malformed("101 without having been asked")),
        Some(upgrade) if upgrade.is_agreed(fields) => Ok(upgrade),
        Some(_) => Err(FetchError::new(ProxyErrorType::HttpUpgradeFailed, RequestProgress::Answered)),
    }
}

/// The same where a CONNECT for it succeeded, with the proof that goes without saying.
fn connected<'a>(asked: Option<&'a Upgrade>, fields: &mut HeaderMap) -> Result<&'a Upgrade, FetchError> {
    let proven = asked.filter(|upgrade| upgrade.prove(fields));
    proven.ok_or_else(|| FetchError::new(ProxyErrorType::HttpUpgradeFailed, RequestProgress::Answered))
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE};
    use http::{HeaderName, HeaderValue, Version};

    use super::*;
    use crate::exchange::Protocol;

    fn normalized(
        status: u16,
        lines: &[(&'static str, &'static str)],
        upgrade: Option<&'static str>,
    ) -> Result<HeaderMap, ProxyErrorType> {
        let (mut head, ()) = http::Response::builder().status(status).body(()).unwrap().into_parts();
        for (name, value) in lines {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut asked = HeaderMap::new();
        asked.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        let upgrade = upgrade
            .map(|protocol| Upgrade::new(HeaderValue::from_static(protocol), Protocol::Http11, &asked));
        normalize(&mut head, upgrade.as_ref(), false).map_err(|error| error.kind)?;
        Ok(head.headers)
    }

    fn framed(lines: &[(&'static str, &'static str)]) -> Result<Framing, &'static str> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        framing(&fields)
    }

    #[test]
    fn one_framing_is_taken() {
        assert_eq!(framed(&[]), Ok(Framing::Unsaid));
        assert_eq!(framed(&[("content-length", "5")]), Ok(Framing::Length(5)));
        assert_eq!(framed(&[("transfer-encoding", "Chunked ")]), Ok(Framing::Chunked));
    }

    #[test]
    fn a_framing_that_reads_in_two_ways_is_refused() {
        let wrong: [&[(&'static str, &'static str)]; 7] = [
            &[("content-length", "3"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "blah")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("content-length", "3"), ("content-length", "4")],
            &[("content-length", "+3")],
            &[("content-length", "99999999999999999999")],
        ];
        for lines in wrong {
            assert!(framed(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_101_must_be_the_one_asked_for() {
        let websocket = [
            ("upgrade", "WebSocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        assert_eq!(normalized(101, &websocket, None), Err(ProxyErrorType::HttpProtocolError));
        assert_eq!(normalized(101, &websocket, Some("h2c")), Err(ProxyErrorType::HttpUpgradeFailed));
        assert_eq!(
            normalized(101, &websocket[..2], Some("websocket")),
            Err(ProxyErrorType::HttpUpgradeFailed)
        );
        let fields = normalized(101, &websocket, Some("websocket")).unwrap();
        assert_eq!(
            (&fields[UPGRADE], &fields[CONNECTION]),
            (&"websocket".parse().unwrap(), &"upgrade".parse().unwrap())
        );
    }

    #[test]
    fn via_is_appended_and_hop_by_hop_fields_go() {
        let fields =
            normalized(204, &[("via", "1.0 old"), ("keep-alive", "5"), ("content-length", "9")], None);
        let fields = fields.unwrap();
        let via: Vec<_> = fields.get_all(VIA).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!((via, fields.len()), (vec![b"1.0 old".as_slice(), b"1.1 seawall"], 2));
    }

    #[test]
    fn via_names_the_protocol_of_the_response() {
        let (mut head, ()) =
            http::Response::builder().version(Version::HTTP_10).body(()).unwrap().into_parts();
        normalize(&mut head, None, false).unwrap();
        assert_eq!(head.headers[VIA], "1.0 seawall");
    }
}
