//! How soon a purge of 100,000 stored responses holds for readers, and when it
//! has gone through all of them. A program that prints a table: each purge needs
//! the store filled anew.
//!
//! ```text
//! cargo bench --bench purge
//! ```

#![allow(clippy::expect_used, reason = "a bench stops where something is not as it must be")]
#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod edge;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderMap;
use seawall::base::Tasks;
use seawall::cache::Purge;
use seawall::exchange::Handler;

use edge::Edge;

const OBJECTS: usize = 100_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let edge = Edge::tagged("memory = \"512MiB\"", 7, Some("article"));
        println!("{:<8} {:>12} {:>12} {:>9}", "purge", "holds", "is over", "removed");
        for (name, purge) in [
            ("tag", Purge::tags(["article"])),
            ("prefix", Purge::prefixes(&["https://bench.test/articles/".to_owned()])),
            ("host", Purge::hosts(&["bench.test".to_owned()])),
            ("all", Ok(Purge::everything())),
        ] {
            fill(&edge).await;
            let (holds, over, removed) = purged(&edge, purge.expect("a purge")).await;
            println!("{name:<8} {holds:>12.1?} {over:>12.1?} {removed:>9}");
        }
    });
}

async fn fill(edge: &Edge) {
    for number in 0..OBJECTS {
        let req = edge.request(&path(number), &HeaderMap::new());
        edge.router.handle(req).handling.await.expect("a response");
    }
    assert!(is_hit(edge, OBJECTS - 1));
}

fn path(number: usize) -> String {
    format!("/articles/{number}")
}

/// True if a stored response answers at once.
fn is_hit(edge: &Edge, number: usize) -> bool {
    let answer = edge.router.handle(edge.request(&path(number), &HeaderMap::new())).handling.now_or_never();
    answer.and_then(|answer| answer.ok()?.facts.cache).is_some_and(|cache| cache.hit)
}

/// When a purge holds for a reader, when it is over, and what it removed.
async fn purged(edge: &Edge, purge: Purge) -> (Duration, Duration, u64) {
    let (begun, cache) = (edge.clock.now(), Arc::clone(&edge.cache));
    let purging = Tasks::new().spawn(async move { cache.purge(purge).await.expect("a purge") });
    while is_hit(edge, OBJECTS / 2) {
        tokio::task::yield_now().await;
    }
    let holds = edge.clock.now() - begun;
    let purged = purging.await.expect("the purge ends");
    (holds, edge.clock.now() - begun, purged.purged.memory)
}
