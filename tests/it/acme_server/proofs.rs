//! What the server looks at to see that a client has a name.

use std::sync::Arc;

use instant_acme::{ChallengeType as Challenge, Identifier, NewOrder, Order};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{claim, encode, name, problem, register};
use crate::support::acme_server::{AcmeServer, Options, TxtRecords, Validation};
use crate::support::origin::{Origin, ok};
use crate::support::within;

/// Shows one client a certificate with `digest` for `identifier`, and tells
/// what server name it asked for.
async fn prove_by_tls(
    listener: &TcpListener,
    identifier: &Identifier,
    digest: &[u8],
    alpn: &[u8],
) -> Option<String> {
    let mut parameters = CertificateParams::new([identifier.authorized(false).to_string()]).unwrap();
    parameters.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    let key = KeyPair::generate().unwrap();
    let leaf = parameters.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = rustls::ServerConfig::builder_with_provider(seawall::base::provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    // Not `with_single_cert`: webpki cannot parse the critical extension.
    let key = seawall::base::provider().key_provider.load_private_key(key).unwrap();
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![leaf.into()], key));
    let mut config = config.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![alpn.to_vec()];
    let (stream, _) = within("a validation by TLS", listener.accept()).await.unwrap();
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok()?;
    stream.get_ref().1.server_name().map(str::to_owned)
}

#[tokio::test]
async fn proofs_are_looked_for_where_the_test_says() {
    let (mut http, tls) = (Origin::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let txt = TxtRecords::default();
    let validation =
        Validation::Real { http: http.address, tls: tls.local_addr().unwrap(), txt: txt.clone() };
    let server = AcmeServer::start(Options { validation, ..Options::default() }).await;
    let account = register(&server, None).await.unwrap();
    let order = async |identifier: &Identifier| {
        account.new_order(&NewOrder::new(std::slice::from_ref(identifier))).await.unwrap()
    };
    let addresses = ["192.0.2.1", "2001:db8::1"].map(|address| Identifier::Ip(address.parse().unwrap()));

    for (status, refused) in [("200 OK", None), ("404 Not Found", Some("unauthorized"))] {
        for (identifier, host) in
            [(&name("a.test"), "a.test"), (&addresses[0], "192.0.2.1"), (&addresses[1], "[2001:db8::1]")]
        {
            let mut order = order(identifier).await;
            let mut proof = (String::new(), String::new());
            claim(&mut order, &Challenge::Http01, |token, key_authorization| {
                proof = (token.to_owned(), key_authorization.as_str().to_owned());
            })
            .await
            .unwrap();
            let asked = http.next().await;
            assert_eq!(asked.request.start, format!("GET /.well-known/acme-challenge/{} HTTP/1.1", proof.0));
            assert!(asked.request.fields.contains(&("host".to_owned(), host.to_owned())));
            asked.answer(ok("", &proof.1).replace("200 OK", status)).await;
            assert_eq!(problem(order).await.as_deref(), refused);
        }
    }

    let digest_of = async |order: &mut Order| {
        let mut digest = Vec::new();
        claim(order, &Challenge::TlsAlpn01, |_, proof| digest = proof.digest().as_ref().to_vec())
            .await
            .unwrap();
        digest
    };
    let reversed = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    for (identifier, server_name) in
        [(&name("b.test"), "b.test"), (&addresses[0], "1.2.0.192.in-addr.arpa"), (&addresses[1], reversed)]
    {
        let mut order = order(identifier).await;
        let digest = digest_of(&mut order).await;
        let asked = prove_by_tls(&tls, identifier, &digest, b"acme-tls/1").await;
        assert_eq!((asked.as_deref(), problem(order).await), (Some(server_name), None));
    }
    for (shown, is_digest_right, alpn, refused) in [
        ("b.test", false, &b"acme-tls/1"[..], "unauthorized"),
        ("c.test", true, b"acme-tls/1", "unauthorized"),
        ("b.test", true, b"h2", "tls"),
    ] {
        let mut order = order(&name("b.test")).await;
        let digest = digest_of(&mut order).await;
        let digest = if is_digest_right { digest } else { vec![0; 32] };
        prove_by_tls(&tls, &name(shown), &digest, alpn).await;
        assert_eq!(problem(order).await.as_deref(), Some(refused));
    }
    let mut refused = order(&name("b.test")).await;
    drop(tls);
    digest_of(&mut refused).await;
    assert_eq!(problem(refused).await.as_deref(), Some("connection"));

    for (value, refused) in [(Some(true), None), (Some(false), Some("unauthorized")), (None, Some("dns"))] {
        let mut order = order(&name("*.c.test")).await;
        txt.remove("_acme-challenge.C.test");
        claim(&mut order, &Challenge::Dns01, |_, proof| {
            if let Some(is_right) = value {
                txt.add("_acme-challenge.c.TEST", "another");
                txt.add(
                    "_acme-challenge.c.test",
                    &if is_right { proof.dns_value() } else { encode("wrong") },
                );
            }
        })
        .await
        .unwrap();
        assert_eq!(problem(order).await.as_deref(), refused);
    }
}
