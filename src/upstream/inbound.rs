//! The head of a response, judged before anybody sees it: what can be read in
//! two ways is refused, hop-by-hop fields go, and `Via` is added.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, VIA};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::failure::malformed;
use super::outbound::is_decimal;
use super::via;
use crate::exchange::{FetchError, RequestProgress};
use crate::fields::hop_by_hop;
use crate::fields::proxy_status::ProxyErrorType;

/// Brings `head` into normal form, or refuses it. `upgrade` is the protocol the
/// request asked to change to.
pub(super) fn normalize(head: &mut Parts, upgrade: Option<&HeaderValue>) -> Result<(), FetchError> {
    check_framing(&head.headers)?;
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = if is_switch { Some(switched_to(&head.headers, upgrade)?) } else { None };
    hop_by_hop::remove(&mut head.headers);
    if is_switch || head.status == StatusCode::NO_CONTENT {
        // RFC 9110 s8.6 forbids it there, and some recipients would wait.
        head.headers.remove(CONTENT_LENGTH);
    }
    if let Some(protocol) = protocol {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    head.headers.append(VIA, via::of_response(head.version));
    Ok(())
}

/// Refuses what two recipients could frame differently (RFC 9112 s6.3).
fn check_framing(fields: &HeaderMap) -> Result<(), FetchError> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(malformed("both Transfer-Encoding and Content-Length")),
        (Some(coding), None) => {
            let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            if is_chunked && codings.next().is_none() {
                Ok(())
            } else {
                Err(malformed("a Transfer-Encoding other than chunked"))
            }
        }
        (None, Some(length)) => {
            if is_decimal(length) && lengths.next().is_none() {
                Ok(())
            } else {
                Err(malformed("a Content-Length that is not one number"))
            }
        }
    }
}

/// The protocol a 101 changes to, if it is the one that was asked for
/// (RFC 9110 s15.2.2).
fn switched_to(fields: &HeaderMap, asked: Option<&HeaderValue>) -> Result<HeaderValue, FetchError> {
    let Some(asked) = asked else { return Err(malformed("101 without having been asked")) };
    match fields.get(UPGRADE) {
        Some(protocol) if protocol.as_bytes().eq_ignore_ascii_case(asked.as_bytes()) => Ok(protocol.clone()),
        _ => Err(FetchError::new(ProxyErrorType::HttpUpgradeFailed, RequestProgress::Answered)),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Version};

    use super::*;

    fn normalized(
        status: u16,
        lines: &[(&'static str, &'static str)],
        upgrade: Option<&'static str>,
    ) -> Result<HeaderMap, ProxyErrorType> {
        let (mut head, ()) = http::Response::builder().status(status).body(()).unwrap().into_parts();
        for (name, value) in lines {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let upgrade = upgrade.map(HeaderValue::from_static);
        normalize(&mut head, upgrade.as_ref()).map_err(|error| error.kind)?;
        Ok(head.headers)
    }

    #[test]
    fn one_framing_is_taken() {
        assert!(normalized(200, &[("content-length", "5")], None).is_ok());
        let chunked = normalized(200, &[("transfer-encoding", "Chunked ")], None).unwrap();
        assert!(!chunked.contains_key("transfer-encoding"));
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
            assert_eq!(normalized(200, lines, None), Err(ProxyErrorType::HttpProtocolError), "{lines:?}");
        }
    }

    #[test]
    fn a_101_must_be_the_one_asked_for() {
        let websocket = [("upgrade", "WebSocket"), ("connection", "Upgrade")];
        assert_eq!(normalized(101, &websocket, None), Err(ProxyErrorType::HttpProtocolError));
        assert_eq!(normalized(101, &websocket, Some("h2c")), Err(ProxyErrorType::HttpUpgradeFailed));
        assert_eq!(normalized(101, &[], Some("websocket")), Err(ProxyErrorType::HttpUpgradeFailed));
        let fields = normalized(101, &websocket, Some("websocket")).unwrap();
        assert_eq!(fields.get(UPGRADE).unwrap(), "WebSocket");
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
        normalize(&mut head, None).unwrap();
        assert_eq!(head.headers[VIA], "1.0 seawall");
    }
}
