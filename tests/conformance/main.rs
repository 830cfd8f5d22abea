//! RFC 9111 cases as data, run in process against the cache with a clock that
//! moves when it is told to, and against the running program, where the pauses
//! of the cases take as long as they say.
//!
//! The cases of the public suite are read where `SEAWALL_CACHE_TESTS` says, or
//! beside the repository; the project's own are in `cases`. What does not pass
//! is listed in `expected.toml` with its reason: a failure that is not listed
//! fails the run, and so does a listed case that passes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, prints its summary, and spawns its own tasks"
)]

mod case;
mod expected;
mod in_process;
mod live;
mod origin;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use case::{Case, Kind, Suite};
use expected::NotPassed;
use futures_util::StreamExt;
use in_process::InProcess;
use live::Live;
use run::Verdict;

/// So many cases are run against the program at a time.
const AT_ONCE: usize = 100;

#[tokio::test]
async fn the_public_suite() {
    let Some(path) = public_suite() else {
        println!(
            "conformance: the public suite is not here (SEAWALL_CACHE_TESTS); only the own cases are run"
        );
        return;
    };
    let cases = read(&path);
    let verdicts = judge(&cases).await;
    println!("conformance: {}", summary(&cases, &verdicts));
    expected::compare(&NotPassed::of_the_public_suite(), &cases, &verdicts);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_program() {
    let own = own_cases();
    let public: Vec<Case> = public_suite().iter().flat_map(|path| read(path)).collect();
    let live = Live::start().await;
    let (own_verdicts, verdicts) = tokio::join!(judge_live(&own, &live), judge_live(&public, &live));
    println!("conformance, running, own cases: {}", summary(&own, &own_verdicts));
    expected::compare(&[], &own, &own_verdicts);
    if !public.is_empty() {
        println!("conformance, running: {}", summary(&public, &verdicts));
        expected::compare(&NotPassed::of_the_public_suite(), &public, &verdicts);
    }
}

#[tokio::test]
async fn the_own_cases() {
    let cases = own_cases();
    let verdicts = judge(&cases).await;
    println!("conformance, own cases: {}", summary(&cases, &verdicts));
    expected::compare(&[], &cases, &verdicts);
}

fn own_cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

/// The file with the cases of the public suite, where there is one.
fn public_suite() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cache-tests");
    let folder = std::env::var_os("SEAWALL_CACHE_TESTS").map_or_else(beside, PathBuf::from);
    Some(folder.join("cases.json")).filter(|path| path.exists())
}

/// The cases of a file that a proxy can run.
fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let suites: Vec<Suite> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    suites.into_iter().flat_map(|suite| suite.tests).filter(|case| !case.browser_only).collect()
}

async fn judge(cases: &[Case]) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    for case in cases {
        let verdict = run::run(case, &InProcess::of(case)).await;
        assert!(verdicts.insert(case.id.clone(), verdict).is_none(), "{} is there twice", case.id);
    }
    on_their_grounds(cases, verdicts)
}

async fn judge_live(cases: &[Case], live: &Live) -> BTreeMap<String, Verdict> {
    let running = futures_util::stream::iter(cases.iter().map(|case| {
        let edge = live.case(case);
        async move { (case.id.clone(), run::run(case, &edge).await) }
    }));
    on_their_grounds(cases, running.buffer_unordered(AT_ONCE).collect().await)
}

fn on_their_grounds(cases: &[Case], mut verdicts: BTreeMap<String, Verdict>) -> BTreeMap<String, Verdict> {
    let failed = |verdicts: &BTreeMap<String, Verdict>, id| verdicts.get(id).is_some_and(Result::is_err);
    // Like the public suite: without its ground a case proves nothing.
    for case in cases {
        if let Some(ground) = case.depends_on.iter().find(|ground| failed(&verdicts, *ground)) {
            let verdict = Err(format!("depends on {ground}"));
            verdicts.insert(case.id.clone(), verdict);
        }
    }
    verdicts
}

fn summary(cases: &[Case], verdicts: &BTreeMap<String, Verdict>) -> String {
    let count = |kind, name| {
        let all = cases.iter().filter(|case| case.kind == kind);
        let passed = all.clone().filter(|case| verdicts[&case.id].is_ok()).count();
        format!("{name} {passed}/{}", all.count())
    };
    let kinds = [(Kind::Required, "required"), (Kind::Optimal, "optimal"), (Kind::Check, "check")];
    kinds.map(|(kind, name)| count(kind, name)).join(", ")
}
