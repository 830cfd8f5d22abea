//! What one library seals the other opens: both ends of a connection, in memory.

use std::io::{Read, Write};

use rcgen::{
    CertificateParams, CertifiedKey, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig, ServerConnection,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::*;

/// More than a few full records, and no multiple of a block.
const CONTENT: usize = 50_001;

#[test]
fn every_library_has_all_suites_in_our_order() {
    for library in libraries().into_iter().chain([fastest()]) {
        let names: Vec<_> = suites_of(library).iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(names, SUITES);
    }
}

#[test]
fn what_one_library_seals_the_other_opens() {
    let identities = [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256].map(identity);
    let content: Vec<u8> = (0..CONTENT).map(|at| (at * 7 % 251) as u8).collect();
    for suite in SUITES {
        let is_rsa = format!("{suite:?}").contains("_RSA_");
        for pair in [[0, 1], [1, 0]] {
            let [server, client] = pair.map(|at| only(suite, libraries()[at]));
            let (mut server, mut client) = connected(server, client, &identities[usize::from(is_rsa)]);
            assert_eq!(client.negotiated_cipher_suite().unwrap().suite(), suite);
            client.writer().write_all(&content).unwrap();
            let received = carry(&mut client, &mut server);
            server.writer().write_all(&received).unwrap();
            assert_eq!(carry(&mut server, &mut client), content, "{suite:?}");
        }
    }
}

#[test]
fn a_full_record_fits_16_kib() {
    let (mut server, _client) = connected(provider(), provider(), &identity(&PKCS_ECDSA_P256_SHA256));
    let mut sealed = Vec::new();
    server.writer().write_all(&[7; 2 * FULL_FRAGMENT]).unwrap();
    while server.wants_write() {
        server.write_tls(&mut sealed).unwrap();
    }
    assert_eq!(sealed.len(), 2 * ((16 << 10) - 7));
}

/// The other first.
fn libraries() -> [&'static [SupportedCipherSuite]; 2] {
    #[cfg(target_arch = "x86_64")]
    let other = rustls::crypto::ring::ALL_CIPHER_SUITES;
    #[cfg(not(target_arch = "x86_64"))]
    let other = aws_lc_rs::ALL_CIPHER_SUITES;
    [other, aws_lc_rs::ALL_CIPHER_SUITES]
}

fn only(suite: CipherSuite, library: &[SupportedCipherSuite]) -> Arc<CryptoProvider> {
    let mut cipher_suites = suites_of(library);
    cipher_suites.retain(|offered| offered.suite() == suite);
    Arc::new(CryptoProvider { cipher_suites, ..(*provider()).clone() })
}

fn identity(algorithm: &'static SignatureAlgorithm) -> CertifiedKey<KeyPair> {
    let signing_key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(["edge.test".to_owned()]).unwrap();
    CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

/// Both ends of a connection after their handshake.
fn connected(
    server: Arc<CryptoProvider>,
    client: Arc<CryptoProvider>,
    identity: &CertifiedKey<KeyPair>,
) -> (ServerConnection, ClientConnection) {
    let version = [server.cipher_suites[0].version()];
    let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(server)
        .with_protocol_versions(&version)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key.into())
        .unwrap();
    config.max_fragment_size = Some(MAX_FRAGMENT_SIZE);
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(client)
        .with_protocol_versions(&version)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "edge.test".try_into().unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server);
        carry(&mut server, &mut client);
    }
    (server, client)
}

/// Has `to` read all that `from` has to send; what of it is content.
fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> Vec<u8> {
    let mut content = Vec::new();
    let mut sealed = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut sealed).unwrap();
    }
    let mut sealed = sealed.as_slice();
    while !sealed.is_empty() {
        to.read_tls(&mut sealed).unwrap();
        let state = to.process_new_packets().unwrap();
        let before = content.len();
        content.resize(before + state.plaintext_bytes_to_read(), 0);
        to.reader().read_exact(&mut content[before..]).unwrap();
    }
    content
}
