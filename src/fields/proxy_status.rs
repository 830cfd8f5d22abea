//! `Proxy-Status` (RFC 9209): what went wrong between the edge and an origin
//! server.

use std::fmt;

/// The kinds of failure an intermediary can meet (RFC 9209 s2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyErrorType {
    /// s2.3.1
    DnsTimeout,
    /// s2.3.2
    DnsError,
    /// s2.3.3
    DestinationNotFound,
    /// s2.3.4: all origin servers are down or ejected.
    DestinationUnavailable,
    /// s2.3.5: a public name leads into a private network.
    DestinationIpProhibited,
    /// s2.3.7
    ConnectionRefused,
    /// s2.3.8
    ConnectionTerminated,
    /// s2.3.9
    ConnectionTimeout,
    /// s2.3.10
    ConnectionReadTimeout,
    /// s2.3.11
    ConnectionWriteTimeout,
    /// s2.3.12: the queue for a connection is full or took too long.
    ConnectionLimitReached,
    /// s2.3.13
    TlsProtocolError,
    /// s2.3.14
    TlsCertificateError,
    /// s2.3.16: the request itself is refused.
    HttpRequestError,
    /// s2.3.17
    HttpRequestDenied,
    /// s2.3.18
    HttpResponseIncomplete,
    /// s2.3.19
    HttpResponseHeaderSectionSize,
    /// s2.3.20
    HttpResponseHeaderSize,
    /// s2.3.21
    HttpResponseBodySize,
    /// s2.3.25
    HttpResponseTimeout,
    /// s2.3.26
    HttpUpgradeFailed,
    /// s2.3.27
    HttpProtocolError,
    /// s2.3.29
    ProxyInternalError,
    /// s2.3.31
    ProxyLoopDetected,
}

impl ProxyErrorType {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DnsTimeout => "dns_timeout",
            Self::DnsError => "dns_error",
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationIpProhibited => "destination_ip_prohibited",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionWriteTimeout => "connection_write_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::HttpRequestError => "http_request_error",
            Self::HttpRequestDenied => "http_request_denied",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpResponseHeaderSize => "http_response_header_size",
            Self::HttpResponseBodySize => "http_response_body_size",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpUpgradeFailed => "http_upgrade_failed",
            Self::HttpProtocolError => "http_protocol_error",
            Self::ProxyInternalError => "proxy_internal_error",
            Self::ProxyLoopDetected => "proxy_loop_detected",
        }
    }
}

impl fmt::Display for ProxyErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a request on its way to an origin server, one member of a
/// `Proxy-Status` field (RFC 9209 s2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyStatus {
    /// What went wrong (s2.1.1).
    pub error: ProxyErrorType,
    /// A sentence of ours about it (s2.1.5), printable ASCII.
    pub details: Option<&'static str>,
}

impl From<ProxyErrorType> for ProxyStatus {
    fn from(error: ProxyErrorType) -> Self {
        Self { error, details: None }
    }
}

impl fmt::Display for ProxyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seawall; error={}", self.error)?;
        if let Some(details) = self.details {
            // A string of RFC 9651 s3.3.3 escapes these two.
            write!(f, "; details=\"{}\"", details.replace('\\', "\\\\").replace('"', "\\\""))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_a_list_member_with_string_details() {
        let plain = ProxyStatus::from(ProxyErrorType::ConnectionTimeout);
        assert_eq!(plain.to_string(), "Seawall; error=connection_timeout");
        let detailed = ProxyStatus { details: Some("the \"queue\" is full"), ..plain };
        let printed = "Seawall; error=connection_timeout; details=\"the \\\"queue\\\" is full\"";
        assert_eq!(detailed.to_string(), printed);
        assert!(sfv::Parser::new(printed).parse::<sfv::List>().is_ok());
    }
}
