//! Sites that ask their clients for certificates: whose requests they take.

use super::*;
use crate::exchange::{ClientCertificate, TlsClient, TlsSession};

const SITES: &str = r#"
[site."*.must.test"]
origins = ["127.0.0.1:1"]
aliases = ["must.test"]
tls = { client_ca = "ca.pem" }
[[site."*.must.test".route]]
match = { path = "/old/*" }
redirect = { to = "/new/{rest}" }
[site."open.must.test"]
origins = ["127.0.0.1:1"]
[site."may.test"]
origins = ["127.0.0.1:1"]
tls = { client_ca = "ca.pem", client_auth = "optional" }
"#;

/// A connection on which a client was held to what `site` asks for.
fn of_client_of(site: Option<&str>, sni: &str) -> Arc<ConnectionInfo> {
    let address = "127.0.0.1:1".parse().unwrap();
    let certificate = ClientCertificate {
        encoded: HeaderValue::from_static(":AAAA:"),
        subject: HeaderValue::from_static("CN=alice"),
    };
    let client = site.map(|site| TlsClient { site: site.into(), certificate: Some(certificate) });
    let session =
        TlsSession { sni: Some(sni.into()), version: "TLSv1.3", cipher_suite: "", resumed: false, client };
    Arc::new(ConnectionInfo { peer: address, local: address, scheme: Scheme::Https, tls: Some(session) })
}

/// What becomes of a request over that connection; `trusted`: of a trusted proxy.
async fn answered(
    edge: &Edge,
    method: Method,
    url: &str,
    connection: Option<&Arc<ConnectionInfo>>,
) -> Result<StatusCode, Failure> {
    for trusted in [false, true] {
        let mut req = request(method.clone(), url);
        Arc::make_mut(&mut req.fields).insert("client-cert", HeaderValue::from_static(":BBBB:"));
        req.trusted = trusted;
        if let Some(connection) = connection {
            req.connection = Arc::clone(connection);
        }
        let handling = edge.router.handle(req).handling;
        let answer = tokio::time::timeout(Duration::from_secs(10), handling).await.unwrap();
        if !trusted && answer.is_err() {
            continue;
        }
        return answer.map(|res| res.status);
    }
    unreachable!("the second one returns")
}

#[tokio::test]
async fn only_its_own_connections_lead_to_a_guarded_site() {
    let edge = Edge::new(SITES, FRESH);
    let own = of_client_of(Some("*.must.test"), "a.must.test");
    for url in ["https://a.must.test/", "https://must.test/", "https://a.must.test/old/x"] {
        assert!(answered(&edge, Method::GET, url, Some(&own)).await.is_ok(), "{url}");
    }
    let open = of_client_of(None, "open.must.test");
    assert!(answered(&edge, Method::GET, "https://open.must.test/", Some(&open)).await.is_ok());

    let strangers = [
        None,
        Some(of_client_of(None, "a.must.test")),
        Some(of_client_of(None, "unknown.test")),
        Some(of_client_of(Some("may.test"), "a.must.test")),
        Some(of_client_of(Some("may.test"), "may.test")),
        Some(open),
    ];
    edge.asked();
    for stranger in &strangers {
        for (method, path) in
            [(Method::GET, "/"), (Method::GET, "/old/x"), (Method::POST, "/"), (purge_method(), "/")]
        {
            let url = format!("https://a.must.test{path}");
            let refused = answered(&edge, method, &url, stranger.as_ref()).await;
            assert!(matches!(refused, Err(Failure::Misdirected)), "{stranger:?} {path}: {refused:?}");
        }
    }
    assert!(edge.asked().is_empty());
}

fn purge_method() -> Method {
    Method::from_bytes(b"PURGE").unwrap()
}

/// What the origin server is told stands there by now, whatever the client wrote.
#[test]
fn the_certificate_takes_the_place_of_what_was_written() {
    let edge = Edge::new(SITES, FRESH);
    let site = edge.router.sites.find("may.test").unwrap();
    for (certificate, expected) in [(true, Some(":AAAA:")), (false, None)] {
        let mut req = request(Method::GET, "https://may.test/");
        for name in ["client-cert", "client-cert-chain", "client-cert-subject"] {
            Arc::make_mut(&mut req.fields).insert(name, HeaderValue::from_static("forged"));
        }
        let mut connection = ConnectionInfo::clone(&of_client_of(Some("may.test"), "may.test"));
        if let Some(client) = connection.tls.as_mut().and_then(|session| session.client.as_mut())
            && !certificate
        {
            client.certificate = None;
        }
        req.connection = Arc::new(connection);
        super::super::client::identify(&mut req, &site.site).unwrap();
        let told = req.fields.get("client-cert").map(|value| value.to_str().unwrap());
        assert_eq!((told, req.fields.contains_key("client-cert-chain")), (expected, false));
        assert_eq!(req.fields.contains_key("client-cert-subject"), certificate);
    }
}
