//! Sites that ask their clients for certificates, and sites with several of their
//! own: what curl and openssl get, and what the origin server is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
};

use super::support::origin::{Arrival, Origin, ok};
use super::support::process::{Place, Seawall, finished, output, words};
use super::support::raw::RawClient;

/// An authority for clients, in files that curl reads.
struct Authority {
    directory: tempfile::TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files, and the certificate as it is.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), root.pem()).unwrap();
        Self { directory, root }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn certify(&self, name: &str) -> Identity {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let leaf = parameters.signed_by(&key, &self.root).unwrap();
        let [certificate, key_file] =
            ["pem", "key"].map(|end| self.directory.path().join(format!("{name}.{end}")));
        fs::write(&certificate, leaf.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        Identity { certificate, key: key_file, der: leaf.der().to_vec() }
    }
}

/// A site that takes only known clients, one that takes others too, and one that
/// asks nobody.
async fn start(authority: &Authority, origin: &Origin) -> Seawall {
    let (ca, address) = (authority.file(), origin.address);
    let ca = ca.display();
    Seawall::start(&format!(
        r#"
[site."must.test"]
origins = ["{address}"]
health = false
tls = {{ client_ca = "{ca}" }}
[site."may.test"]
origins = ["{address}"]
health = false
tls = {{ client_ca = "{ca}", client_auth = "optional" }}
[site."open.test"]
origins = ["{address}"]
health = false
"#
    ))
    .await
}

/// curl asks for `url`, at whatever host, of the running edge.
async fn curl(seawall: &Seawall, identity: Option<&Identity>, url: &str, further: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "10", "--noproxy", "*"]);
    command.arg("--cacert").arg(seawall.ca());
    command.arg("--connect-to").arg(format!("::{}:{}", seawall.https.ip(), seawall.https.port()));
    if let Some(Identity { certificate, key, .. }) = identity {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    finished(command.args(further).arg(url)).await
}

/// The same, with the request that the origin server gets, which it answers.
async fn exchange(
    seawall: &Seawall,
    origin: &mut Origin,
    (identity, url, further): (Option<&Identity>, &str, &[&str]),
    answer: String,
) -> (String, String) {
    let asked = async {
        let arrival: Arrival = origin.next().await;
        let fields = arrival.request.fields.iter();
        let head: String = fields.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = head.to_lowercase();
        arrival.answer(answer).await;
        head
    };
    let (said, head) = tokio::join!(curl(seawall, identity, url, further), asked);
    (words(&said), head)
}

#[tokio::test]
async fn the_origin_server_is_told_who_the_client_is() {
    let authority = Authority::new();
    let alice = authority.certify("alice");
    let mut origin = Origin::start().await;
    let seawall = start(&authority, &origin).await;
    let encoded = format!("client-cert: :{}:\r\n", BASE64_STANDARD.encode(&alice.der)).to_lowercase();
    let forged = [
        ["-H", "Client-Cert: :AAAA:"],
        ["-H", "Client-Cert-Subject: CN=root"],
        ["-H", "Client-Cert-Chain: :AAAA:"],
        ["-H", "Client_Cert: :AAAA:"],
        ["-H", "Connection: Client-Cert, Client-Cert-Subject"],
    ]
    .concat();
    for version in ["--http1.1", "--http2"] {
        for site in ["must", "may"] {
            let url = format!("https://{site}.test/x?{version}");
            let further = [&forged[..], &[version]].concat();
            // HTTP/2 has no `Connection`.
            let further = if version == "--http2" { &further[..8] } else { &further[..] };
            let asked = (Some(&alice), &*url, further);
            let (said, head) = exchange(&seawall, &mut origin, asked, ok("", "hello")).await;
            assert!(said.ends_with("hello"), "{said}");
            assert!(head.contains(&encoded) && head.contains("client-cert-subject: cn=alice\r\n"), "{head}");
            assert_eq!(
                head.matches("client-cert").count() + head.matches("client_cert").count(),
                2,
                "{head}"
            );
        }
        for site in ["may", "open"] {
            let url = format!("https://{site}.test/y?{version}");
            let asked = (None, &*url, &forged[..8]);
            let (_, head) = exchange(&seawall, &mut origin, asked, ok("", "hello")).await;
            assert!(!head.contains("client-cert") && !head.contains("client_cert"), "{head}");
        }
    }
}

#[tokio::test]
async fn nobody_else_comes_in_by_any_way() {
    let authority = Authority::new();
    let (alice, mallory) = (authority.certify("alice"), Authority::new().certify("mallory"));
    let mut origin = Origin::start().await;
    let seawall = start(&authority, &origin).await;
    for stranger in [None, Some(&mallory)] {
        let said = curl(&seawall, stranger, "https://must.test/", &[]).await;
        assert_ne!(said.status.code(), Some(0), "{}", words(&said));
    }
    // By the connection of another site, or of one that takes strangers too.
    for site in ["open", "may"] {
        for version in ["--http1.1", "--http2"] {
            let url = format!("https://{site}.test/");
            let said = curl(&seawall, None, &url, &["-H", "Host: must.test", version]).await;
            assert!(
                words(&said).starts_with(&format!("HTTP/{} 421", &version[6..])[..7]),
                "{}",
                words(&said)
            );
            assert!(words(&said).contains(" 421"), "{}", words(&said));
        }
    }
    let said = curl(&seawall, Some(&alice), "https://must.test/", &["-H", "Host: may.test"]).await;
    assert!(words(&said).contains(" 421"), "{}", words(&said));
    // In cleartext.
    let said = RawClient::ask(seawall.http, "GET / HTTP/1.1\r\nHost: must.test\r\n\r\n").await;
    assert!(said.start.contains(" 308"), "{}", said.start);
    assert_eq!(origin.requests(), 0);
    let asked = (Some(&alice), "https://must.test/", &[][..]);
    exchange(&seawall, &mut origin, asked, ok("", "")).await;
}

#[tokio::test]
async fn what_one_client_gets_is_stored_for_another_only_if_it_is_for_all() {
    let authority = Authority::new();
    let (alice, bob) = (authority.certify("alice"), authority.certify("bob"));
    let mut origin = Origin::start().await;
    let seawall = start(&authority, &origin).await;
    for (path, fields, is_shared) in [
        ("own", "Cache-Control: max-age=60\r\n", false),
        ("heuristic", "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n", false),
        ("vary", "Cache-Control: public, max-age=60\r\nVary: Client-Cert\r\n", false),
        ("vary-subject", "Cache-Control: public, max-age=60\r\nVary: Client-Cert-Subject\r\n", false),
        ("all", "Cache-Control: public, max-age=60\r\n", true),
    ] {
        let url = format!("https://must.test/{path}");
        let asked = (Some(&alice), &*url, &[][..]);
        exchange(&seawall, &mut origin, asked, ok(fields, "alice")).await;
        if is_shared {
            let said = words(&curl(&seawall, Some(&bob), &url, &[]).await);
            assert!(said.ends_with("alice"), "{path}: {said}");
        } else {
            let asked = (Some(&bob), &*url, &[][..]);
            let (said, _) = exchange(&seawall, &mut origin, asked, ok(fields, "bob")).await;
            assert!(said.ends_with("bob"), "{path}: {said}");
        }
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_used_stop_the_start() {
    let place = Place::new();
    let ca = place.path().join("ca.pem");
    place.configure(&format!(
        "[site.\"must.test\"]\norigins = [\"127.0.0.1:9\"]\ntls = {{ client_ca = \"{}\" }}\n",
        ca.display()
    ));
    let config = place.config();
    for content in [None, Some(""), Some("text")] {
        if let Some(content) = content {
            fs::write(&ca, content).unwrap();
        }
        for command in ["check", "run"] {
            let said = output(&[command, "-c", config.to_str().unwrap()]).await;
            assert_ne!(said.status.code(), Some(0), "{command}: {content:?}");
            let said = words(&said);
            assert!(said.contains("seawall.toml:8") && said.contains("client_ca"), "{said}");
        }
    }
}

/// What `openssl s_client` says to a server that may sign in these ways.
async fn s_client(seawall: &Seawall, signatures: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &seawall.https.to_string(), "-servername", "two.test"]);
    command.args(["-sigalgs", signatures, "-tls1_3"]);
    words(&finished(&mut command).await)
}

fn own(directory: &Path, kind: &str, key: &KeyPair) -> [PathBuf; 2] {
    let made = CertificateParams::new(["two.test".to_owned()]).unwrap().self_signed(key).unwrap();
    let files = ["pem", "key"].map(|end| directory.join(format!("{kind}.{end}")));
    fs::write(&files[0], made.pem()).unwrap();
    fs::write(&files[1], key.serialize_pem()).unwrap();
    files
}

#[tokio::test]
async fn a_client_gets_the_certificate_that_it_understands() {
    let directory = tempfile::tempdir().unwrap();
    let ecdsa = own(directory.path(), "ecdsa", &KeyPair::generate().unwrap());
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let rsa = own(directory.path(), "rsa", &rsa);
    let seawall = Seawall::start(&format!(
        "[site.\"two.test\"]\norigins = [\"127.0.0.1:9\"]\ntls = {{ cert = [{:?}, {:?}], key = [{:?}, {:?}] }}\n",
        ecdsa[0], rsa[0], ecdsa[1], rsa[1]
    ))
    .await;
    for (signatures, expected) in [
        ("ECDSA+SHA256:RSA-PSS+SHA256", "id-ecPublicKey"),
        ("RSA-PSS+SHA256:ECDSA+SHA256", "id-ecPublicKey"),
        ("RSA-PSS+SHA256", "rsaEncryption"),
        ("ECDSA+SHA256", "id-ecPublicKey"),
    ] {
        let said = s_client(&seawall, signatures).await;
        assert!(said.contains(expected), "{signatures}: {said}");
    }
    let shown = words(&seawall.ask("certs", &[]).await);
    assert_eq!(shown.matches("two.test\n  names").count(), 2, "{shown}");
    assert!(shown.contains("ECDSA") && shown.contains("RSA"), "{shown}");
}
