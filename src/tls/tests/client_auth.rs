//! Sites that ask their clients for certificates.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::config::model::{ClientAuth, Site};

/// An authority for clients.
struct Authority {
    root: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = parameters.self_signed(&key).unwrap();
    Authority { root, issuer: Issuer::new(parameters, key) }
}

impl Authority {
    /// The settings of a client with a certificate for `name`.
    fn client(
        &self,
        server_name: &'static str,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Client {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = parameters.signed_by(&key, &self.issuer).unwrap();
        let mut client = client_of(server_name, &[version]);
        client.config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_client_auth_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        client.config.resumption = Resumption::in_memory_sessions(8);
        client.config.enable_sni = !server_name.is_empty();
        client
    }
}

/// Three sites: one that takes only the clients of an authority, one that takes
/// those and strangers, and one for all.
async fn guarded_edge(authority: &Authority) -> Edge {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.root.pem()).unwrap();
    let sites = ["*.test", "may.test", "must.test", "pub.must.test"].map(|name| (name, SiteTls::Internal));
    edge_with(&sites, |config| {
        guard(config, "must.test", &ca, true);
        guard(config, "may.test", &ca, false);
        config.tls_default = Some("must.test".into());
    })
    .await
}

fn guard(config: &mut Config, name: &str, ca: &Path, required: bool) {
    let site = config.sites.iter_mut().find(|site| *site.name == *name).unwrap();
    let client_auth = Some(ClientAuth { ca: ca.to_owned(), required });
    *site = Arc::new(Site { client_auth, ..Site::clone(site) });
}

fn told(session: &TlsSession) -> Option<(&str, Option<&str>)> {
    let client = session.client.as_ref()?;
    let certificate = client.certificate.as_ref();
    Some((&client.site, certificate.map(|certificate| certificate.subject.to_str().unwrap())))
}

#[tokio::test]
async fn a_client_is_known_to_the_site_it_asked_for() {
    let authority = authority("clients");
    let edge = guarded_edge(&authority).await;
    for version in [&TLS12, &TLS13] {
        for (name, expected) in [
            ("must.test", Some(("must.test", Some("CN=alice")))),
            ("MUST.test", Some(("must.test", Some("CN=alice")))),
            ("", Some(("must.test", Some("CN=alice")))),
            ("unknown.example", Some(("must.test", Some("CN=alice")))),
            ("may.test", Some(("may.test", Some("CN=alice")))),
            ("other.test", None),
            ("pub.must.test", None),
        ] {
            let (_, _, session) = edge.meet(&authority.client(name, "alice", version)).await;
            assert_eq!(told(&session), expected, "{name:?}");
        }
    }
}

#[tokio::test]
async fn a_stranger_is_let_in_only_where_that_is_allowed() {
    let edge = guarded_edge(&authority("clients")).await;
    let imposter = authority("clients");
    for version in [&TLS12, &TLS13] {
        for name in ["must.test", "", "unknown.example"] {
            for client in [client_of(name, &[version]), imposter.client(name, "alice", version)] {
                let error = refused(&edge, &client).await;
                assert!(matches!(error, HandshakeError::Failed(_)), "{name:?}: {error}");
            }
        }
        let (_, _, session) = edge.meet(&client_of("may.test", &[version])).await;
        assert_eq!(told(&session), Some(("may.test", None)));
        refused(&edge, &imposter.client("may.test", "alice", version)).await;
    }
}

#[tokio::test]
async fn no_session_with_a_known_client_is_resumed_anywhere() {
    let authority = authority("clients");
    let edge = guarded_edge(&authority).await;
    for version in [&TLS12, &TLS13] {
        let mut client = authority.client("must.test", "alice", version);
        for name in ["must.test", "must.test", "may.test", "may.test"] {
            client.name = name;
            let (_, _, session) = edge.meet(&client).await;
            assert!(!session.resumed, "{name}");
        }
    }
}

#[tokio::test]
async fn a_session_of_an_open_site_opens_no_guarded_one() {
    let edge = guarded_edge(&authority("clients")).await;
    for version in [&TLS12, &TLS13] {
        let mut client = client_of("other.test", &[version]);
        client.config.resumption =
            Resumption::store(Arc::new(ForAnyServer(ClientSessionMemoryCache::new(8))));
        edge.meet(&client).await;
        assert!(edge.meet(&client).await.2.resumed);
        client.name = "must.test";
        refused(&edge, &client).await;
        client.name = "other.test";
        edge.meet(&client).await;
        client.name = "may.test";
        let (_, _, session) = edge.meet(&client).await;
        assert_eq!((session.resumed, told(&session)), (false, Some(("may.test", None))));
    }
}

/// Offers the session with one server to every other one.
#[derive(Debug)]
struct ForAnyServer(ClientSessionMemoryCache);

fn one_server() -> ServerName<'static> {
    ServerName::try_from("one.test").unwrap()
}

impl ClientSessionStore for ForAnyServer {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(one_server(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&one_server())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(one_server(), session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&one_server())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one_server());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(one_server(), ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one_server())
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_used_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    for content in
        [None, Some(""), Some("text"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        if let Some(content) = content {
            std::fs::write(&ca, content).unwrap();
        }
        let mut config = testing::config(directory.path(), &[("must.test", SiteTls::Internal)]);
        guard(&mut config, "must.test", &ca, true);
        let tasks = Tasks::new();
        let certs = Certificates::start(&config, Arc::new(SystemClock), &tasks, Arc::default());
        let refused = Tls::new(&config, &certs.await.unwrap(), None).unwrap_err();
        assert!(matches!(refused, ClientAuthError::File(_)), "{content:?}: {refused}");
    }
}
