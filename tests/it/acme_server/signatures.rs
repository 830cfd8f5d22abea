//! Requests that are not signed as they must be (RFC 8555 s6).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ask, encode, short};
use crate::support::acme_server::{AcmeServer, Options};

#[tokio::test]
async fn a_request_that_is_signed_wrongly_is_refused() {
    let server = AcmeServer::start(Options::default()).await;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
    let url = server.directory().replace("directory", "new-account");
    let good = json!({ "alg": "ES256", "url": url, "jwk": jwk });
    let with = |member: &str, value: Value| {
        let mut protected = good.clone();
        protected[member] = value;
        protected
    };
    let send = async |protected: &Value, signed: &str| {
        let [protected, payload] = [protected.to_string(), "{}".to_owned()].map(encode);
        let signature = key.sign(&SystemRandom::new(), format!("{protected}.{signed}").as_bytes()).unwrap();
        let jws = json!({ "protected": protected, "payload": payload, "signature": encode(signature) });
        ask(&server, Method::POST, "new-account", jws.to_string().into_bytes()).await
    };
    let signed = encode("{}");
    for (protected, signed, refused) in [
        (&good, encode("{ }"), "malformed"),
        (&with("alg", "RS256".into()), signed.clone(), "badSignatureAlgorithm"),
        (&with("kid", "https://127.0.0.1/account/0".into()), signed.clone(), "malformed"),
        (&with("jwk", json!({ "kty": "RSA", "crv": "", "x": "", "y": "" })), signed.clone(), "badPublicKey"),
        (&good, signed.clone(), "badNonce"),
        (&with("nonce", "never-given-out".into()), signed.clone(), "badNonce"),
        (&with("url", server.directory().into()), signed.clone(), "badNonce"),
    ] {
        let (status, _, document) = send(protected, &signed).await;
        assert_eq!(
            (status, short(document["type"].as_str().unwrap())),
            (StatusCode::BAD_REQUEST, refused.into())
        );
    }

    let mut elsewhere = with("nonce", nonce(&server).await);
    elsewhere["url"] = server.directory().into();
    assert_eq!(send(&elsewhere, &signed).await.0, StatusCode::FORBIDDEN);
    let fresh = with("nonce", nonce(&server).await);
    let (status, fields, _) = send(&fresh, &signed).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(
        fields["location"].to_str().unwrap().ends_with("/account/0") && fields.contains_key("replay-nonce")
    );
    assert_eq!(fields["link"].to_str().unwrap(), format!("<{}>;rel=\"index\"", server.directory()));
    let (_, _, document) = send(&fresh, &signed).await;
    assert_eq!(short(document["type"].as_str().unwrap()), "badNonce");
    let fresh = with("nonce", nonce(&server).await);
    assert_eq!((send(&fresh, &signed).await.0, server.accounts().len()), (StatusCode::OK, 1));
    assert_eq!(ask(&server, Method::GET, "new-order", Vec::new()).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(&server, Method::GET, "renewal-info/a.b", Vec::new()).await.0, StatusCode::NOT_FOUND);
}

async fn nonce(server: &AcmeServer) -> Value {
    let (status, fields, _) = ask(server, Method::GET, "new-nonce", Vec::new()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    fields["replay-nonce"].to_str().unwrap().into()
}
