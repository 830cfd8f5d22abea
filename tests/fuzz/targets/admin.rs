//! The contents that the admin socket takes: whatever they are, there is an answer, and
//! it is none that says that Seawall is at fault.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use seawall::base::{SystemClock, Tasks};
use seawall::cache::Cache;
use seawall::config;
use seawall::router::Router;
use seawall::telemetry::Metrics;
use tokio::runtime::{Builder, Runtime};

const SITES: &str = "cache.memory = \"1MiB\"\n[site.\"a.test\"]\norigins = [\"127.0.0.1:1\"]\n";

static EDGE: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let config = config::parse("fuzz", SITES, Path::new("/")).expect("a config").config;
    let metrics = Arc::new(Metrics::default());
    let cache = Cache::new(&config.cache, Arc::new(SystemClock), &Tasks::new(), Arc::clone(&metrics));
    let router = Router::new(&config, &Default::default(), cache, &metrics);
    drop(_entered);
    (runtime, router)
});

fuzz_target!(|content: &[u8]| {
    let (runtime, router) = &*EDGE;
    let statuses = runtime.block_on(seawall::control::fuzzing::answers(router, content));
    assert!(statuses.iter().all(|status| matches!(status, 200 | 202 | 400 | 503)), "{statuses:?}");
});
