//! Free ports for programs that must be told one. They lie below the range
//! from which the system takes the ports of outgoing connections, so that none
//! of these takes a port away between the choice and its use.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

const LOWEST: u16 = 10_000;

static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let start = usize::from(LOWEST) + seawall::base::random_below(usize::from(first_outgoing() - LOWEST));
    AtomicU16::new(u16::try_from(start).unwrap())
});

/// An address of 127.0.0.1 where nobody listens, never given out before.
pub(crate) fn free_address() -> SocketAddr {
    let limit = first_outgoing();
    for _ in LOWEST..limit {
        let taken = NEXT
            .fetch_update(Relaxed, Relaxed, |port| Some(if port + 1 < limit { port + 1 } else { LOWEST }));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, taken.unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port between {LOWEST} and {limit}");
}

fn first_outgoing() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok());
    first.filter(|first| *first > LOWEST + 1_000).unwrap_or(32_768)
}
