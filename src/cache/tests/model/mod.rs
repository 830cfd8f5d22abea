//! The engine does what a cache does that is too simple to be wrong: after any
//! sequence of requests, writes, purges, changes at the origin server, passing
//! time and restarts, a client gets the same status, fields, bytes and
//! Cache-Status from both, and the origin server is asked the same.

mod answer;
mod naive;
mod origin;
mod stored;

use std::sync::Mutex;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::*;
use crate::cache::Purge;
use crate::cache::multipart::tests::taken_apart;
use crate::fields::cache_status::CACHE_STATUS;
use crate::fields::range::ContentRange;
use naive::Naive;
use origin::{Failing, PATHS, Resource, Server, Site, X};

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Read(Method, &'static str, Fields),
    Post(&'static str, Fields),
    Pass(u64),
    Change(usize, Resource),
    Fail(Option<Failing>),
    Purge(Purging, bool),
    Restart,
}

type Fields = Vec<(&'static str, String)>;

/// What is purged.
#[derive(Clone, Debug)]
enum Purging {
    Url(&'static str),
    Prefix(&'static str),
    Tag(&'static str),
    Host,
    Everything,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq)]
enum Got {
    Response { code: StatusCode, fields: HeaderMap, content: Content, status: CacheStatus },
    NoResponse(CacheStatus),
    OnlyIfCached,
}

/// The content of a response.
#[derive(Clone, Debug, PartialEq)]
enum Content {
    Whole(Bytes),
    Parts(Vec<(ContentRange, Vec<u8>)>),
}

/// The engine under test.
struct Engine {
    edge: Edge,
    server: Arc<Server>,
    disk: Option<TempDir>,
}

impl Engine {
    fn new(site: &Site, disk: Option<TempDir>) -> Self {
        let edge = match &disk {
            Some(disk) => Edge::over(disk.path()),
            None => Edge::new(),
        };
        let (clock, site) = (Arc::clone(&edge.clock), Mutex::new(site.clone()));
        let server = Arc::new(Server { site, clock, seen: Mutex::default() });
        let mut engine = Self { edge, server, disk };
        engine.edge.origin = Arc::clone(&engine.server) as Arc<dyn Origin>;
        engine
    }

    async fn ask(&self, method: Method, path: &str, fields: &Fields) -> Got {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let got = match self.edge.ask_and_wait(method, path, &fields).await {
            Ok(response) => got(response).await,
            Err(Failure::OnlyIfCached) => Got::OnlyIfCached,
            Err(Failure::Fetch { cache, .. }) => Got::NoResponse(cache.unwrap()),
            Err(other) => panic!("{other}"),
        };
        self.edge.at_rest().await;
        got
    }

    async fn purge(&self, purging: &Purging, soft: bool) -> u64 {
        let purge = match purging {
            Purging::Url(path) => self.edge.url(path),
            Purging::Prefix(prefix) => Purge::prefixes(&[format!("example.test{prefix}")]).unwrap(),
            Purging::Tag(tag) => Purge::tags([tag]).unwrap(),
            Purging::Host => Purge::hosts(&["example.test".to_owned()]).unwrap(),
            Purging::Everything => Purge::everything(),
        };
        let purged = soon(self.edge.cache.purge(purge.softly(soft))).await.unwrap();
        assert!(purged.complete && purged.durable, "{purged:?}");
        self.edge.at_rest().await;
        // The disk has everything.
        if self.disk.is_some() { purged.purged.disk } else { purged.purged.memory }
    }

    /// How many responses are stored.
    async fn len(&self) -> u64 {
        self.edge.cache.store.memory.settle().await;
        let usage = self.edge.cache.usage();
        usage.disk.map_or(usage.objects, |disk| disk.objects)
    }

    /// The next process, once it knows of the `kept` responses that it finds.
    async fn restart(self, kept: u64) -> Self {
        let (passed, site) = (self.edge.clock.wall(), self.server.site.lock().unwrap().clone());
        drop((self.edge, self.server));
        let next = Self::new(&site, self.disk);
        next.edge.clock.advance(passed.duration_since(next.edge.clock.wall()).unwrap());
        soon(async {
            while next.len().await != kept {
                tokio::task::yield_now().await;
            }
        })
        .await;
        next
    }
}

async fn got(response: Box<Response>) -> Got {
    let (code, mut fields, status) = (response.status, response.fields, response.facts.cache.unwrap());
    let bytes = soon(response.body.collect()).await.unwrap().to_bytes();
    // The place that the front fills.
    if fields.get(CACHE_STATUS).is_some_and(HeaderValue::is_empty) {
        fields.remove(CACHE_STATUS);
    }
    let content_type = fields.get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let content = match content_type.filter(|written| written.starts_with("multipart/byteranges")) {
        Some(content_type) => {
            assert_eq!(fields["content-length"], bytes.len().to_string());
            fields.remove("content-type");
            fields.remove("content-length");
            Content::Parts(taken_apart(&content_type, &bytes))
        }
        None => Content::Whole(bytes),
    };
    Got::Response { code, fields, content, status }
}

async fn run(site: Site, steps: Vec<Step>, disk: Option<TempDir>) -> Result<(), TestCaseError> {
    let has_disk = disk.is_some();
    let mut engine = Engine::new(&site, disk);
    let mut naive = Naive::new(site, engine.edge.clock.wall(), engine.edge.clock.now());
    for (at, step) in steps.into_iter().enumerate() {
        // No two things happen at the same moment.
        engine.edge.clock.advance(Duration::from_millis(1));
        (naive.wall, naive.now) = (engine.edge.clock.wall(), engine.edge.clock.now());
        match &step {
            Step::Read(method, path, fields) => {
                let expected = naive.read(method, path, &map(fields));
                let found = engine.ask(method.clone(), path, fields).await;
                prop_assert_eq!(found, expected, "step {}: {:?}", at, step);
            }
            Step::Post(path, fields) => {
                let expected = naive.post(path, &map(fields));
                let found = engine.ask(Method::POST, path, fields).await;
                prop_assert_eq!(found, expected, "step {}: {:?}", at, step);
            }
            Step::Purge(purging, soft) => {
                let (purged, whole) = naive.purge(purging, *soft);
                let expected = if has_disk { whole } else { purged };
                let found = engine.purge(purging, *soft).await;
                // The thread of an earlier purge may remove some at the same moment.
                let may_be_less = has_disk && matches!(purging, Purging::Everything) && !soft;
                let is_right = found == expected || (may_be_less && found < expected);
                prop_assert!(is_right, "step {}: {:?}: {}, not {}", at, step, found, expected);
            }
            Step::Pass(seconds) => engine.edge.clock.advance(Duration::from_secs(*seconds)),
            Step::Change(path, resource) => naive.site.resources[*path] = resource.clone(),
            Step::Fail(failing) => naive.site.failing = *failing,
            Step::Restart if has_disk => {
                naive.restart();
                engine = engine.restart(naive.len().1).await;
            }
            Step::Restart => {}
        }
        *engine.server.site.lock().unwrap() = naive.site.clone();
        let seen = std::mem::take(&mut *engine.server.seen.lock().unwrap());
        prop_assert_eq!(seen, std::mem::take(&mut naive.seen), "step {}: {:?}", at, step);
        let (kept, whole) = naive.len();
        // Parts are in memory only.
        let expected = if has_disk { whole } else { kept };
        prop_assert_eq!(engine.len().await, expected, "step {}: {:?}", at, step);
    }
    Ok(())
}

fn map(fields: &Fields) -> HeaderMap {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    field_map(&fields)
}

const RANGES: [&str; 12] = [
    "bytes=0-9",
    "bytes=10-199",
    "bytes=150-250",
    "bytes=20-29",
    "bytes=200-",
    "bytes=405-",
    "bytes=-30",
    "bytes=5000-",
    "bytes=0-9, 200-209, -10",
    "bytes=10-19, 30-39",
    "bytes=0-0, 5000-6000",
    "lines=1-2",
];

/// The fields of a request.
fn fields() -> impl Strategy<Value = Fields> {
    const SAID: [&str; 10] = [
        "no-cache",
        "no-store",
        "only-if-cached",
        "max-age=0",
        "max-age=15",
        "min-fresh=5",
        "max-stale",
        "max-stale=15",
        "stale-if-error=15",
        "max-age=0, stale-if-error=30",
    ];
    let tag = || (0..4_u64, select(&["", "1", "2"][..])).prop_map(|(version, x)| format!("\"{version}{x}\""));
    let some = |of: &'static [&'static str]| select(of).prop_map(str::to_owned);
    (
        weighted(0.3, some(&["1", "2"])),
        weighted(0.25, some(&SAID)),
        weighted(0.35, some(&RANGES)),
        weighted(0.1, tag()),
        weighted(0.15, prop_oneof![4 => tag(), 1 => Just("*".to_owned())]),
        weighted(0.02, tag()),
        weighted(0.05, some(&["Basic eDp5"])),
        weighted(0.05, some(&["a=b"])),
    )
        .prop_map(|(x, said, range, if_range, if_none_match, if_match, authorization, cookie)| {
            let if_range = if_range.filter(|_| range.is_some());
            let named = [
                (X, x),
                ("cache-control", said),
                ("range", range),
                ("if-range", if_range),
                ("if-none-match", if_none_match),
                ("if-match", if_match),
                ("authorization", authorization),
                ("cookie", cookie),
            ];
            named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        })
}

fn step() -> impl Strategy<Value = Step> {
    let path = || prop_oneof![Just(PATHS[0]), select(&PATHS[..])];
    let post = prop_oneof![select(&PATHS[..]), Just("kept"), Just("refused")];
    let purging = prop_oneof![
        path().prop_map(Purging::Url),
        select(&["/", "/a", "/a/", "/c"][..]).prop_map(Purging::Prefix),
        select(&["red", "blue", "green"][..]).prop_map(Purging::Tag),
        Just(Purging::Host),
        Just(Purging::Everything),
    ];
    let failing = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Failing::Refuses)),
        1 => select(&[500, 503, 404][..]).prop_map(|status| Some(Failing::Answers(status))),
    ];
    prop_oneof![
        12 => (path(), fields()).prop_map(|(path, fields)| Step::Read(Method::GET, path, fields)),
        2 => (path(), fields()).prop_map(|(path, fields)| Step::Read(Method::HEAD, path, fields)),
        1 => (path(), post, fields()).prop_map(|(path, post, mut fields)| {
            fields.push(("post", post.to_owned()));
            Step::Post(path, fields)
        }),
        3 => select(&[0, 1, 5, 10, 20, 130][..]).prop_map(Step::Pass),
        2 => (0..PATHS.len(), origin::resource()).prop_map(|(path, resource)| Step::Change(path, resource)),
        1 => failing.prop_map(Step::Fail),
        1 => (purging, any::<bool>()).prop_map(|(purging, soft)| Step::Purge(purging, soft)),
        1 => Just(Step::Restart),
    ]
}

/// What happens one after the other; where parts are asked for, several of them.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ranges = vec(select(&RANGES[..]), 2..5);
    let parts = (select(&PATHS[..]), ranges).prop_map(|(path, ranges)| {
        let read = |range: &str| Step::Read(Method::GET, path, vec![("range", range.to_owned())]);
        ranges.into_iter().map(read).collect()
    });
    let group = prop_oneof![15 => step().prop_map(|step| vec![step]), 1 => parts];
    vec(group, 1..60).prop_map(|groups| groups.concat())
}

fn site() -> impl Strategy<Value = Site> {
    let resources = [origin::resource(), origin::resource(), origin::resource(), origin::resource()];
    resources.prop_map(|resources| Site { resources, failing: None })
}

fn in_runtime(run: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run)
}

/// A disk takes its time: one case in four.
fn fewer() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: all.cases / 4, ..all }
}

proptest! {
    #[test]
    fn the_engine_does_what_a_naive_cache_does(site in site(), steps in steps()) {
        in_runtime(run(site, steps, None))?;
    }
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn with_a_disk_it_does_the_same(site in site(), steps in steps()) {
        in_runtime(run(site, steps, Some(TempDir::new().unwrap())))?;
    }
}
