//! `origins`: the servers of a pool, as `host:port`, URL or table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::model::{Listen, OriginProtocol, ServerConfig};
use crate::config::read::{Diagnostic, Fault, Table, Value};

const PLANNED_SCHEMES: [&str; 1] = ["srv://"];

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
    (&a.host, a.port, a.tls, &a.socket) == (&b.host, b.port, b.tls, &b.socket)
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
    let weight = weight.filter(|value| !value.is_zero()).and_then(|value| value.number(1..=1000));
    let backup = table.flag("backup", false);
    let http2 = table.value("http2");
    let server = url(&value)?;
    let protocol = match http2 {
        None => server.protocol,
        Some(value) => negotiated(&value, &server)?,
    };
    Some(ServerConfig {
        protocol,
        weight: weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1),
        backup,
        ..server
    })
}

/// `http2 = true`, for a server that may agree to it in the TLS handshake.
fn negotiated(value: &Value<'_>, server: &ServerConfig) -> Option<OriginProtocol> {
    match (value.flag()?, server.protocol) {
        (true, OriginProtocol::Http1) if !server.tls => {
            value.fault(Fault::new("there is no TLS to agree on it in").help("write \"h2c://HOST:PORT\""));
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
    if let Some(scheme) = PLANNED_SCHEMES.iter().find(|scheme| text.starts_with(**scheme)) {
        value.not_yet(
            &format!("`{scheme}` to origin servers"),
            "use \"http://HOST:PORT\" or \"https://HOST:PORT\"",
        );
        return None;
    }
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
        host: "localhost".to_owned(),
        port: 80,
        socket: Some(path.into()),
        tls: false,
        protocol: OriginProtocol::Http1,
        weight: 1,
        backup: false,
    })
}

/// Takes `host:port`, `http://host:port`, `https://host:port` and
/// `h2c://host:port`.
fn parse_server(text: &str) -> Result<ServerConfig, Fault> {
    use OriginProtocol::{Http1, Http2};
    let (tls, protocol, authority) = match text.split_once("://") {
        None => (false, Http1, text),
        Some(("http", rest)) => (false, Http1, rest),
        Some(("https", rest)) => (true, Http1, rest),
        Some(("h2c", rest)) => (false, Http2, rest),
        Some((scheme, _)) => {
            return Err(
                Fault::new(format!("unknown scheme `{scheme}`")).help("use http://, https:// or h2c://")
            );
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
    let (host, port) = host_and_port(authority, if tls { 443 } else { 80 })?;
    Ok(ServerConfig { label: text.into(), host, port, socket: None, tls, protocol, weight: 1, backup: false })
}

fn host_and_port(authority: &str, default_port: u16) -> Result<(String, u16), Fault> {
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
        return Ok((address.to_string(), port));
    }
    if is_host_name(host) {
        return Ok((host.to_ascii_lowercase(), port));
    }
    Err(Fault::new("not a host name or address")
        .help("write it as \"10.0.0.1:8080\" or \"https://app.internal\""))
}

/// A name of labels; `_` is in use between containers. What looks like an
/// IPv4 address has to be one.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_name = host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label);
    let is_numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_name && (!is_numeric || host.parse::<Ipv4Addr>().is_ok())
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
    if server.socket.is_some() {
        return false;
    }
    let ip = match server.host.as_str() {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse::<IpAddr>().ok(),
    };
    let is_here = |ip: IpAddr| ip == listened.ip() || listened.ip().is_unspecified() && ip.is_loopback();
    server.port == listened.port() && ip.is_some_and(|ip| is_here(ip) || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, u16, bool), String> {
        parse_server(text).map(|s| (s.host, s.port, s.tls)).map_err(|fault| fault.reason)
    }

    #[test]
    fn servers_are_taken_in_three_forms() {
        for (text, host, port, tls) in [
            ("10.0.0.1:8080", "10.0.0.1", 8080, false),
            ("app", "app", 80, false),
            ("my_app.internal:81", "my_app.internal", 81, false),
            ("http://App.Internal", "app.internal", 80, false),
            ("https://10.0.0.1", "10.0.0.1", 443, true),
            ("https://[2001:db8::1]:8443/", "2001:db8::1", 8443, true),
            ("[::1]", "::1", 80, false),
            ("h2c://10.0.0.1:50051", "10.0.0.1", 50051, false),
        ] {
            assert_eq!(parsed(text), Ok((host.to_owned(), port, tls)), "{text}");
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
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
