//! The cryptography of every TLS connection, towards clients and origin servers
//! alike: what is offered, in which order, and whose code it is. Never keys or
//! certificates.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, SupportedCipherSuite};

/// With AEAD alone, for TLS 1.3 and TLS 1.2.
const SUITES: [CipherSuite; 9] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// First the hybrid of X25519 and ML-KEM-768.
const GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// What a full record that clients are sent has of content, in bytes: a little less than
/// it may (RFC 8446 s5.1), so that with all that encryption adds it fits 16 KiB, after
/// which the allocator's next size has 4 KiB more.
pub const FULL_FRAGMENT: usize = (16 << 10) - 29;

/// The same as rustls has it, with the head of the record.
pub const MAX_FRAGMENT_SIZE: usize = FULL_FRAGMENT + 5;

/// What a client is sent at once, in bytes: full records enough for long content to go
/// out in few writes.
pub const SENT_AT_ONCE: usize = 4 * FULL_FRAGMENT;

/// All of it is of AWS-LC, but for what encrypts, with the hashes of the cipher suites,
/// on processors that ring has faster code for.
pub fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = suites_of(fastest());
    Arc::new(CryptoProvider { cipher_suites, kx_groups: GROUPS.to_vec(), ..default_provider() })
}

fn suites_of(library: &[SupportedCipherSuite]) -> Vec<SupportedCipherSuite> {
    SUITES.iter().filter_map(|name| library.iter().find(|suite| suite.suite() == *name)).copied().collect()
}

/// The cipher suites of the library that encrypts fastest here.
///
/// Both do several blocks of AES at once: AWS-LC in registers of 512 bits, ring in
/// those of 256 bits. Where the processor has no others (Zen 3, Alder Lake) ring
/// takes less than half the time for a full record; where it has, AWS-LC is the
/// faster.
#[cfg(target_arch = "x86_64")]
fn fastest() -> &'static [SupportedCipherSuite] {
    let has_vector_aes = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq");
    // As AWS-LC asks for it.
    let has_avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if has_vector_aes && !has_avx512 {
        rustls::crypto::ring::ALL_CIPHER_SUITES
    } else {
        aws_lc_rs::ALL_CIPHER_SUITES
    }
}

/// The cipher suites of AWS-LC, which has code for every processor.
#[cfg(not(target_arch = "x86_64"))]
fn fastest() -> &'static [SupportedCipherSuite] {
    aws_lc_rs::ALL_CIPHER_SUITES
}

#[cfg(test)]
mod tests;
