//! What the tests put around the program: clients, origin servers, a browser,
//! and the program itself as a process.

pub(crate) mod acme_server;
pub(crate) mod chromium;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod curl;
pub(crate) mod dns;
pub(crate) mod haproxy;
pub(crate) mod load;
pub(crate) mod named;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod pebble;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod site;
pub(crate) mod slow_file;
pub(crate) mod websocket;

use std::future::Future;
use std::time::Duration;

/// No test waits longer for a single thing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The output of `future`, which must come in time.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing within {DEADLINE:?}"),
    }
}

/// Asks `look` again and again until it finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    within(what, async {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        loop {
            again.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    })
    .await
}
