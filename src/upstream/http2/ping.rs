//! Whether a server that says nothing is still there: it is sent a PING, which every one
//! that speaks HTTP/2 answers at once (RFC 9113 s6.7).

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use crate::upstream::stream::Traffic;

/// Ends once a PING was not answered `within` its time. One is sent where the server has
/// said nothing for as long as `every`, or twice that, while requests are under way.
pub(super) async fn until_missed(
    mut pings: PingPong,
    traffic: &Traffic,
    is_in_use: impl Fn() -> bool,
    (every, within): (Duration, Duration),
) {
    loop {
        sleep(every).await;
        if traffic.take_spoken() || !is_in_use() {
            continue;
        }
        let answer = timeout(within, pings.ping(Ping::opaque())).await;
        if !matches!(answer, Ok(Ok(_))) {
            return;
        }
    }
}
