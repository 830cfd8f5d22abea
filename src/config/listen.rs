//! `listen`: where connections come in, and who is believed in whose they are.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::model::Listen;
use super::read::{Diagnostic, Fault, Reading, Span, Table, Value};

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>) -> Listen {
    table.not_yet(&["http3", "quic"]);
    let mut taken = Taken::new();
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

/// The addresses so far: where each is written, or the key that has it by default.
type Taken = Vec<(SocketAddr, Result<Span, &'static str>)>;

fn addresses(
    table: &mut Table<'_>,
    key: &'static str,
    default_port: u16,
    taken: &mut Taken,
) -> Vec<SocketAddr> {
    let Some(items) = table.value(key) else {
        let default = SocketAddr::from(([0u16; 8], default_port));
        if let Some((_, Ok(span))) = taken.iter().find(|(other, _)| collide(default, *other)) {
            report_default(table.reading, default, span.clone(), key);
        }
        taken.push((default, Err(key)));
        return vec![default];
    };
    let mut addresses = Vec::new();
    for item in items.items().unwrap_or_default() {
        let Some(address) = item.address() else { continue };
        match taken.iter().find(|(other, _)| collide(address, *other)) {
            Some((other, Ok(span))) => report_collision(&item, address, *other, span.clone()),
            Some((other, Err(key))) => report_default(item.reading, *other, item.span.clone(), key),
            None => {}
        }
        taken.push((address, Ok(item.span.clone())));
        addresses.push(address);
    }
    addresses
}

/// True if one socket would take what belongs to the other; `[::]` takes IPv4
/// too, and port 0 is a free port each time.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
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

/// What is written at `span` is where `key` listens, which is not written.
fn report_default(reading: &Reading<'_>, default: SocketAddr, span: Span, key: &str) {
    reading.report(
        Diagnostic::error(format!("{default} is listened on twice"))
            .at(span, format!("`{key}` has it, too: that is its default"))
            .help(format!("write where `{key}` listens, or {key} = [] for nowhere")),
    );
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
