//! An ACME server in memory (RFC 8555), for what a real one cannot be told to
//! do: fail at one step, hang, set lifetimes, profiles and renewal windows. It
//! checks what it is sent as strictly as the RFC says.

mod accounts;
mod endpoints;
mod fault;
mod issuer;
mod jws;
mod orders;
mod problem;
mod state;
mod validation;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::fault::{Fault, Step};
pub(crate) use self::issuer::Issued;
pub(crate) use self::state::{AccountRecord, OrderRecord, Status};
pub(crate) use self::validation::{AnyCertificate, ChallengeType, TxtRecords, Validation};

use self::fault::Outage;
use self::issuer::Issuer;
use self::state::State;
use super::process::{Place, Seawall};

/// What a server is from its start on.
pub(crate) struct Options {
    /// The challenges that it offers, where they suit the identifier.
    pub(crate) challenges: Vec<ChallengeType>,
    /// What becomes of a challenge; can be changed later.
    pub(crate) validation: Validation,
    /// The profiles that an order may name.
    pub(crate) profiles: Vec<&'static str>,
    /// The key id and key of the one external account, without which there is
    /// no ACME account.
    pub(crate) external_account: Option<(&'static str, Vec<u8>)>,
    /// Whether it decides on a challenge before it answers the client that claims to
    /// meet it, where it need not look.
    pub(crate) validates_at_once: bool,
    /// Whether a challenge that it decides on at once, and is not met, stays open, as does
    /// what else may prove the name.
    pub(crate) leaves_open: bool,
    /// Whether it has renewal information (RFC 9773).
    pub(crate) renewal_info: bool,
    /// What it is called in CAA records, which it does not look up.
    pub(crate) caa_identities: Vec<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            challenges: vec![ChallengeType::Http01, ChallengeType::TlsAlpn01, ChallengeType::Dns01],
            validation: Validation::AcceptAll,
            profiles: Vec::new(),
            external_account: None,
            validates_at_once: false,
            leaves_open: false,
            renewal_info: false,
            caa_identities: Vec::new(),
        }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct AcmeServer {
    shared: Arc<Shared>,
    directory: TempDir,
    listening: JoinHandle<()>,
}

/// What all requests share.
struct Shared {
    base: String,
    options: Options,
    issuer: Issuer,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl AcmeServer {
    /// Starts one, on a port that the system picks.
    pub(crate) async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let (root, acceptor) = own_certificate();
        fs::write(directory.path().join("root.pem"), root).unwrap();
        let state = Mutex::new(State::new(options.validation.clone()));
        let shared = Arc::new(Shared { base, options, issuer: Issuer::new(), state });
        let listening = tokio::spawn(endpoints::listen(listener, acceptor, Arc::clone(&shared)));
        Self { shared, directory, listening }
    }

    /// The URL of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("{}/directory", self.shared.base)
    }

    /// Where in a state directory there is what it has to do with.
    pub(crate) fn directory_in(&self, state: &Path) -> PathBuf {
        let server = self.shared.base.trim_start_matches("https://");
        state.join("acme").join(format!("{server}+directory"))
    }

    /// The root that has to be trusted to talk to it.
    pub(crate) fn root_file(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// The root of all that it issues, as PEM.
    pub(crate) fn issuer_pem(&self) -> String {
        self.shared.issuer.root_pem()
    }

    /// Has all requests of a step fail until it is healed.
    pub(crate) fn fail(&self, step: Step, fault: Fault) {
        self.shared.state().outages.insert(step, Outage { fault, left: None });
    }

    /// Has the next `count` requests of a step fail.
    pub(crate) fn fail_next(&self, step: Step, count: usize, fault: Fault) {
        self.shared.state().outages.insert(step, Outage { fault, left: Some(count) });
    }

    /// Has a step work again.
    pub(crate) fn heal(&self, step: Step) {
        self.shared.state().outages.remove(&step);
    }

    /// Has so many of a hundred good nonces rejected, evenly spread: a client
    /// that tries thrice has to get through 50 %.
    pub(crate) fn reject_nonces(&self, percent: u32) {
        self.shared.state().nonces.rejected_percent = percent;
    }

    /// Changes what becomes of challenges.
    pub(crate) fn set_validation(&self, validation: Validation) {
        self.shared.state().validation = validation;
    }

    /// Sets the lifetime of the next certificates, counted from their issuance.
    pub(crate) fn set_lifetime(&self, not_before: time::Duration, not_after: time::Duration) {
        self.shared.state().lifetime = (not_before, not_after);
    }

    /// Sets the renewal window of all certificates, in place of the last third
    /// of the lifetime of each.
    pub(crate) fn set_renewal_window(&self, start: SystemTime, end: SystemTime) {
        self.shared.state().renewal_window = Some((start, end));
    }

    /// Sets `Retry-After` of renewal information, or leaves it out.
    pub(crate) fn set_renewal_retry_after(&self, value: Option<&'static str>) {
        self.shared.state().renewal_retry_after = value;
    }

    /// Has orders stay `processing` from then on once they are finalized, and says with
    /// `Retry-After` when to ask again.
    pub(crate) fn leave_undecided(&self, retry_after: Option<&'static str>) {
        self.shared.state().undecided = retry_after;
    }

    /// Says whether new orders take valid authorizations of earlier ones.
    pub(crate) fn reuse_authorizations(&self, reuse: bool) {
        self.shared.state().reuse_authorizations = reuse;
    }

    /// All accounts, the oldest first.
    pub(crate) fn accounts(&self) -> Vec<AccountRecord> {
        self.shared.state().account_records()
    }

    /// All orders, the oldest first.
    pub(crate) fn orders(&self) -> Vec<OrderRecord> {
        self.shared.state().order_records()
    }

    /// All certificates, the oldest first.
    pub(crate) fn certificates(&self) -> Vec<Issued> {
        self.shared.state().certificates.iter().map(|certificate| certificate.issued.clone()).collect()
    }

    /// How many requests of a step came so far, with those that were to fail.
    pub(crate) fn requests(&self, step: Step) -> usize {
        self.shared.state().requests.get(&step).copied().unwrap_or_default()
    }
}

impl Drop for AcmeServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The root and the certificate of HTTPS, which are not those of the issuer.
fn own_certificate() -> (String, TlsAcceptor) {
    let root = issuer::self_signed("ACME server root");
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &root).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = rustls::ServerConfig::builder_with_provider(seawall::base::provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![leaf.into()], key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (root.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// An edge that has its one certificate in memory only, as there is a directory in the place
/// of the file: not even root writes that. Also what it is from, and that directory.
pub(crate) async fn with_unwritable_certificate() -> (AcmeServer, Seawall, PathBuf) {
    let (authority, place) = (AcmeServer::start(Options::default()).await, Place::new());
    let file = authority.directory_in(&place.path().join("state")).join("www.example.test.pem");
    fs::create_dir_all(&file).unwrap();
    place.configure(&format!(
        "[acme]\ndirectory = [\"{}\"]\nca = \"{}\"\n\
         [site.\"www.example.test\"]\norigins = [\"127.0.0.1:9\"]\nhealth = false\ntls = \"auto\"\n",
        authority.directory(),
        authority.root_file().display()
    ));
    let seawall = place.run().await;
    seawall.metric_is("seawall_certificates_issued_total", 1).await;
    (authority, seawall, file)
}
