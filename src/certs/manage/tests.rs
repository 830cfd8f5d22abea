//! Certificates that are kept current, by a clock that the tests move.

use std::time::SystemTime;

use super::*;
use crate::base::{ManualClock, Tasks};
use crate::certs::authority::LocalAuthority;
use crate::certs::storage::{CertStorage, FileStorage};
use crate::certs::table::{Served, ServerNames};
use crate::certs::testing::{config, now};
use crate::certs::{Certificates, self_signed};
use crate::config::model::SiteTls;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn start(state: &std::path::Path, at: SystemTime) -> (Arc<Certificates>, Arc<Metrics>) {
    let (clock, metrics) = (Arc::new(ManualClock::at(at)), Arc::<Metrics>::default());
    let config = config(state, &[("a.test", SiteTls::Internal)]);
    let tasks = Tasks::new();
    let certs = Certificates::start(&config, clock, &tasks, Arc::clone(&metrics)).await;
    (certs.unwrap(), metrics)
}

#[tokio::test]
async fn a_certificate_that_is_due_is_renewed_while_it_is_served() {
    let state = tempfile::tempdir().unwrap();
    let (certs, _) = start(state.path(), now()).await;
    let first = certs.status().remove(0);

    let (certs, metrics) = start(state.path(), now() + 61 * DAY).await;
    assert_eq!(certs.status()[0].not_after, first.not_after);
    let renewed = async {
        while metrics.certificates_issued.value() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), renewed).await.unwrap();
    let second = certs.status().remove(0);
    assert_eq!(second.not_after.unwrap() - first.not_after.unwrap(), (61 * DAY).as_secs());
    assert!(second.next_renewal.unwrap() > unix_seconds(now() + (61 + 50) * DAY));
}

#[tokio::test]
async fn a_failure_keeps_the_certificate_and_puts_the_next_try_off() {
    let state = tempfile::tempdir().unwrap();
    let storage: Arc<dyn CertStorage> = Arc::new(FileStorage::open(state.path(), now()).unwrap());
    let authority = LocalAuthority::open(storage, now()).await.unwrap();
    let clock = Arc::new(ManualClock::at(now()));
    let (resolver, metrics) = (Arc::<Resolver>::default(), Arc::<Metrics>::default());
    let backoff = Backoff { first: 2 * DAY, most: 4 * DAY };
    let (metrics, look_every) = (Arc::clone(&metrics), Duration::from_millis(5));
    let upkeep =
        Upkeep { clock, resolver, metrics: Arc::clone(&metrics), backoff, look_every, notices: None };
    let names = vec!["a.test".to_owned()];
    let wanted = Wanted { site: "a.test".into(), names, is_asked_for: Arc::default(), is_on_demand: false };
    let place = Place::Slot(0);
    // It is due.
    let held = Held::own(self_signed::placeholder(&wanted.names, now() - 70 * DAY).unwrap());
    let issuer = Issuer::Internal(Arc::new(authority));
    let certificate = SiteCertificate::new(wanted, issuer, place, Some(&held), None, upkeep.clock.now());

    let status = || certificate.status(Now::of(&*upkeep.clock));
    let mut earliest = Vec::new();
    for retry_after in [None, Some(5 * DAY)] {
        upkeep.put_off(&certificate, Failure { error: CertError::OrderDeadline, retry_after });
        earliest.push(status().next_renewal.unwrap() - unix_seconds(now()));
    }
    assert!(earliest[0] <= (2 * DAY).as_secs() && earliest[0] >= DAY.as_secs());
    assert_eq!(earliest[1], (5 * DAY).as_secs());
    let status = status();
    assert_eq!(status.not_after, Some(unix_seconds(held.certificate.validity.not_after)));
    assert_eq!(status.last_error.as_deref(), Some("the ACME order did not end in time"));
    assert_eq!(status.why_then, Some("it is tried again after a failure"));
    assert_eq!(metrics.certificate_failures.value(), 2);

    assert!(certificate.renew_now());
    let soon = tokio::time::timeout(Duration::from_secs(10), upkeep.next_step(&certificate)).await;
    assert_eq!(soon, Ok(Step::Renew));
}

/// By a year, while it waits for two months: nothing but the time of day says that.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_has_what_is_over_renewed_within_a_minute() {
    const MINUTE: Duration = Duration::from_secs(60);
    let state = tempfile::tempdir().unwrap();
    let (clock, metrics) = (Arc::new(ManualClock::at(now())), Arc::<Metrics>::default());
    let config = config(state.path(), &[("a.test", SiteTls::Internal)]);
    let tasks = Tasks::new();
    let told = Arc::clone(&clock) as Arc<dyn Clock>;
    let certs = Certificates::start(&config, told, &tasks, Arc::clone(&metrics)).await.unwrap();
    let not_after = || certs.status()[0].not_after.unwrap();
    for jumped in [now() + 400 * DAY, now() + 399 * DAY, now()] {
        clock.put(jumped);
        let before = metrics.certificates_issued.value();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(metrics.certificates_issued.value(), before + 1);
        clock.advance(MINUTE);
        tokio::time::sleep(DAY).await;
        assert_eq!(metrics.certificates_issued.value(), before + 1);
        assert_eq!(not_after() / 86_400, unix_seconds(jumped + 90 * DAY) / 86_400);
    }
}

fn put(pair: &FilePair, name: &str, key: Option<&str>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    for (path, text) in [
        (&pair.key, key.map_or_else(|| made.signing_key.serialize_pem(), str::to_owned)),
        (&pair.chain, made.cert.pem()),
    ] {
        let aside = path.with_extension("new");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(&aside, path).unwrap();
    }
}

/// Links that keep the files as they are.
fn save(pair: &FilePair) {
    for path in [&pair.chain, &pair.key] {
        std::fs::hard_link(path, path.with_extension("saved")).unwrap();
    }
}

fn restore(pair: &FilePair) {
    for path in [&pair.chain, &pair.key] {
        std::fs::rename(path.with_extension("saved"), path).unwrap();
    }
}

#[tokio::test]
async fn new_files_are_taken_and_bad_ones_leave_the_old_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| directory.path().join(name));
    let pair = FilePair { chain, key };
    put(&pair, "a.test", None);
    let clock = Arc::new(ManualClock::at(now()));
    let (resolver, metrics) = (Arc::<Resolver>::default(), Arc::<Metrics>::default());
    let (look_every, backoff) = (Duration::from_millis(5), renewal::AFTER_FAILURE);
    let names = vec!["a.test".to_owned()];
    let wanted = Wanted { site: "a.test".into(), names, is_asked_for: Arc::default(), is_on_demand: false };
    let mut server_names = ServerNames::default();
    let place = server_names.add(["a.test"], 1, |_| false).places().next().unwrap();
    let marks = pair.marks().await;
    let held = Held::own(pair.load(&wanted.names, now()).await.unwrap());
    resolver.replace(server_names, vec![Served::Own(Arc::clone(&held.certificate.certified))]);
    let served = || resolver.certificate(Some("a.test"), None).unwrap().cert[0].clone();
    let first = served();
    let issuer = Issuer::Files(pair.clone());
    let certificate =
        Arc::new(SiteCertificate::new(wanted, issuer, place, Some(&held), Some(marks), clock.now()));
    let told = Now::of(&*clock);
    let upkeep = Upkeep {
        clock,
        resolver: Arc::clone(&resolver),
        metrics: Arc::clone(&metrics),
        backoff,
        look_every,
        notices: None,
    };
    let tasks = Tasks::new();
    let kept = Arc::clone(&certificate);
    tasks.spawn_until_stopped(async move { upkeep.keep(&kept).await });
    let until = async |what: &str, is_so: &dyn Fn() -> bool| {
        let waited = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waited).await.expect(what);
    };

    put(&pair, "a.test", None);
    until("the new certificate", &|| served() != first).await;
    let second = served();
    save(&pair);
    put(&pair, "a.test", Some("no key"));
    until("a complaint", &|| certificate.status(told).last_error.is_some()).await;
    assert_eq!((served() == second, metrics.certificate_failures.value()), (true, 1));
    restore(&pair);
    until("all to be well again", &|| certificate.status(told).last_error.is_none()).await;
    assert_eq!((served() == second, metrics.certificate_failures.value()), (true, 1));
    put(&pair, "a.test", Some("no key"));
    until("another complaint", &|| metrics.certificate_failures.value() == 2).await;
    put(&pair, "a.test", None);
    until("the next certificate", &|| served() != second).await;
    assert_eq!((certificate.status(told).last_error, certificate.status(told).next_renewal), (None, None));
    tasks.stop();
    tasks.wait().await;
}
