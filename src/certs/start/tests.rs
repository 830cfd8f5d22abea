use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::base::ManualClock;
use crate::certs::status::{CertificateStatus, IssuerKind, unix_seconds};
use crate::certs::storage::Item;
use crate::certs::testing::{config, now};
use crate::config::model::{PemPair, Site, SiteTls};

async fn start(config: &Config, at: SystemTime, tasks: &Tasks) -> Result<Arc<Certificates>, CertError> {
    let clock = Arc::new(ManualClock::at(at));
    Certificates::start(config, clock, tasks, Arc::default()).await
}

async fn status(config: &Config, at: SystemTime) -> Vec<CertificateStatus> {
    start(config, at, &Tasks::new()).await.unwrap().status()
}

fn pem(names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem() + &made.signing_key.serialize_pem()).into()
}

fn internal(state: &Path, site: &str) -> Config {
    config(state, &[(site, SiteTls::Internal)])
}

#[tokio::test]
async fn every_site_with_tls_has_a_certificate_from_the_start() {
    let state = tempfile::tempdir().unwrap();
    let sites = [
        ("a.test", SiteTls::Off),
        ("[::1]", SiteTls::Internal),
        ("b.test", SiteTls::Acme),
        ("*", SiteTls::Internal),
    ];
    let status = status(&config(state.path(), &sites), now()).await;
    let names: Vec<String> = status.iter().map(|status| status.names.join(" ")).collect();
    assert_eq!(names, ["::1", "b.test", "localhost 127.0.0.1 ::1"]);
    let kinds: Vec<IssuerKind> = status.iter().map(|status| status.issuer).collect();
    assert_eq!(kinds, [IssuerKind::Internal, IssuerKind::Acme, IssuerKind::Internal]);
    let waiting: Vec<bool> = status.iter().map(|status| status.not_after.is_none()).collect();
    assert_eq!(waiting, [false, true, false]);
}

#[tokio::test]
async fn a_stored_certificate_is_used_again_unless_broken_or_over() {
    let state = tempfile::tempdir().unwrap();
    let (config, file) = (internal(state.path(), "a.test"), state.path().join("internal/a.test.pem"));
    let first = status(&config, now()).await;
    let stored = fs::read(&file).unwrap();
    assert_eq!(status(&config, now() + Duration::from_secs(60)).await[0].not_after, first[0].not_after);
    assert_eq!(fs::read(&file).unwrap(), stored);

    fs::write(&file, &stored[..stored.len() / 2]).unwrap();
    status(&config, now()).await;
    let replaced = fs::read(&file).unwrap();
    assert_ne!(replaced, stored);

    status(&config, now() + Duration::from_secs(91 * 24 * 3600)).await;
    assert_ne!(fs::read(&file).unwrap(), replaced);
}

#[tokio::test]
async fn a_site_that_no_authority_can_certify_is_an_error() {
    let state = tempfile::tempdir().unwrap();
    let any_host = config(state.path(), &[("*", SiteTls::Acme)]);
    let error = start(&any_host, now(), &Tasks::new()).await.unwrap_err();
    assert!(matches!(error, CertError::NoName { .. }), "{error}");
}

#[tokio::test]
async fn dropping_the_certificates_ends_what_is_on_demand() {
    // Nobody answers.
    let gatekeeper = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[acme]\ndirectory = [\"https://127.0.0.1:9/directory\"]\n\
         on_demand = {{ ask = \"http://{}\" }}\n[site.\"*\"]\norigins = [\"127.0.0.1:9\"]",
        gatekeeper.local_addr().unwrap()
    );
    let state = tempfile::tempdir().unwrap();
    let config = crate::config::parse("test", &text, state.path()).unwrap().config;
    let config = Config { state_dir: state.path().to_owned(), ..config };
    let tasks = Tasks::new();
    let certs = start(&config, now(), &tasks).await.unwrap();
    let ready = tokio::time::timeout(Duration::from_millis(50), certs.ready("a.example.com"));
    assert!(ready.await.is_err());
    assert_eq!(tasks.running(), 3);
    drop(certs);
    tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn those_that_follow_know_what_could_not_be_written() {
    let state = tempfile::tempdir().unwrap();
    // A file where a directory has to be: not even root writes under it.
    fs::write(state.path().join("acme"), b"").unwrap();
    let config = config(state.path(), &[("a.test", SiteTls::Acme)]);
    let (clock, tasks) = (Arc::new(ManualClock::at(now())), Tasks::new());
    let before = start(&config, now(), &tasks).await.unwrap();
    let item = Item::acme_certificate(&config.acme.directories[0], "a.test");
    before.shared.remembering.store(&item, pem(&["a.test"])).await.unwrap();
    let after = before.follow(&config, clock, &tasks, Arc::default()).await.unwrap();
    assert!(after.status()[0].not_after.is_some());
}

#[tokio::test]
async fn half_written_files_of_those_before_are_left_to_them() {
    let state = tempfile::tempdir().unwrap();
    let config = internal(state.path(), "a.test");
    let (clock, tasks) = (Arc::new(ManualClock::at(now())), Tasks::new());
    let before = start(&config, now(), &tasks).await.unwrap();
    let half_written = state.path().join("internal/a.test.pem.0123.tmp");
    fs::write(&half_written, b"half").unwrap();
    let _after = before.follow(&config, clock, &tasks, Arc::default()).await.unwrap();
    assert!(half_written.exists());
}

#[tokio::test]
async fn a_certificate_that_lacks_a_new_name_is_served_until_there_is_another() {
    let state = tempfile::tempdir().unwrap();
    let before = config(state.path(), &[("a.test", SiteTls::Acme)]);
    let item = Item::acme_certificate(&before.acme.directories[0], "a.test");
    FileStorage::open(state.path(), now()).unwrap().store(&item, pem(&["a.test"])).await.unwrap();
    let site = Site { aliases: vec!["www.a.test".into()], ..Site::clone(&before.sites[0]) };
    let config = Config { sites: vec![Arc::new(site)], ..before };
    let status = status(&config, now()).await.remove(0);
    assert!(status.not_after.is_some());
    assert_eq!(status.why_then, Some("the one in use lacks a name"));
    assert_eq!(status.next_renewal, Some(unix_seconds(now())));

    let other = Site { name: "b.test".into(), ..Site::clone(&config.sites[0]) };
    let other = Site { aliases: vec!["a.b.test".into()], ..other };
    let item = Item::acme_certificate(&config.acme.directories[0], "b.test");
    FileStorage::open(state.path(), now()).unwrap().store(&item, pem(&["a.test"])).await.unwrap();
    let config = Config { sites: vec![Arc::new(other)], ..config };
    assert_eq!(self::status(&config, now()).await[0].not_after, None, "made for none of the names");
}

/// Whatever storage has for the sites as they are then.
#[tokio::test]
async fn what_was_served_before_a_reload_is_served_until_there_is_another() {
    const OTHER_DIRECTORY: &str = "https://127.0.0.1:9/other";
    for case in ["swapped", "split", "other directory", "from files", "lost", "broken", "lacks a name"] {
        let state = tempfile::tempdir().unwrap();
        let pattern = config(state.path(), &[("a.test", SiteTls::Acme)]);
        let with_tls = |tls: &SiteTls, name: &str, aliases: &[&str]| {
            let aliases = aliases.iter().map(|alias| (*alias).into()).collect();
            let site = Site::clone(&pattern.sites[0]);
            Arc::new(Site { name: name.into(), aliases, tls: tls.clone(), ..site })
        };
        let site = |name: &str, aliases: &[&str]| with_tls(&SiteTls::Acme, name, aliases);
        let storage = FileStorage::open(state.path(), now()).unwrap();
        let item = Item::acme_certificate(&pattern.acme.directories[0], "a.test");
        let both = pem(&["a.test", "www.a.test"]);
        let mut config = Config { sites: vec![site("a.test", &["www.a.test"])], ..pattern.clone() };
        if case == "from files" {
            let file = state.path().join("own.pem");
            fs::write(&file, both).unwrap();
            let files = SiteTls::Files(vec![PemPair { cert: file.clone(), key: file }]);
            config.sites = vec![with_tls(&files, "a.test", &["www.a.test"])];
        } else {
            storage.store(&item, both).await.unwrap();
        }
        let (clock, tasks) = (Arc::new(ManualClock::at(now())), Tasks::new());
        let before = start(&config, now(), &tasks).await.unwrap();

        config.sites = vec![site("a.test", &["www.a.test"])];
        match case {
            "swapped" => config.sites = vec![site("www.a.test", &["a.test"])],
            "split" => config.sites = vec![site("a.test", &[]), site("www.a.test", &[])],
            "other directory" => config.acme.directories = vec![OTHER_DIRECTORY.into()],
            "lost" => storage.remove(&item).await.unwrap(),
            "broken" => storage.store(&item, b"none".to_vec()).await.unwrap(),
            "lacks a name" => storage.store(&item, pem(&["a.test"])).await.unwrap(),
            _ => {}
        }
        let after = before.follow(&config, clock, &tasks, Arc::default()).await.unwrap();
        let told = after.status().pop().unwrap();
        // A restart would lose it.
        assert_eq!(told.why_then, Some("the one in use is not in storage for the site"), "{case}");
        assert_eq!(told.next_renewal, Some(unix_seconds(now())), "{case}");
        for name in ["a.test", "www.a.test"] {
            let [first, second] = [&before, &after].map(|certificates| {
                certificates.resolver.certificate(Some(name), None).unwrap().cert[0].clone()
            });
            assert_eq!(first, second, "{case}: {name}");
        }
    }
}

#[tokio::test]
async fn dropping_the_certificates_ends_their_upkeep() {
    let state = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let certs = start(&internal(state.path(), "a.test"), now(), &tasks).await.unwrap();
    assert_eq!(tasks.running(), 2);
    drop(certs);
    tasks.wait().await;
}
