//! The ACME server of the tests, asked by a client that is not ours.

mod proofs;
mod signatures;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use seawall::base::{Clock, SystemClock};
use serde_json::Value;

use crate::support::acme_server::{
    AcmeServer, ChallengeType, Fault, Issued, Options, Status, Step, Validation,
};
use crate::support::pebble::trusting;
use crate::support::within;

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
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), seawall::base::provider());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let when = UnixTime::since_unix_epoch(when.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let name = ServerName::try_from(name).unwrap();
    verifier.build().unwrap().verify_server_cert(&chain[0], &chain[1..], &name, &[], when).is_ok()
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
