//! A cache in this process, with a clock that moves when it is told to.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use seawall::base::{Clock, ManualClock, Tasks};
use seawall::cache::Cache;
use seawall::config::model::CacheConfig;
use seawall::exchange::{FetchError, Interim, InterimClient, Origin, Request, Response};
use seawall::policy::CacheRules;
use seawall::telemetry::Metrics;

use crate::case::Case;
use crate::origin::{CaseOrigin, Seen};
use crate::run::{Edge, Got, content_of};

/// The time at which every case begins.
const START: Duration = Duration::from_secs(1_795_000_000);

/// A cache for one case.
pub(crate) struct InProcess {
    cache: Arc<Cache>,
    rules: Arc<CacheRules>,
    origin: Arc<AtOnce>,
    clock: Arc<ManualClock>,
    tasks: Tasks,
}

/// An origin server for whose pauses nobody waits.
#[derive(Debug)]
struct AtOnce(Arc<CaseOrigin>, Arc<ManualClock>);

impl Origin for AtOnce {
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        Box::pin(async move {
            self.1.advance(self.0.pause(&req));
            for (status, fields) in self.0.interim(&req) {
                req.interim.iter().for_each(|client| client.pass_on(status, &fields));
            }
            self.0.respond(&req)
        })
    }
}

/// A client that takes down the interim responses it gets.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<(u16, HeaderMap)>>);

impl Told {
    pub(crate) fn take(&self) -> Vec<(u16, HeaderMap)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl InterimClient for Told {
    fn tell(&self, _: u64, status: StatusCode, fields: &HeaderMap) {
        self.0.lock().unwrap().push((status.as_u16(), fields.clone()));
    }
}

impl InProcess {
    pub(crate) fn of(case: &Case) -> Self {
        let clock = Arc::new(ManualClock::at(UNIX_EPOCH + START));
        let (as_clock, tasks) = (Arc::clone(&clock) as Arc<dyn Clock>, Tasks::new());
        let config = CacheConfig::in_memory(1 << 20, 1 << 17);
        let cache = Cache::new(&config, Arc::clone(&as_clock), &tasks, Arc::new(Metrics::default()));
        let server = CaseOrigin::new(content_of(case), &case.requests, as_clock);
        let origin = Arc::new(AtOnce(server, Arc::clone(&clock)));
        Self { cache, rules: Arc::default(), origin, clock, tasks }
    }
}

impl Edge for InProcess {
    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn seen(&self) -> Vec<Seen> {
        self.origin.0.seen().clone()
    }

    async fn answer(&self, mut req: Box<Request>) -> Result<Got, String> {
        let told = Arc::<Told>::default();
        req.interim = Some(Interim::new(Arc::clone(&told) as _, 1));
        let origin: Arc<dyn Origin> = Arc::clone(&self.origin) as _;
        let answer = self.cache.answer(req, &self.rules, &origin).await;
        let response = answer.map_err(|error| format!("no response: {error}"))?;
        let content = response.body.collect().await.map_err(|error| format!("no content: {error}"))?;
        let text = String::from_utf8_lossy(&content.to_bytes()).into_owned();
        self.tasks.wait().await;
        Ok(Got { status: response.status.as_u16(), fields: response.fields, text, interim: told.take() })
    }

    async fn pause(&self, length: Duration) {
        self.clock.advance(length);
    }
}
