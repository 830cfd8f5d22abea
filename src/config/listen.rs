//! `listen`: where connections come in, and who is believed in whose they are.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::model::Listen;
use super::read::{Diagnostic, Fault, Span, Table, Value};

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>) -> Listen {
    table.not_yet(&["http3", "quic"]);
    let mut taken = Vec::new();
    let listen = Listen {
        http: addresses(table, "http", 80, &mut taken),
        https: addresses(table, "https", 443, &mut taken),
        trusted_proxies: networks(table, "trusted_proxies", "every client is a trusted proxy"),
        proxy_protocol_from: networks(
            table,
            "proxy_protocol_from",
            "every client may say in a PROXY header who it is",
        ),
    };
    let is_empty = |value: Option<Value<'_>>| value.is_some_and(|value| value.is_empty_list());
    if is_empty(table.value("http")) && is_empty(table.value("https")) {
        table.reading.report(
            Diagnostic::error("there is no address to listen on")
                .at(table.span.clone(), "both `http` and `https` are empty")
                .help("leave one of them out for its default: \"[::]:80\", \"[::]:443\""),
        );
    }
    listen
}

fn addresses(
    table: &mut Table<'_>,
    key: &'static str,
    default_port: u16,
    taken: &mut Vec<(SocketAddr, Span)>,
) -> Vec<SocketAddr> {
    let Some(items) = table.value(key) else {
        return vec![SocketAddr::from(([0u16; 8], default_port))];
    };
    let mut addresses = Vec::new();
    for item in items.items().unwrap_or_default() {
        let Some(address) = item.address() else { continue };
        if let Some((other, span)) = taken.iter().find(|(other, _)| collide(address, *other)) {
            report_collision(&item, address, *other, span.clone());
        }
        taken.push((address, item.span.clone()));
        addresses.push(address);
    }
    addresses
}

/// True if one socket would take what belongs to the other; `[::]` takes IPv4
/// too, and port 0 is a free port each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let takes_ipv4 = |ip: IpAddr| ip == IpAddr::from([0u16; 8]);
    let dual_stack = takes_ipv4(a.ip()) && b.ip() == IpAddr::from([0u8; 4])
        || takes_ipv4(b.ip()) && a.ip() == IpAddr::from([0u8; 4]);
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || dual_stack)
}

fn report_collision(item: &Value<'_>, address: SocketAddr, other: SocketAddr, other_span: Span) {
    let diagnostic = Diagnostic::error(format!("{address} is listened on twice"))
        .at(item.span.clone(), "here again")
        .context(other_span, "first here");
    item.reading.report(if address == other {
        diagnostic
    } else {
        diagnostic.help("`[::]` takes IPv4 as well as IPv6: leave `0.0.0.0` out")
    });
}

/// Networks of load balancers; `open` says what it means that all are among them.
fn networks(table: &mut Table<'_>, key: &'static str, open: &str) -> Vec<IpNet> {
    table.list(key, |value| network(&value, open)).unwrap_or_default()
}

/// A network in CIDR form, or one address.
fn network(value: &Value<'_>, open: &str) -> Option<IpNet> {
    let network = value.parse("a network such as \"10.0.0.0/8\"", |text| {
        let network = text.parse::<IpNet>().ok();
        network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(|| {
            Fault::new("neither an address nor a network").help("write it as \"10.0.0.0/8\" or \"10.0.0.7\"")
        })
    })?;
    if network.prefix_len() == 0 {
        value.warn(
            open,
            "this is every address",
            "name the networks of your load balancers: what others claim to be is believed otherwise",
        );
    }
    if network.trunc() != network {
        let meant = network.trunc();
        value.warn(
            format!("{network} means {meant}"),
            "bits beyond the prefix",
            &format!("write \"{meant}\""),
        );
    }
    Some(network.trunc())
}
