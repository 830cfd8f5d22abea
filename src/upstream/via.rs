//! What the edge writes into `Via` (RFC 9110 s7.6.3): the protocol a message
//! was received by, and a name.

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

use crate::base::random_id;
use crate::exchange::Protocol;

/// Our name in requests: unlike that of any other edge, so that a request that
/// comes around is recognized.
#[derive(Clone, Debug)]
pub struct Pseudonym {
    name: String,
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Pseudonym {
    /// A name nobody else has.
    pub fn random() -> Self {
        let name = format!("seawall-{:016x}", random_id() as u64);
        let entry = |protocol: Protocol| {
            let entry = HeaderValue::try_from(format!("{} {name}", protocol.version()));
            // INVARIANT: ASCII letters, digits, '.', '-' and ' ' are a field value.
            entry.unwrap_or(HeaderValue::from_static("1.1 seawall"))
        };
        let [http10, http11, http2] = [Protocol::Http10, Protocol::Http11, Protocol::Http2].map(entry);
        Self { name, http10, http11, http2 }
    }

    /// The entry for a request that came by `protocol`.
    pub(super) fn entry(&self, protocol: Protocol) -> HeaderValue {
        match protocol {
            Protocol::Http10 => self.http10.clone(),
            Protocol::Http11 => self.http11.clone(),
            Protocol::Http2 => self.http2.clone(),
        }
    }

    /// True if a request with these fields has come this way before.
    pub(super) fn was_passed(&self, fields: &HeaderMap) -> bool {
        let name = self.name.as_bytes();
        fields.get_all(VIA).iter().any(|via| via.as_bytes().windows(name.len()).any(|part| part == name))
    }
}

/// The entry for a response, where nobody needs to tell one edge from another.
pub(super) fn of_response(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 seawall",
        Version::HTTP_2 => "2 seawall",
        _ => "1.1 seawall",
    })
}
