//! What one library seals the other opens: both ends of a connection, in memory.

use std::io::{Read, Write};

use rcgen::{CertifiedKey, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
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
    let identities = [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256].map(|algorithm| {
        let signing_key = KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(["edge.test".to_owned()]).unwrap();
        CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
    });
    for suite in SUITES {
        let is_rsa = format!("{suite:?}").contains("_RSA_");
        for [server, client] in [[0, 1], [1, 0]].map(|pair| pair.map(|at| libraries()[at])) {
            echo(suite, only(suite, server), only(suite, client), &identities[usize::from(is_rsa)]);
        }
    }
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

/// A client sends content to a server, which sends it back.
fn echo(
    suite: CipherSuite,
    server: Arc<CryptoProvider>,
    client: Arc<CryptoProvider>,
    identity: &CertifiedKey<KeyPair>,
) {
    let version = [server.cipher_suites[0].version()];
    let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(server)
        .with_protocol_versions(&version)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key.into())
        .unwrap();
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
    assert_eq!(client.negotiated_cipher_suite().unwrap().suite(), suite);
    let content: Vec<u8> = (0..CONTENT).map(|at| (at * 7 % 251) as u8).collect();
    client.writer().write_all(&content).unwrap();
    let received = carry(&mut client, &mut server);
    assert_eq!(received, content, "{suite:?}");
    server.writer().write_all(&received).unwrap();
    assert_eq!(carry(&mut server, &mut client), content, "{suite:?}");
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
