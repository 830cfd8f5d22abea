//! A request as every floor below the front sees it: in normal form, checked,
//! with what is known of the connection it came over. It is passed on in a box, as it
//! goes through many hands.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use super::{Body, Interim, Protocol};

/// A request in normal form (RFC 9110 s4, s7).
#[derive(Debug)]
pub struct Request {
    /// The method, as received.
    pub method: Method,
    /// The target URI: what is routed, keyed and forwarded.
    pub target: Target,
    /// The fields as received, `Host` taken out; hop-by-hop fields are still
    /// there and go when the request is forwarded. Shared with whoever sends the same
    /// on: a change to them is made by [`Arc::make_mut`], on a copy where it has to be.
    pub fields: Arc<HeaderMap>,
    /// The content.
    pub body: Body,
    /// The protocol the client wants to change to, such as `websocket`.
    pub upgrade: Option<HeaderValue>,
    /// The address of the client: the connection's peer, or what a trusted
    /// proxy says of it.
    pub client: IpAddr,
    /// True if the connection's peer is one of the trusted proxies, whose
    /// forwarding fields are believed and kept.
    pub trusted: bool,
    /// Names the exchange in logs and towards the origin server.
    pub id: RequestId,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// The connection it came over.
    pub connection: Arc<ConnectionInfo>,
    /// The origin server its client has a session with, as the cookie of a
    /// sticky pool sealed it.
    pub session: Option<u64>,
    /// Where interim responses to it go; `None` where its client can get none.
    pub interim: Option<Interim>,
    /// When its head was complete, by the monotonic clock.
    pub received: Instant,
    /// When its head was complete, by the clock of the day.
    pub received_wall: SystemTime,
}

/// The target URI of a request (RFC 9110 s7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The scheme the client used towards the edge.
    pub scheme: Scheme,
    /// The host, and the port if it is not the scheme's default.
    pub host: Host,
    /// Path and query, byte for byte as received. `*` only for OPTIONS.
    pub path_and_query: PathAndQuery,
}

impl Target {
    /// The path, as received.
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query, as received, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, self.path_and_query)
    }
}

/// The scheme of a target URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant where none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host in normal form: lower case, no trailing dot, no userinfo, the
/// scheme's default port left out (RFC 9110 s4.2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    value: HeaderValue,
    name: usize,
}

/// Why a host is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host: a name of letters, digits, '-', '_' and '.', an IPv4 or a [bracketed] IPv6 address, and at most a port"
)]
pub struct InvalidHost;

impl Host {
    /// Takes what a client wrote as `Host`, `:authority` or the authority of an
    /// absolute-form target. Userinfo is refused.
    pub fn parse(written: &HeaderValue, scheme: Scheme) -> Result<Self, InvalidHost> {
        let bytes = written.as_bytes();
        let name_end = name_length(bytes)?;
        let written_name = &bytes[..name_end];
        let name = written_name.strip_suffix(b".").unwrap_or(written_name);
        if name.is_empty() {
            return Err(InvalidHost);
        }
        let (port, is_port_normal) = match &bytes[name_end..] {
            [] => (None, true),
            [b':'] => (None, false),
            [b':', digits @ ..] => {
                let port = port(digits)?;
                let is_default = port == scheme.default_port();
                ((!is_default).then_some(port), !is_default && digits[0] != b'0')
            }
            _ => return Err(InvalidHost),
        };
        let is_name_normal = name.len() == name_end && !name.iter().any(u8::is_ascii_uppercase);
        if is_name_normal && is_port_normal {
            return Ok(Self { value: written.clone(), name: name_end });
        }
        let mut normal = name.to_ascii_lowercase();
        if let Some(port) = port {
            normal.extend_from_slice(format!(":{port}").as_bytes());
        }
        let value = HeaderValue::from_bytes(&normal).map_err(|_| InvalidHost)?;
        Ok(Self { value, name: name.len() })
    }

    /// The whole: name and port.
    pub fn as_str(&self) -> &str {
        // INVARIANT: `parse` lets only ASCII through.
        self.value.to_str().unwrap_or_default()
    }

    /// The name or address without the port; IPv6 in brackets.
    pub fn name(&self) -> &str {
        &self.as_str()[..self.name]
    }

    /// The whole as the value of a `Host` field.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A port of at least one digit.
fn port(digits: &[u8]) -> Result<u16, InvalidHost> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidHost);
    }
    let port = digits.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(port).map_err(|_| InvalidHost)
}

/// How many bytes of `host` are the name or address.
fn name_length(host: &[u8]) -> Result<usize, InvalidHost> {
    if host.first() == Some(&b'[') {
        let end = host.iter().position(|byte| *byte == b']').ok_or(InvalidHost)?;
        let address = std::str::from_utf8(&host[1..end]).map_err(|_| InvalidHost)?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidHost)?;
        return Ok(end + 1);
    }
    let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
    let name = &host[..end];
    // A dot follows something that is none.
    let mut before = b'.';
    let is_known = name.iter().all(|byte| {
        let follows = std::mem::replace(&mut before, *byte);
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (*byte == b'.' && follows != b'.')
    });
    if name.is_empty() || name.len() > 254 || !is_known {
        return Err(InvalidHost);
    }
    Ok(end)
}

/// 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u128);

impl RequestId {
    /// Appends its digits.
    pub fn write(self, into: &mut Vec<u8>) {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        into.extend(self.0.to_be_bytes().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known of a client's connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// `Https` if TLS ends here.
    pub scheme: Scheme,
    /// The TLS session, where there is one.
    pub tls: Option<TlsSession>,
}

/// What the handshake settled.
#[derive(Clone, Debug)]
pub struct TlsSession {
    /// The server name the client asked for, in lower case.
    pub sni: Option<Arc<str>>,
    /// The protocol version, such as `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher_suite: &'static str,
    /// True if an earlier session was resumed.
    pub resumed: bool,
    /// Who the client is, where the site it asked for wants to know.
    pub client: Option<TlsClient>,
}

/// What a site that asks its clients for certificates got to know.
#[derive(Clone, Debug)]
pub struct TlsClient {
    /// The name of that site: its word counts for no other one.
    pub site: Arc<str>,
    /// What the client showed; `None` where it may stay unknown.
    pub certificate: Option<ClientCertificate>,
}

/// A certificate that a client has proven to be its own.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The whole, as the value of `Client-Cert` (RFC 9440).
    pub encoded: HeaderValue,
    /// Its subject, as RFC 4514 writes names.
    pub subject: HeaderValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(written: &str, scheme: Scheme) -> Result<String, InvalidHost> {
        Host::parse(&HeaderValue::from_str(written).unwrap(), scheme).map(|host| host.to_string())
    }

    #[test]
    fn hosts_are_brought_to_one_form() {
        for (written, normal) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("example.com:443", "example.com"),
            ("example.com:", "example.com"),
            ("example.com:8443", "example.com:8443"),
            ("example.com:08443", "example.com:8443"),
            ("example.com:00080", "example.com:80"),
            ("[::1]:443", "[::1]"),
            ("[::1]:8443", "[::1]:8443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
        ] {
            assert_eq!(host(written, Scheme::Https).as_deref(), Ok(normal), "{written}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for written in [
            "",
            ".",
            "a..b",
            ".a",
            "user@host",
            "a b",
            "a/b",
            "[::1",
            "[x]",
            "a:b",
            "a:70000",
            "a:1:2",
            "a,b",
            "[::1]x",
            "a:123456",
        ] {
            assert_eq!(host(written, Scheme::Http), Err(InvalidHost), "{written}");
        }
    }

    #[test]
    fn the_name_is_without_the_port() {
        let host = Host::parse(&HeaderValue::from_static("[::1]:81"), Scheme::Http).unwrap();
        assert_eq!((host.name(), host.as_str()), ("[::1]", "[::1]:81"));
    }
}
