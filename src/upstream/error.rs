//! Why origin servers cannot be set up. What goes wrong with a request is a
//! `FetchError`.

use std::path::PathBuf;

use rustls_pki_types::pem;

/// The TLS settings of a pool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The file with the roots to trust cannot be read.
    #[error("cannot read the trust roots in {}", path.display())]
    TrustRoots {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// It holds no certificate.
    #[error("no certificate in {}", path.display())]
    NoTrustRoots {
        /// The file.
        path: PathBuf,
    },
    /// One of its certificates is none.
    #[error("a trust root in {} is no certificate", path.display())]
    InvalidTrustRoot {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A file of the certificate that is shown to origin servers cannot be read.
    #[error("cannot read {}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// That certificate and its key cannot be used together.
    #[error("the certificate in {} cannot be shown to origin servers", path.display())]
    InvalidIdentity {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The server name is neither a host name nor an address.
    #[error("{name:?} is no server name")]
    ServerName {
        /// As the config writes it.
        name: String,
        /// Why.
        #[source]
        source: rustls_pki_types::InvalidDnsNameError,
    },
    /// The TLS library refuses the settings.
    #[error("TLS to the origin servers cannot be set up")]
    Tls(#[source] rustls::Error),
}
