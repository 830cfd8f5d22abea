//! The change of protocols a request asks for, which is always one to
//! WebSocket. A server that agrees must prove that it read the handshake (RFC
//! 6455 s4.2.2): what only seems to agree would let a client speak to it past
//! everything that is checked here.

use base64::prelude::{BASE64_STANDARD, Engine};
use http::header::{CONNECTION, InvalidHeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::base::random_id;
use crate::exchange::Protocol;

/// A protocol that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    protocol: HeaderValue,
    /// What the server's proof is made from. Without it there is none.
    key: Option<HeaderValue>,
    /// The protocol that the client speaks.
    by: Protocol,
}

impl Upgrade {
    /// A change to `protocol` that a client asks for with these fields. The key is that of
    /// the client, who checks the proof as well, or a new one where it speaks HTTP/2, which
    /// has none (RFC 8441 s5).
    pub(super) fn new(protocol: HeaderValue, by: Protocol, fields: &HeaderMap) -> Self {
        let key = match by {
            Protocol::Http2 => new_key().ok(),
            _ => fields.get(SEC_WEBSOCKET_KEY).cloned(),
        };
        Self { protocol, key, by }
    }

    /// Asks for it in a request with these fields, of which that of the client's own key is
    /// one.
    pub(super) fn ask(&self, fields: &mut HeaderMap) {
        if self.by == Protocol::Http2
            && let Some(key) = &self.key
        {
            fields.insert(SEC_WEBSOCKET_KEY, key.clone());
        }
        write(fields, self.protocol.clone());
    }

    /// True if a 101 with these fields changes to what was asked for
    /// (RFC 9110 s15.2.2) and proves it (RFC 6455 s4.1).
    pub(super) fn is_agreed(&self, fields: &HeaderMap) -> bool {
        let protocol = fields.get(UPGRADE).map(HeaderValue::as_bytes);
        let accept = fields.get(SEC_WEBSOCKET_ACCEPT).map(|accept| accept.as_bytes().trim_ascii());
        let proof = self.proof();
        protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(self.protocol.as_bytes()))
            && proof.is_some_and(|proof| accept == Some(proof.as_bytes()))
    }

    /// Asks for the same by HTTP/2, where a CONNECT names the protocol and no key is
    /// needed (RFC 8441 s4, s5).
    pub(super) fn ask_by_connect<B>(message: &mut http::Request<B>) {
        *message.method_mut() = Method::CONNECT;
        message.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        for name in [UPGRADE, SEC_WEBSOCKET_KEY] {
            message.headers_mut().remove(name);
        }
    }

    /// Adds the proof of a server that agreed to that: its word is enough, but a client
    /// of HTTP/1.1 wants one. False if there is none.
    pub(super) fn prove(&self, fields: &mut HeaderMap) -> bool {
        let Some(Ok(proof)) = self.proof().map(HeaderValue::try_from) else { return false };
        fields.insert(SEC_WEBSOCKET_ACCEPT, proof);
        true
    }

    fn proof(&self) -> Option<String> {
        self.key.as_ref().map(|key| derive_accept_key(key.as_bytes().trim_ascii()))
    }

    /// Says to the client that the server agreed.
    pub(super) fn confirm(&self, fields: &mut HeaderMap) {
        write(fields, self.protocol.clone());
    }
}

/// 16 bytes that no other handshake has (RFC 6455 s4.1).
fn new_key() -> Result<HeaderValue, InvalidHeaderValue> {
    BASE64_STANDARD.encode(random_id().to_be_bytes()).try_into()
}

fn write(fields: &mut HeaderMap, protocol: HeaderValue) {
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// RFC 6455 s1.3
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn is_agreed(asked: &[(&'static str, &'static str)], answered: &[(&'static str, &'static str)]) -> bool {
        let upgrade = Upgrade::new(HeaderValue::from_static("websocket"), Protocol::Http11, &fields(asked));
        upgrade.is_agreed(&fields(answered))
    }

    #[test]
    fn the_server_must_have_read_the_key() {
        let asked = [("sec-websocket-key", KEY)];
        assert!(is_agreed(&asked, &[("upgrade", "WebSocket"), ("sec-websocket-accept", ACCEPT)]));
        let wrong: [&[(&'static str, &'static str)]; 4] = [
            &[("upgrade", "websocket")],
            &[("upgrade", "websocket"), ("sec-websocket-accept", KEY)],
            &[("upgrade", "websocket"), ("sec-websocket-accept", "S3PPLMBITXAQ9KYGZZHZRBK+XOO=")],
            &[("upgrade", "h2c"), ("sec-websocket-accept", ACCEPT)],
        ];
        for answered in wrong {
            assert!(!is_agreed(&asked, answered), "{answered:?}");
        }
    }

    #[test]
    fn a_client_of_http2_needs_no_key_and_its_own_counts_for_nothing() {
        let mut fields = fields(&[("sec-websocket-key", KEY)]);
        let upgrade = Upgrade::new(HeaderValue::from_static("websocket"), Protocol::Http2, &fields);
        upgrade.ask(&mut fields);
        let key = fields[SEC_WEBSOCKET_KEY].as_bytes();
        assert!(key != KEY.as_bytes() && BASE64_STANDARD.decode(key).unwrap().len() == 16);
        let accept = derive_accept_key(key);
        let answer = [(UPGRADE, "websocket".to_owned()), (SEC_WEBSOCKET_ACCEPT, accept)];
        let answer = answer.map(|(name, value)| (name, HeaderValue::try_from(value).unwrap()));
        assert!(upgrade.is_agreed(&HeaderMap::from_iter(answer)));
    }

    #[test]
    fn without_a_key_nothing_is_proven() {
        assert!(!is_agreed(&[], &[("upgrade", "websocket"), ("sec-websocket-accept", ACCEPT)]));
    }
}
