//! How TLS is spoken with clients: one way with all that anybody may speak to,
//! and one with each site that wants to know who its clients are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::compress::CompressionCache;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WantsServerCert, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};

use super::tickets::Tickets;
use crate::base::{MAX_FRAGMENT_SIZE, provider};
use crate::certs::{self, ACME_TLS_ALPN, CertError, Certificates};
use crate::config::model::ClientAuth;
use crate::config::{ByHost, Config};

/// HTTP/2 over TLS (RFC 9113 s3.2).
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1 (RFC 7301 s6).
pub(super) const HTTP11: &[u8] = b"http/1.1";

/// Tickets a client gets with a TLS 1.3 handshake: one for each of the two
/// connections that browsers like to open.
const TICKETS: usize = 2;

/// The most compressed certificates that are kept, for they are looked through one
/// by one. With more each handshake compresses its own, quickly.
const MOST_COMPRESSED: usize = 64;

/// The authorities for clients of a site cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientAuthError {
    /// The file cannot be read, or holds none.
    #[error("the authorities for clients cannot be used")]
    File(#[from] CertError),
    /// They are no authorities.
    #[error("the authorities for clients in {} cannot be used", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
}

/// How TLS is spoken, by what a ClientHello asks for.
#[derive(Debug)]
pub struct Tls {
    pub(super) certificates: Arc<Certificates>,
    open: Arc<ServerConfig>,
    /// By every name of every site; `None` for those that are open to all.
    guarded: ByHost<Option<Guarded>>,
    /// Without a name, or with one that no site has.
    default: Option<Guarded>,
}

/// A site that asks its clients for certificates.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    pub(super) site: Arc<str>,
    pub(super) config: Arc<ServerConfig>,
}

impl Tls {
    /// With these certificates for the sites of `config`, and tickets for those who are let
    /// in without one. Reads the authorities for their clients.
    ///
    /// # Errors
    /// If such a file cannot be used: without it anybody would be let in, or nobody.
    pub fn new(
        config: &Config,
        certificates: &Arc<Certificates>,
        tickets: Option<&Arc<Tickets>>,
    ) -> Result<Self, ClientAuthError> {
        let open = open(certificates, tickets);
        let (mut guarded, mut default) = (ByHost::default(), None);
        for site in &config.sites {
            let guard = match &site.client_auth {
                Some(auth) => {
                    Some(Guarded { site: Arc::clone(&site.name), config: guard(auth, certificates)? })
                }
                None => None,
            };
            for name in std::iter::once(&site.name).chain(&site.aliases) {
                guarded.insert(name, guard.clone());
                if config.tls_default.as_ref() == Some(name) {
                    default.clone_from(&guard);
                }
            }
        }
        Ok(Self { certificates: Arc::clone(certificates), open, guarded, default })
    }

    /// The site whose clients have to be known, of a hello for `name`, in lower
    /// case. As the router finds it for a host of that name.
    pub(super) fn guarded(&self, name: Option<&str>) -> Option<&Guarded> {
        match name.and_then(|name| self.guarded.find(name)) {
            Some(found) => found.as_ref(),
            None => self.default.as_ref(),
        }
    }

    /// What is spoken with everybody else, and with ACME servers.
    pub(super) fn open(&self) -> &Arc<ServerConfig> {
        &self.open
    }
}

#[expect(clippy::expect_used, reason = "depends on nothing but our own list of suites")]
fn builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions")
}

/// Anybody is let in; sessions are resumed by tickets, whose keys change every
/// six hours.
fn open(certs: &Arc<Certificates>, tickets: Option<&Arc<Tickets>>) -> Arc<ServerConfig> {
    let mut config = server_config(builder().with_no_client_auth(), certs);
    config.alpn_protocols.push(ACME_TLS_ALPN.to_vec());
    config.send_tls13_tickets = TICKETS;
    if let Some(tickets) = tickets {
        config.ticketer = Arc::clone(tickets) as _;
    }
    Arc::new(config)
}

/// TLS 1.2 and 1.3 with the certificates of `certs`; no session is resumed, and
/// no 0-RTT, which can be replayed.
fn server_config(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    certs: &Arc<Certificates>,
) -> ServerConfig {
    let mut config = builder.with_cert_resolver(certs.resolver());
    config.alpn_protocols = [H2, HTTP11].map(<[u8]>::to_vec).into();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.max_fragment_size = Some(MAX_FRAGMENT_SIZE);
    // RFC 8879, by what the features of rustls bring; each certificate once. What
    // is kept is compressed with great care, so nothing is if not all can be.
    let kept = certs.most() * config.cert_compressors.len();
    let kept = if kept > MOST_COMPRESSED { 0 } else { kept };
    config.cert_compression_cache = Arc::new(CompressionCache::new(kept));
    config
}

/// Clients have to show certificates of some authorities. No session is resumed:
/// what a certificate is worth is checked in each handshake, and counts for no
/// other site.
fn guard(auth: &ClientAuth, certs: &Arc<Certificates>) -> Result<Arc<ServerConfig>, ClientAuthError> {
    let verifier = verifier(&auth.ca, auth.required)?;
    Ok(Arc::new(server_config(builder().with_client_cert_verifier(verifier), certs)))
}

fn verifier(ca: &Path, is_required: bool) -> Result<Arc<dyn ClientCertVerifier>, ClientAuthError> {
    let roots = Arc::new(certs::trust_roots(ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|source| ClientAuthError::Authorities { path: ca.to_owned(), source })
}
