//! Half an hour before servers that come and go, in the time it takes to compute
//! it: the clock does not wait, and the servers are in memory. What they do, and
//! when, is drawn by a seed; what must hold, holds whatever it is.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::balance::probation::Phase;
use crate::config::model::{Ejection, Location};
use crate::upstream::in_memory;

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

const SERVERS: usize = 4;
const LASTS: Duration = Duration::from_secs(1_800);
const BETWEEN_REQUESTS: Duration = Duration::from_millis(50);

/// By then whatever the checks found is corrected.
const SETTLED: Duration = Duration::from_secs(15);
/// By then a server that is well is asked again: after the longest ejection.
const ASKED_AGAIN: Duration = Duration::from_secs(90);

/// What a server does to connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Slow,
    /// Whoever connects is refused, and what was connected is cut.
    Refusing,
    /// Who connects hears nothing.
    Unreachable,
    /// Whoever asks hears nothing.
    Hanging,
    /// Cuts the connection instead of an answer.
    Cutting,
    Failing,
    Busy,
}

const TROUBLES: [Mood; 7] =
    [Mood::Slow, Mood::Refusing, Mood::Unreachable, Mood::Hanging, Mood::Cutting, Mood::Failing, Mood::Busy];

/// A server in memory.
struct Server {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    state: Mutex<State>,
}

struct State {
    mood: Mood,
    since: Instant,
    /// Cancelled to cut all connections.
    connections: CancellationToken,
    /// When it was last sent a client's request.
    asked: Instant,
    posts: HashMap<String, usize>,
}

impl Server {
    fn listen(number: usize, clock: &Arc<dyn Clock>, tasks: &Tasks) -> Arc<Self> {
        let state = State {
            mood: Mood::Well,
            since: clock.now(),
            connections: CancellationToken::new(),
            asked: clock.now(),
            posts: HashMap::new(),
        };
        let path = PathBuf::from(format!("/memory/{number}"));
        let (clock, tasks) = (Arc::clone(clock), tasks.clone());
        let server = Arc::new(Self { path, clock, tasks, state: Mutex::new(state) });
        let dialed = Arc::clone(&server);
        in_memory::listen(&server.path, move || Arc::clone(&dialed).dial());
        server
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn become_(&self, mood: Mood) {
        let mut state = self.state();
        (state.mood, state.since) = (mood, self.clock.now());
        if mood == Mood::Refusing {
            std::mem::take(&mut state.connections).cancel();
        }
    }

    /// True if it has been well since `then` at least.
    fn is_well_since(&self, then: Instant) -> bool {
        let state = self.state();
        state.mood == Mood::Well && state.since <= then
    }

    fn dial(self: Arc<Self>) -> BoxFuture<'static, io::Result<DuplexStream>> {
        let (mood, end) = {
            let state = self.state();
            (state.mood, state.connections.clone())
        };
        match mood {
            Mood::Refusing => std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())).boxed(),
            Mood::Unreachable => std::future::pending().boxed(),
            _ => {
                let (ours, theirs) = tokio::io::duplex(16 << 10);
                let tasks = self.tasks.clone();
                tasks.spawn(async move {
                    let service = service_fn(move |req| Arc::clone(&self).answer(req));
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(ours), service);
                    end.run_until_cancelled(serving).await
                });
                std::future::ready(Ok(theirs)).boxed()
            }
        }
    }

    async fn answer(
        self: Arc<Self>,
        req: http::Request<Incoming>,
    ) -> io::Result<http::Response<Full<Bytes>>> {
        let mood = self.note(&req);
        let status = match mood {
            Mood::Hanging | Mood::Unreachable => std::future::pending().await,
            Mood::Cutting | Mood::Refusing => return Err(io::ErrorKind::ConnectionReset.into()),
            Mood::Slow => {
                sleep(MS(700)).await;
                200
            }
            Mood::Well => 200,
            Mood::Failing => 500,
            Mood::Busy => 503,
        };
        let mut res = http::Response::new(Full::from("hi"));
        *res.status_mut() = StatusCode::from_u16(status).unwrap();
        if mood == Mood::Busy {
            res.headers_mut().insert("retry-after", "5".parse().unwrap());
        }
        Ok(res)
    }

    fn note(&self, req: &http::Request<Incoming>) -> Mood {
        let mut state = self.state();
        if req.uri().path() != "/healthz" {
            state.asked = self.clock.now();
        }
        if let Some(post) = req.headers().get("x-post") {
            *state.posts.entry(post.to_str().unwrap().to_owned()).or_default() += 1;
        }
        state.mood
    }

    /// True if it is well now.
    fn is_well(&self) -> bool {
        self.state().mood == Mood::Well
    }

    /// Is well for a while and in trouble for a while, in turn.
    async fn live(self: Arc<Self>, mut random: Rng) -> Infallible {
        loop {
            sleep(S(random.u64(10..200))).await;
            self.become_(TROUBLES[random.usize(..TROUBLES.len())]);
            sleep(S(random.u64(2..60))).await;
            self.become_(Mood::Well);
        }
    }
}

/// What is asked, and what came of it.
#[derive(Default)]
struct Account {
    requests: u64,
    attempts: u64,
    /// GETs that failed for want of retries.
    for_want_of_retries: u64,
}

struct Scene {
    seed: u64,
    pool: Arc<Pool>,
    servers: Vec<Arc<Server>>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    account: Mutex<Account>,
}

impl Scene {
    fn new(seed: u64) -> Arc<Self> {
        // Whatever chance decides in the pool is drawn by the seed as well.
        fastrand::seed(seed);
        let (clock, tasks): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Tasks::new());
        let servers: Vec<_> = (0..SERVERS).map(|number| Server::listen(number, &clock, &tasks)).collect();
        let mut config = test_origin::pool(&[nobody(); SERVERS]);
        for (known, server) in config.servers.iter_mut().zip(&servers) {
            known.location = Location::Socket(server.path.clone());
            known.label = server.path.to_str().unwrap().into();
        }
        config.health = Some(HealthCheck { every: S(5), timeout: S(2), ..health(Some("/healthz")) });
        config.eject = Some(Ejection {
            errors: 5,
            within: S(10),
            duration: S(5),
            rate_percent: Some(50),
            requests: 20,
            retry_after: S(60),
        });
        config.slow_start = S(10);
        config.retry.times = 3;
        config.retry.on = vec![
            RetryOn::Connect,
            RetryOn::Reset,
            RetryOn::Timeout,
            RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE),
        ];
        (config.timeouts.connect, config.timeouts.first_byte) = (S(1), S(2));
        let pool =
            Pool::new(Arc::new(config), None, None, Arc::clone(&clock), &tasks, Arc::default()).unwrap();
        pool.start(None);
        Arc::new(Self { seed, pool, servers, clock, tasks, account: Mutex::default() })
    }

    /// Sends one request and judges what comes of it.
    async fn ask(self: Arc<Self>, number: u64, method: Method) {
        let begun = self.clock.now();
        let refused = || self.pool.metrics.limits[Limit::RetryBudget as usize].value();
        let refused_before = refused();
        let mut req = request(method.clone(), "/");
        if method == Method::POST {
            Arc::make_mut(&mut req.fields).insert("x-post", number.to_string().parse().unwrap());
            req.body = Body::Full(Bytes::from_static(b"content"));
        }
        let result = Arc::clone(&self.pool).fetch(req).await;
        let (attempts, is_failure) = match &result {
            Ok(res) => (res.facts.attempts, res.status == StatusCode::SERVICE_UNAVAILABLE),
            Err(error) => (error.attempts, true),
        };
        let is_wanting = is_failure && method == Method::GET;
        let is_excused = refused() > refused_before;
        let is_anybody_well = self.servers.iter().any(|server| server.is_well());
        {
            let mut account = self.account.lock().unwrap();
            account.requests += 1;
            account.attempts += u64::from(attempts);
            account.for_want_of_retries += u64::from(is_wanting && is_excused && is_anybody_well);
        }
        if is_wanting && !is_excused {
            let well: Vec<_> = self.servers.iter().filter(|it| it.is_well_since(begun - SETTLED)).collect();
            let names: Vec<_> = well.iter().map(|server| &server.path).collect();
            assert!(well.is_empty(), "seed {}: {names:?} are well, and yet {result:?}", self.seed);
        }
        if let Ok(res) = result {
            // An answer that is cut within is the client's to ask for again.
            let _ = content(res).await;
        }
    }

    fn look(&self) {
        let (now, pool_now) = (self.clock.now(), self.pool.now());
        let members = self.pool.members();
        let ejected = members.iter().filter(|it| it.probation.phase(pool_now) == Phase::Ejected).count();
        assert!(ejected <= SERVERS / 2, "seed {}: {ejected} are ejected", self.seed);
        for server in self.servers.iter().filter(|it| it.is_well_since(now - ASKED_AGAIN)) {
            let unasked = now - server.state().asked;
            assert!(unasked <= ASKED_AGAIN, "seed {}: {:?} is not asked", self.seed, server.path);
        }
    }

    /// All servers are in the same trouble at once, now and then.
    async fn storm(self: Arc<Self>, mut random: Rng) -> Infallible {
        loop {
            sleep(S(random.u64(100..300))).await;
            let trouble = TROUBLES[random.usize(..TROUBLES.len())];
            self.servers.iter().for_each(|server| server.become_(trouble));
            sleep(S(random.u64(2..20))).await;
            self.servers.iter().for_each(|server| server.become_(Mood::Well));
        }
    }

    async fn play(self: Arc<Self>) {
        let mut random = Rng::with_seed(self.seed);
        let end = self.clock.now() + LASTS;
        let mut lives: Vec<_> = self
            .servers
            .iter()
            .map(|server| self.tasks.spawn(Arc::clone(server).live(random.fork())))
            .collect();
        lives.push(self.tasks.spawn(Arc::clone(&self).storm(random.fork())));
        let mut asking = Vec::new();
        for number in 0.. {
            if self.clock.now() >= end {
                break;
            }
            let method = if random.u8(..10) == 0 { Method::POST } else { Method::GET };
            asking.push(self.tasks.spawn(Arc::clone(&self).ask(number, method)));
            self.look();
            sleep(BETWEEN_REQUESTS).await;
        }
        lives.iter().for_each(tokio::task::JoinHandle::abort);
        self.servers.iter().for_each(|server| server.become_(Mood::Well));
        for asked in asking {
            asked.await.unwrap();
        }
        self.settle_up().await;
    }

    /// What is left when all is over.
    async fn settle_up(&self) {
        let seed = self.seed;
        {
            let account = self.account.lock().unwrap();
            assert!(account.requests > 30_000, "seed {seed}: {} requests", account.requests);
            let retries = self.pool.metrics.origin_retries.value();
            let paid = account.requests / 5 + 10 * LASTS.as_secs() + 10;
            assert!(retries > 100 && retries <= paid, "seed {seed}: {retries} retries, {paid} allowed");
            assert!(account.for_want_of_retries * 100 <= account.requests, "seed {seed}");
            let counted: u64 = self.pool.snapshot().servers.iter().map(|server| server.requests).sum();
            // Who found no room at a server asked it nothing, and checks find none either.
            let refused = self.pool.metrics.limits[Limit::OriginQueue as usize].value();
            let attempts = account.attempts - refused..=account.attempts;
            assert!(attempts.contains(&counted), "seed {seed}: {counted} of {attempts:?}");
        }
        for server in &self.servers {
            let state = server.state();
            assert!(state.posts.values().all(|times| *times == 1), "seed {seed}: {:?}", state.posts);
        }
        let mut posts: Vec<_> =
            self.servers.iter().flat_map(|it| it.state().posts.keys().cloned().collect::<Vec<_>>()).collect();
        let count = posts.len();
        posts.sort();
        posts.dedup();
        assert_eq!(posts.len(), count, "seed {seed}: a POST came to two servers");
        sleep(self.pool.config().timeouts.keep_alive * 2).await;
        for member in self.pool.members().iter() {
            assert_eq!((member.origin.in_flight(), member.origin.open_connections()), (0, 0), "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn half_an_hour_before_failing_servers() {
    for seed in [1, 2, 3, 4] {
        Scene::new(seed).play().await;
    }
}
