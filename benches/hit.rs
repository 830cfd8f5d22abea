//! What a hit costs from the router to the head of the response: lookup, policy
//! and delivery, without sockets, TLS and HTTP parsing. In memory, on the disk
//! (in the page cache of the system), and what storing a response costs.

#![allow(clippy::expect_used, reason = "a bench stops where something is not as it must be")]

mod edge;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use seawall::exchange::{Failure, Handler, Response};
use tokio::runtime::Runtime;

use edge::{Edge, browser};

const SIZES: [(&str, usize); 2] = [("1KiB", 1 << 10), ("100KiB", 100 << 10)];

const PATH: &str = "/assets/style.css?v=12";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A response of which the cache says that it was stored.
fn stored(answer: Result<Box<Response>, Failure>) -> Box<Response> {
    let res = answer.expect("a response");
    assert!(res.facts.cache.is_some_and(|cache| cache.hit), "{:?}", res.facts);
    res
}

fn from_memory(bench: &mut Criterion) {
    let runtime = runtime();
    let _entered = runtime.enter();
    for (size, length) in SIZES {
        let edge = Edge::new("memory = \"256MiB\"", length);
        let plain = browser();
        let first =
            runtime.block_on(edge.router.handle(edge.request(PATH, &plain)).handling).expect("a response");
        runtime.block_on(first.body.collect()).expect("the content");
        // The first hit has it compressed.
        runtime.block_on(edge.router.handle(edge.request(PATH, &plain)).handling).expect("a response");
        bench.bench_function(&format!("hit/{size}"), |bench| {
            bench.iter(|| {
                let answer = edge.router.handle(edge.request(PATH, &plain)).handling.now_or_never();
                stored(answer.expect("a hit is there at once"))
            });
        });
        let mut conditional = browser();
        conditional.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"33a64df551425fcc\""));
        bench.bench_function(&format!("hit/{size}/304"), |bench| {
            bench.iter(|| {
                let answer = edge.router.handle(edge.request(PATH, &conditional)).handling.now_or_never();
                let res = stored(answer.expect("a hit is there at once"));
                assert_eq!(res.status, StatusCode::NOT_MODIFIED);
                res
            });
        });
    }
}

/// Many more responses than memory holds, asked for in turn: nearly all of them
/// are read from the disk, checked, and put into memory once more.
fn from_disk(bench: &mut Criterion) {
    let runtime = runtime();
    let _entered = runtime.enter();
    for ((size, length), count) in SIZES.into_iter().zip([20_000, 2_000]) {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = directory.path().join("cache");
        let keys =
            format!("compress = false\nmemory = \"1MiB\"\ndisk = {{ path = {disk:?}, size = \"1GiB\" }}");
        let edge = Edge::new(&keys, length);
        let plain = browser();
        let paths: Vec<String> = (0..count).map(|number| format!("/assets/{number}.css")).collect();
        runtime.block_on(async {
            for (number, path) in (1..).zip(&paths) {
                let res = edge.router.handle(edge.request(path, &plain)).handling.await.expect("a response");
                res.body.collect().await.expect("the content");
                while edge.metrics.disk_writes.value() < number {
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut turn = paths.iter().cycle();
        let mut hits = 0;
        bench.bench_function(&format!("hit/disk/{size}"), |bench| {
            bench.iter(|| {
                hits += 1;
                let path = turn.next().expect("there is always one");
                stored(runtime.block_on(edge.router.handle(edge.request(path, &plain)).handling))
            });
        });
        let on_disk = edge.metrics.disk_hits.value();
        assert!(on_disk * 10 >= hits * 9, "{on_disk} of {hits} hits were on the disk");
    }
}

fn fill(bench: &mut Criterion) {
    let runtime = runtime();
    let _entered = runtime.enter();
    for (size, length) in SIZES {
        let edge = Edge::new("compress = false\nmemory = \"256MiB\"", length);
        let plain = browser();
        let mut number = 0_u64;
        let mut group = bench.benchmark_group("fill");
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(size, |bench| {
            bench.iter(|| {
                number += 1;
                let request = edge.request(&format!("/assets/{number}.css"), &plain);
                let res = runtime.block_on(edge.router.handle(request).handling).expect("a response");
                assert!(res.facts.cache.is_some_and(|cache| cache.stored), "{:?}", res.facts);
                res
            });
        });
        group.finish();
    }
}

criterion_group!(benches, from_memory, from_disk, fill);
criterion_main!(benches);
