//! `resolver`: the DNS server that is asked in place of the system's. An address,
//! for somebody would have to be asked for a name.

use std::net::{IpAddr, SocketAddr};

use super::read::{Fault, Value};

/// Where DNS servers listen.
const DNS_PORT: u16 = 53;

/// Reads the value.
pub(super) fn resolver(value: &Value<'_>) -> Option<SocketAddr> {
    value.parse("an address", parse)
}

fn parse(text: &str) -> Result<SocketAddr, Fault> {
    let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
    alone.or_else(|_| text.parse()).map_err(|_| {
        Fault::new("not an IP address").help("write it as \"127.0.0.1\", or with a port as \"[::1]:5353\"")
    })
}
