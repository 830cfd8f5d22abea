//! `origins`: the servers of a pool, as `host:port`, URL or table; or the names
//! under which they are found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::model::{Listen, Location, OriginProtocol, ServerConfig};
use crate::config::read::{Diagnostic, Fault, Table, Value};

/// Reads the list; at least one server takes requests while all are up.
pub(crate) fn servers(value: &Value<'_>, listen: &Listen) -> Vec<ServerConfig> {
    let items = value.items().unwrap_or_default();
    if value.is_empty_list() {
        value.fault(Fault::new("a list without servers").help("write origins = [\"10.0.0.1:8080\"]"));
    }
    let read: Vec<_> = items.iter().filter_map(|item| Some((item, server(item)?))).collect();
    for (index, (item, server)) in read.iter().enumerate() {
        let earlier = read.iter().take(index).find(|(_, other)| is_same(server, other));
        if let Some((other, _)) = earlier {
            item.reading.report(
                Diagnostic::error(format!("the server `{}` is listed twice", server.label))
                    .at(item.span.clone(), "here again")
                    .context(other.span.clone(), "first here")
                    .help("for a larger share write { url = \"...\", weight = 2 }"),
            );
        }
        warn_of_loop(item, server, listen);
    }
    let servers: Vec<_> = read.into_iter().map(|(_, server)| server).collect();
    if !servers.is_empty() && servers.len() == items.len() && servers.iter().all(|server| server.backup) {
        value.fault(Fault::new("every server is a backup").help("at least one must not be"));
    }
    servers
}

fn is_same(a: &ServerConfig, b: &ServerConfig) -> bool {
    (&a.location, a.tls) == (&b.location, b.tls)
}

fn server(value: &Value<'_>) -> Option<ServerConfig> {
    if value.is_table() {
        return value.table(server_table).flatten();
    }
    url(value)
}

fn server_table(table: &mut Table<'_>) -> Option<ServerConfig> {
    let Some(value) = table.value("url") else {
        table.report_absent(
            &["url"],
            Diagnostic::error("an origin server without `url`")
                .at(table.span.clone(), "which server is meant?")
                .help("write { url = \"http://10.0.0.1:8080\", weight = 2 }"),
        );
        table.value("weight");
        table.value("backup");
        return None;
    };
    let weight = table.value("weight");
    if let Some(zero) = weight.as_ref().filter(|value| value.is_zero()) {
        zero.fault(
            Fault::new("a server of weight 0 gets no requests")
                .help("take it out, or write `backup = true` for one that is used when all others are down"),
        );
    }
    let weight = weight.filter(|value| !value.is_zero());
    let backup = table.flag("backup", false);
    let http2 = table.value("http2");
    let server = url(&value)?;
    if let (Some(weight), Location::Service(_)) = (&weight, &server.location) {
        weight.fault(
            Fault::new("the servers of a service have weights of their own")
                .help("DNS tells them, in its SRV records"),
        );
    }
    let protocol = match http2 {
        None => server.protocol,
        Some(value) => negotiated(&value, &server)?,
    };
    let weight = weight.and_then(|value| value.number(1..=1000));
    let weight = weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1);
    Some(ServerConfig { protocol, weight, backup, ..server })
}

/// `http2 = true`, for a server that may agree to it in the TLS handshake.
fn negotiated(value: &Value<'_>, server: &ServerConfig) -> Option<OriginProtocol> {
    match (value.flag()?, server.protocol) {
        (true, OriginProtocol::Http1) if !server.tls => {
            let help = match server.location {
                Location::Service(_) => "write \"srv+https://NAME\", or \"srv+h2c://NAME\"",
                _ => "write \"h2c://HOST:PORT\"",
            };
            value.fault(Fault::new("there is no TLS to agree on it in").help(help));
            None
        }
        (true, OriginProtocol::Http1) => Some(OriginProtocol::Negotiated),
        (false, OriginProtocol::Http2) => {
            value.fault(Fault::new("`h2c://` is HTTP/2").help("write \"http://HOST:PORT\""));
            None
        }
        (_, protocol) => Some(protocol),
    }
}

fn url(value: &Value<'_>) -> Option<ServerConfig> {
    let text = value.text()?;
    if let Some(path) = text.strip_prefix("unix:") {
        return socket(value, text, path);
    }
    value.parse("a server such as \"10.0.0.1:8080\"", parse_server)
}

/// A Unix socket, on which HTTP/1.1 is spoken.
fn socket(value: &Value<'_>, text: &str, path: &str) -> Option<ServerConfig> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.contains('\0') {
        value.fault(Fault::new("not the path of a socket").help("write \"unix:/run/app.sock\""));
        return None;
    }
    Some(ServerConfig {
        label: text.into(),
        location: Location::Socket(path.into()),
        tls: false,
        protocol: OriginProtocol::Http1,
        weight: 1,
        backup: false,
    })
}

/// Takes `host:port`, `SCHEME://host:port`, `srv://name` and `srv+SCHEME://name`,
/// where the scheme is http, https or h2c.
fn parse_server(text: &str) -> Result<ServerConfig, Fault> {
    use OriginProtocol::{Http1, Http2};
    let (scheme, authority) = text.split_once("://").unwrap_or(("http", text));
    let service = if scheme == "srv" { Some("http") } else { scheme.strip_prefix("srv+") };
    let (tls, protocol) = match service.unwrap_or(scheme) {
        "http" => (false, Http1),
        "https" => (true, Http1),
        "h2c" => (false, Http2),
        _ => {
            return Err(Fault::new(format!("unknown scheme `{scheme}`"))
                .help("use http://, https:// or h2c://, or srv:// for a service in DNS"));
        }
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#']) {
        return Err(Fault::new("an origin server has no path")
            .help("requests are passed on with the path they came with"));
    }
    if authority.contains('@') {
        return Err(Fault::new("user and password do not belong here"));
    }
    let location = match service {
        Some(_) => service_name(authority)?,
        None => host_and_port(authority, if tls { 443 } else { 80 })?,
    };
    Ok(ServerConfig { label: text.into(), location, tls, protocol, weight: 1, backup: false })
}

/// The name of SRV records, which have the ports.
fn service_name(name: &str) -> Result<Location, Fault> {
    let help = "write it as \"srv://_http._tcp.app.internal\"";
    if name.parse::<IpAddr>().is_ok() || name.starts_with('[') {
        return Err(Fault::new("an address is no service").help(help));
    }
    if name.contains(':') {
        return Err(
            Fault::new("a service has no port here").help("DNS tells the ports of its servers: leave it out")
        );
    }
    match is_host_name(name) {
        true => Ok(Location::Service(name.to_ascii_lowercase())),
        false => Err(Fault::new("not the name of a service").help(help)),
    }
}

fn host_and_port(authority: &str, default_port: u16) -> Result<Location, Fault> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(
            Fault::new("an IPv6 address without brackets").help(format!("write \"[{authority}]:8080\""))
        );
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|number| *number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| Fault::new("the port is not a number from 1 to 65535"))?,
    };
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        let address = address.ok_or_else(|| Fault::new("not an IPv6 address in brackets"))?;
        return Ok(Location::Address(SocketAddr::new(address.into(), port)));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Location::Address(SocketAddr::new(address.into(), port)));
    }
    if is_host_name(host) {
        return Ok(Location::Host(host.to_ascii_lowercase(), port));
    }
    Err(Fault::new("not a host name or address")
        .help("write it as \"10.0.0.1:8080\" or \"https://app.internal\""))
}

/// A name of labels; `_` is in use between containers. What looks like an
/// IPv4 address is none.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_name = host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label);
    let is_numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_name && !is_numeric
}

fn warn_of_loop(item: &Value<'_>, server: &ServerConfig, listen: &Listen) {
    let listened = listen.http.iter().chain(&listen.https).find(|address| leads_to(server, **address));
    if let Some(address) = listened {
        item.warn(
            format!("the server `{}` is this proxy itself", server.label),
            &format!("clients are listened for on {address}"),
            "requests would go round in a loop: name the address of the origin server",
        );
    }
}

fn leads_to(server: &ServerConfig, listened: SocketAddr) -> bool {
    let to = match &server.location {
        Location::Address(address) => *address,
        Location::Host(name, port) if name == "localhost" => (Ipv4Addr::LOCALHOST, *port).into(),
        _ => return false,
    };
    let is_here = to.ip() == listened.ip() || listened.ip().is_unspecified() && to.ip().is_loopback();
    to.port() == listened.port() && (is_here || to.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, OriginProtocol), String> {
        parse_server(text).map(|it| (it.url(), it.protocol)).map_err(|fault| fault.reason)
    }

    #[test]
    fn servers_are_taken_in_several_forms() {
        use OriginProtocol::{Http1, Http2};
        for (text, url, protocol) in [
            ("10.0.0.1:8080", "http://10.0.0.1:8080", Http1),
            ("app", "http://app:80", Http1),
            ("my_app.internal:81", "http://my_app.internal:81", Http1),
            ("http://App.Internal", "http://app.internal:80", Http1),
            ("https://10.0.0.1", "https://10.0.0.1:443", Http1),
            ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443", Http1),
            ("[::1]", "http://[::1]:80", Http1),
            ("h2c://10.0.0.1:50051", "http://10.0.0.1:50051", Http2),
            ("srv://_http._tcp.App.internal", "srv+http://_http._tcp.app.internal", Http1),
            ("srv+https://app.service.consul/", "srv+https://app.service.consul", Http1),
            ("srv+h2c://_grpc._tcp.app", "srv+http://_grpc._tcp.app", Http2),
        ] {
            assert_eq!(parsed(text), Ok((url.to_owned(), protocol)), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            ":80",
            "http://",
            "a b:80",
            "::1",
            "[::1",
            "[::g]:80",
            "10.0.0.256:80",
            "app:0",
            "app:+80",
            "app:x",
            "app:99999",
            "ftp://app",
            "http://u:p@app",
            "http://app/base",
            "app?x",
            "a..b:80",
            "http://http://a",
            "srv://",
            "srv://app:80",
            "srv://10.0.0.1",
            "srv://[::1]",
            "srv+unix://app",
            "srv+srv://app",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
