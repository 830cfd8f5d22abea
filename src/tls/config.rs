//! How TLS is spoken with clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::compress::CompressionCache;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

use crate::certs::{ACME_TLS_ALPN, Certificates, provider};

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

/// TLS 1.2 and 1.3 with the certificates of `certs`; sessions are resumed by
/// tickets, whose keys change every six hours; no 0-RTT, which can be replayed.
pub fn server_config(certs: &Arc<Certificates>) -> Arc<ServerConfig> {
    #[expect(clippy::expect_used, reason = "depends on nothing but our own list of suites")]
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions");
    let mut config = builder.with_no_client_auth().with_cert_resolver(certs.resolver());
    config.alpn_protocols = [H2, HTTP11, ACME_TLS_ALPN].map(<[u8]>::to_vec).into();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    config.max_early_data_size = 0;
    // RFC 8879, by what the features of rustls bring; each certificate once. What
    // is kept is compressed with great care, so nothing is if not all can be.
    let kept = certs.count() * config.cert_compressors.len();
    let kept = if kept > MOST_COMPRESSED { 0 } else { kept };
    config.cert_compression_cache = Arc::new(CompressionCache::new(kept));
    match Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "no session tickets: every handshake will be a full one"),
    }
    Arc::new(config)
}
