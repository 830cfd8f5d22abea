//! What memory a cache takes: fills one with many small responses, each size in
//! a process of its own, and prints what the cache counts beside what the
//! process has.
//!
//! ```text
//! cargo bench --bench memory
//! ```

#![allow(clippy::expect_used, reason = "a bench stops where something is not as it must be")]
#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod edge;

use std::process::Command;

use seawall::exchange::Handler;
use tikv_jemallocator::Jemalloc;

use edge::{Edge, browser};

/// The allocator of the program itself.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Length of each response, how many, and the size of the memory tier in MiB:
/// such that all fit, and such that most do not.
const FILLS: [(u64, u64, u64); 5] = [
    (0, 1_000_000, 8192),
    (1 << 10, 1_000_000, 8192),
    (4 << 10, 1_000_000, 8192),
    (1 << 10, 1_000_000, 512),
    (4 << 10, 1_000_000, 1024),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, own, length, count, size] = &arguments[..]
        && own == "fill"
    {
        let number = |text: &str| text.parse::<u64>().expect("a number");
        return fill(number(length), number(count), number(size));
    }
    println!("length  asked for   memory    kept   counted       RSS  RSS/counted  counted/one  RSS/one");
    for (length, count, size) in FILLS {
        let own = std::env::current_exe().expect("its path");
        let numbers = [length.to_string(), count.to_string(), size.to_string()];
        let status = Command::new(own).arg("fill").args(numbers).status().expect("it runs");
        assert!(status.success());
    }
}

fn fill(length: u64, count: u64, size: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let edge = Edge::new(
        &format!("compress = false\nmemory = \"{size}MiB\""),
        usize::try_from(length).expect("a length"),
    );
    let fields = browser();
    let before = resident();
    runtime.block_on(async {
        for number in 0..count {
            let request = edge.request(&format!("/objects/{number}.html"), &fields);
            edge.router.handle(request).handling.await.expect("a response");
        }
    });
    let (usage, grown) = (edge.cache.usage(), resident() - before);
    let mib = |bytes: u64| bytes >> 20;
    #[expect(clippy::cast_precision_loss, reason = "a ratio of two digits")]
    let ratio = grown as f64 / usage.bytes as f64;
    println!(
        "{length:6}  {count:9}  {size:4} MiB  {:6}  {:4} MiB  {:4} MiB  {ratio:11.2}  {:11}  {:7}",
        usage.objects,
        mib(usage.bytes),
        mib(grown),
        usage.bytes / usage.objects,
        grown / usage.objects,
    );
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("what the kernel says of the process");
    let kib = status.split_once("VmRSS:").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    kib.map(|kib: u64| kib << 10).expect("a number")
}
