//! The ACME server of the tests, asked by a client that is not ours.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, CertificateIdentifier, ChallengeType as Challenge, Error,
    ExternalAccountKey, Identifier, KeyAuthorization, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use seawall::base::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::support::acme_server::{
    AcmeServer, ChallengeType, Fault, Issued, Options, Status, Step, TxtRecords, Validation,
};
use super::support::origin::{Origin, ok};
use super::support::pebble::trusting;
use super::support::within;

const SOON: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(5)).timeout(Duration::from_secs(10));

const PERSON: NewAccount<'static> = NewAccount {
    contact: &["mailto:admin@example.test"],
    terms_of_service_agreed: true,
    only_return_existing: false,
};

type Https = Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>;

fn https(server: &AcmeServer) -> Https {
    let root = CertificateDer::from_pem_file(server.root_file()).unwrap();
    let tls = Arc::unwrap_or_clone(trusting([root]));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(https)
}

async fn register(server: &AcmeServer, external: Option<&ExternalAccountKey>) -> Result<Account, Error> {
    let builder = Account::builder_with_http(Box::new(https(server)));
    Ok(builder.create(&PERSON, server.directory(), external).await?.0)
}

fn name(name: &str) -> Identifier {
    Identifier::Dns(name.to_owned())
}

/// Says of all open challenges of a type that they are met, once `answer` has
/// seen how.
async fn claim(
    order: &mut Order,
    kind: &Challenge,
    mut answer: impl FnMut(&str, &KeyAuthorization),
) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Pending {
            let mut challenge = authorization.challenge(kind.clone()).unwrap();
            answer(&challenge.token, &challenge.key_authorization());
            challenge.set_ready().await?;
        }
    }
    Ok(())
}

/// Nothing if the order is ready, else the type of the problem of its first
/// name.
async fn problem(mut order: Order) -> Option<String> {
    if order.poll_ready(&SOON).await.unwrap() == OrderStatus::Ready {
        return None;
    }
    let mut authorizations = order.authorizations();
    let mut authorization = authorizations.next().await.unwrap().unwrap();
    authorization.refresh().await.unwrap();
    assert_eq!(authorization.status, AuthorizationStatus::Invalid);
    let [challenge] = &authorization.challenges[..] else { panic!("not the one that failed") };
    Some(short(challenge.error.as_ref().unwrap().r#type.as_ref().unwrap()))
}

fn short(problem: &str) -> String {
    problem.strip_prefix("urn:ietf:params:acme:error:").unwrap().to_owned()
}

/// The type of the problem that the server answered with.
fn refusal<T>(outcome: Result<T, Error>) -> String {
    match outcome {
        Ok(_) => panic!("it was not refused"),
        Err(Error::Api(problem)) => short(&problem.r#type.unwrap()),
        Err(error) => panic!("{error:?}"),
    }
}

async fn obtain(account: &Account, new: &NewOrder<'_>) -> Result<String, Error> {
    let mut order = account.new_order(new).await?;
    claim(&mut order, &Challenge::Dns01, |_, _| {}).await?;
    if order.state().status == OrderStatus::Pending {
        order.poll_ready(&SOON).await?;
    }
    finalize(&mut order, new.identifiers()).await?;
    order.poll_certificate(&SOON).await
}

async fn finalize(order: &mut Order, identifiers: &[Identifier]) -> Result<(), Error> {
    let names = identifiers.iter().map(|identifier| identifier.authorized(false).to_string());
    let mut parameters = CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    let request = parameters.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    order.finalize_csr(request.der()).await
}

/// Whether a client that trusts the issuer takes `chain` for `name` at `when`.
fn is_trusted(server: &AcmeServer, chain: &str, name: &'static str, when: SystemTime) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.issuer_pem().as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), seawall::certs::provider());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let when = UnixTime::since_unix_epoch(when.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let name = ServerName::try_from(name).unwrap();
    verifier.build().unwrap().verify_server_cert(&chain[0], &chain[1..], &name, &[], when).is_ok()
}

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
    let config = rustls::ServerConfig::builder_with_provider(seawall::certs::provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    // Not `with_single_cert`: webpki cannot parse the critical extension.
    let key = seawall::certs::provider().key_provider.load_private_key(key).unwrap();
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

#[tokio::test]
async fn a_challenge_is_offered_where_it_suits() {
    let challenges = vec![ChallengeType::Http01, ChallengeType::Dns01];
    let server = AcmeServer::start(Options { challenges, ..Options::default() }).await;
    let account = register(&server, None).await.unwrap();
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let identifiers = [name("a.test"), name("*.a.test"), Identifier::Ip(address)];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await.unwrap();
    let mut offers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.unwrap();
        let types = authorization.challenges.iter().map(|challenge| challenge.r#type.clone());
        offers.push((authorization.identifier().to_string(), types.collect::<Vec<_>>()));
    }
    let expected = [
        ("a.test", vec![Challenge::Http01, Challenge::Dns01]),
        ("*.a.test", vec![Challenge::Dns01]),
        ("192.0.2.1", vec![Challenge::Http01]),
    ];
    assert_eq!(offers, expected.map(|(name, types)| (name.to_owned(), types)));

    let challenges = vec![ChallengeType::TlsAlpn01];
    let server = AcmeServer::start(Options { challenges, ..Options::default() }).await;
    let account = register(&server, None).await.unwrap();
    let wildcard = account.new_order(&NewOrder::new(&identifiers)).await;
    assert_eq!(refusal(wildcard), "rejectedIdentifier");
    drop(server);
    assert!(matches!(account.new_order(&NewOrder::new(&identifiers)).await, Err(Error::Other(_))));
}

#[tokio::test]
async fn an_order_goes_from_pending_to_valid() {
    let server = AcmeServer::start(Options::default()).await;
    let account = register(&server, None).await.unwrap();
    let identifiers = [name("a.test"), name("*.a.test")];
    let new = NewOrder::new(&identifiers);

    let mut order = account.new_order(&new).await.unwrap();
    assert_eq!(order.state().status, OrderStatus::Pending);
    assert_eq!(refusal(finalize(&mut order, &identifiers).await), "orderNotReady");
    claim(&mut order, &Challenge::Dns01, |_, _| {}).await.unwrap();
    assert_eq!(order.poll_ready(&SOON).await.unwrap(), OrderStatus::Ready);
    assert_eq!(refusal(finalize(&mut order, &identifiers[..1]).await), "badCSR");
    finalize(&mut order, &identifiers).await.unwrap();
    assert_eq!(order.state().status, OrderStatus::Processing);
    let chain = order.poll_certificate(&SOON).await.unwrap();
    let now = SystemClock.wall();
    assert!(is_trusted(&server, &chain, "a.test", now) && is_trusted(&server, &chain, "www.a.test", now));
    assert!(!is_trusted(&server, &chain, "b.test", now));

    let [record] = server.orders().try_into().unwrap();
    assert_eq!(
        (record.identifiers, record.status),
        (vec!["a.test".into(), "*.a.test".into()], Status::Valid)
    );
    let [Issued { leaf, chain_pem, .. }] = server.certificates().try_into().unwrap();
    assert_eq!((CertificateDer::from_pem_slice(chain.as_bytes()).unwrap(), chain), (leaf, chain_pem));
    let [person] = server.accounts().try_into().unwrap();
    assert_eq!(
        (&person.contact[..], person.external_account),
        (&["mailto:admin@example.test".into()][..], None)
    );
    assert_eq!((server.requests(Step::NewOrder), server.requests(Step::Finalize)), (1, 3));

    let url = order.url().to_owned();
    let stranger = register(&server, None).await.unwrap();
    assert_eq!(refusal(stranger.order(url).await), "unauthorized");
    assert_eq!(server.accounts().len(), 2);
}

#[tokio::test]
async fn what_a_test_sets_counts_from_then_on() {
    let server = AcmeServer::start(Options::default()).await;
    let account = register(&server, None).await.unwrap();
    let identifiers = [name("a.test")];
    let new = NewOrder::new(&identifiers);

    server.set_lifetime(time::Duration::seconds(-60), time::Duration::seconds(60));
    let chain = obtain(&account, &new).await.unwrap();
    let (now, minutes) = (SystemClock.wall(), Duration::from_secs(120));
    assert!(is_trusted(&server, &chain, "a.test", now));
    assert!(!is_trusted(&server, &chain, "a.test", now - minutes));
    assert!(!is_trusted(&server, &chain, "a.test", now + minutes));

    server.reuse_authorizations(true);
    let mut order = account.new_order(&new).await.unwrap();
    assert_eq!(order.state().status, OrderStatus::Ready);
    let mut authorizations = order.authorizations();
    authorizations.next().await.unwrap().unwrap().deactivate().await.unwrap();
    assert_eq!(account.new_order(&new).await.unwrap().state().status, OrderStatus::Pending);

    server.reuse_authorizations(false);
    server.set_validation(Validation::RejectAll(vec![ChallengeType::Http01]));
    let mut order = account.new_order(&new).await.unwrap();
    claim(&mut order, &Challenge::Http01, |_, _| {}).await.unwrap();
    assert_eq!(problem(order).await.as_deref(), Some("unauthorized"));
    assert_eq!(server.orders().last().unwrap().status, Status::Invalid);
    obtain(&account, &new).await.unwrap();
}

#[tokio::test]
async fn an_external_account_is_demanded() {
    let external_account = Some(("kid-1", b"secret".to_vec()));
    let server = AcmeServer::start(Options { external_account, ..Options::default() }).await;
    let external = |id: &str, key| ExternalAccountKey::new(id.to_owned(), key);
    for (external, refused) in [
        (None, "externalAccountRequired"),
        (Some(external("kid-1", b"another")), "unauthorized"),
        (Some(external("kid-2", b"secret")), "unauthorized"),
    ] {
        assert_eq!(refusal(register(&server, external.as_ref()).await), refused);
    }
    assert!(server.accounts().is_empty());
    register(&server, Some(&external("kid-1", b"secret"))).await.unwrap();
    assert_eq!(server.accounts()[0].external_account.as_deref(), Some("kid-1"));
}

#[tokio::test]
async fn profiles_and_renewal_are_known() {
    let profiles = vec!["classic", "shortlived"];
    let server = AcmeServer::start(Options { profiles, renewal_info: true, ..Options::default() }).await;
    let account = register(&server, None).await.unwrap();
    let known: BTreeSet<_> = account.profiles().map(|profile| profile.name).collect();
    assert_eq!(known, ["classic", "shortlived"].into());
    let identifiers = [name("a.test")];
    let unknown = account.new_order(&NewOrder::new(&identifiers).profile("longlived")).await;
    assert_eq!(refusal(unknown), "invalidProfile");
    obtain(&account, &NewOrder::new(&identifiers).profile("shortlived")).await.unwrap();

    let issued = server.certificates().remove(0);
    let id = CertificateIdentifier::try_from(&issued.leaf).unwrap();
    assert_eq!(id.to_string(), issued.id);
    let (info, again) = account.renewal_info(&id).await.unwrap();
    let window = info.suggested_window;
    assert!(Duration::from_secs(21_590) < again && again <= Duration::from_secs(21_600), "{again:?}");
    let (start, end) = (SystemTime::from(window.start), SystemTime::from(window.end));
    assert!(SystemClock.wall() + Duration::from_secs(50 * 86_400) < start && start < end);
    server.set_renewal_window(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(60));
    server.set_renewal_retry_after(None);
    assert!(matches!(account.renewal_info(&id).await, Err(Error::Str("missing Retry-After header"))));
    server.set_renewal_retry_after(Some("1"));
    let window = account.renewal_info(&id).await.unwrap().0.suggested_window;
    assert_eq!((window.start.unix_timestamp(), window.end.unix_timestamp()), (0, 60));
    assert_eq!(server.requests(Step::RenewalInfo), 3);

    let others = [name("b.test")];
    let unrelated = account.new_order(&NewOrder::new(&others).replaces(id.clone())).await;
    assert_eq!(refusal(unrelated), "malformed");
    obtain(&account, &NewOrder::new(&identifiers).replaces(id.clone())).await.unwrap();
    let again = account.new_order(&NewOrder::new(&identifiers).replaces(id)).await;
    assert_eq!(refusal(again), "alreadyReplaced");
    let orders: Vec<_> = server.orders().into_iter().map(|order| (order.profile, order.replaces)).collect();
    assert_eq!(orders, [(Some("shortlived".to_owned()), None), (None, Some(issued.id))]);
}

#[tokio::test]
async fn faults_strike_and_heal() {
    let server = AcmeServer::start(Options::default()).await;
    let account = register(&server, None).await.unwrap();
    let identifiers = [name("a.test")];
    let new = NewOrder::new(&identifiers);
    let order = async || within("an answer to an order", account.new_order(&new)).await;

    server.fail_next(Step::NewOrder, 2, Fault::Problem("rateLimited", 429, Some("3600")));
    for _ in 0..2 {
        assert_eq!(refusal(order().await), "rateLimited");
    }
    order().await.unwrap();
    server.fail(Step::NewOrder, Fault::Garbage);
    for _ in 0..2 {
        assert!(matches!(order().await, Err(Error::Json(_))));
    }
    server.fail(Step::NewOrder, Fault::Close);
    assert!(matches!(order().await, Err(Error::Other(_))));
    server.fail(Step::NewOrder, Fault::Hang);
    tokio::time::timeout(Duration::from_millis(100), order()).await.map(drop).unwrap_err();
    server.heal(Step::NewOrder);
    order().await.unwrap();
    assert_eq!(server.orders().len(), 2);

    // At each of its steps, an order meets the fault that is set for it.
    for step in
        [Step::NewNonce, Step::Authorization, Step::Challenge, Step::Order, Step::Finalize, Step::Certificate]
    {
        let before = server.requests(step);
        server.fail_next(step, 1, Fault::Status(503, Some("7")));
        obtain(&account, &new).await.map(drop).unwrap_err();
        assert_eq!(server.requests(step), before + 1, "{step:?}");
    }
    server.fail_next(Step::NewAccount, 1, Fault::Status(500, None));
    assert_eq!(refusal(register(&server, None).await), "serverInternal");

    server.fail_next(Step::Directory, 1, Fault::Status(503, Some("Sun, 22 Nov 2026 10:00:00 GMT")));
    let (status, fields, document) = ask(&server, Method::GET, "directory", Vec::new()).await;
    assert_eq!((status, document["status"].as_u64()), (StatusCode::SERVICE_UNAVAILABLE, Some(503)));
    assert_eq!(fields["content-type"], "application/problem+json");
    assert_eq!(fields["retry-after"], "Sun, 22 Nov 2026 10:00:00 GMT");
    obtain(&account, &new).await.unwrap();
}

#[tokio::test]
async fn bad_nonces_are_survived_up_to_a_point() {
    let server = AcmeServer::start(Options::default()).await;
    let account = register(&server, None).await.unwrap();
    let identifiers = [name("a.test")];
    server.reject_nonces(25);
    for _ in 0..4 {
        obtain(&account, &NewOrder::new(&identifiers)).await.unwrap();
    }
    // Four of these always follow each other, from one order to the next.
    let steps = [Step::Certificate, Step::NewOrder, Step::Authorization, Step::Challenge];
    assert!(steps.map(|step| server.requests(step)).iter().sum::<usize>() > 16);
    server.reject_nonces(100);
    assert_eq!(refusal(obtain(&account, &NewOrder::new(&identifiers)).await), "badNonce");
    server.reject_nonces(0);
    obtain(&account, &NewOrder::new(&identifiers)).await.unwrap();
}

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

/// Status, fields and JSON, if it is JSON, of an answer.
async fn ask(
    server: &AcmeServer,
    method: Method,
    path: &str,
    sent: Vec<u8>,
) -> (StatusCode, HeaderMap, Value) {
    let req = Request::builder().method(method).uri(server.directory().replace("directory", path));
    let req = req.header("content-type", "application/jose+json").body(BodyWrapper::from(sent)).unwrap();
    let (head, body) = https(server).request(req).await.unwrap().into_parts();
    let document = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
    (head.status, head.headers, document)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
