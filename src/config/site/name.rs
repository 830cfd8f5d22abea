//! The names of sites: a host, `*.` and a host, or `*`, in the form in which
//! hosts of requests are compared with them.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::config::read::Fault;

/// Brings a name into normal form: lower case, no trailing dot, IPv6 in brackets.
pub(super) fn host_pattern(text: &str) -> Result<Arc<str>, Fault> {
    if text == "*" {
        return Ok(text.into());
    }
    if let Some((_, host)) = text.split_once("://") {
        let host = host.split('/').next().unwrap_or_default();
        return Err(
            Fault::new("a scheme is no part of it").help(format!("write \"{}\"", host.escape_debug()))
        );
    }
    if let Some(address) = ipv6(text) {
        return Ok(format!("[{address}]").into());
    }
    if let Some((host, _)) = text.split_once(':') {
        return Err(Fault::new("a port is no part of it: the site answers on every port")
            .help(format!("write \"{}\"", host.escape_debug())));
    }
    if !text.is_ascii() {
        return Err(Fault::new("not ASCII").help("write the name as it stands in DNS, as \"xn--...\""));
    }
    let host = text.strip_prefix("*.").unwrap_or(text);
    if host.contains('*') {
        return Err(Fault::new("`*` stands only for whole labels in front").help("write \"*.example.com\""));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    check_labels(host)?;
    let star = if text.starts_with("*.") { "*." } else { "" };
    Ok(format!("{star}{}", host.to_ascii_lowercase()).into())
}

/// True for the names no public authority is asked about: they get a
/// certificate of the local one.
pub(super) fn is_local(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let under = |domain: &str| {
        host.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    under("localhost") || under("test") || is_address(host)
}

/// True for names that no public authority gives certificates for, though they
/// are not known to be local.
pub(super) fn is_private(name: &str) -> bool {
    let ends = [".local", ".internal", ".lan", ".intranet", ".home.arpa", ".localdomain"];
    !name.contains('.') || ends.iter().any(|end| name.ends_with(end))
}

/// True for a host in normal form for which a certificate can be ordered: by name,
/// which is one of hosts (RFC 1123 s2.1), and unless the directory is one's own, of
/// a name that is public.
pub fn is_orderable(host: &str, own_directory: bool) -> bool {
    let is_public = || !is_local(host) && !is_private(host);
    let is_of_host = |label: &str| !label.contains('_') && !label.starts_with('-') && !label.ends_with('-');
    check_labels(host).is_ok()
        && !is_address(host)
        && host.split('.').all(is_of_host)
        && (own_directory || is_public())
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || host.starts_with('[')
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
}

fn check_labels(host: &str) -> Result<(), Fault> {
    if host.is_empty() {
        return Err(Fault::new("an empty name"));
    }
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(unknown) = host.chars().find(|c| !known(*c)) {
        return Err(Fault::new(format!("`{}` does not stand in host names", unknown.escape_debug())));
    }
    if host.split('.').any(str::is_empty) {
        return Err(Fault::new("an empty label: two dots in a row, or one in front"));
    }
    if host.len() > 253 || host.split('.').any(|label| label.len() > 63) {
        return Err(Fault::new("too long: 63 bytes a label and 253 in all (RFC 1035 s2.3.4)"));
    }
    let is_numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_numeric && !is_address(host) {
        return Err(Fault::new("not an IPv4 address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_to_one_form() {
        for (text, normal) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("*.Example.com", "*.example.com"),
            ("*", "*"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(host_pattern(text).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            ".",
            "*.",
            "a..b",
            ".a",
            "a b",
            "https://a",
            "a:80",
            "a/b",
            "*a.b",
            "a.*.b",
            "*.*",
            "bücher.de",
            "256.1.1.1",
            "1.2.3",
            "[::1",
            "a@b",
        ] {
            assert!(host_pattern(text).is_err(), "{text}");
        }
        assert!(host_pattern(&"a".repeat(64)).is_err());
    }

    #[test]
    fn what_no_authority_certifies_is_not_orderable() {
        for host in ["example.com", "a-b.example.com", "xn--bcher-kva.example.com", "1.example.com"] {
            assert!(is_orderable(host, false), "{host}");
        }
        for host in ["localhost", "intranet", "a.local", "a.test"] {
            assert_eq!((is_orderable(host, false), is_orderable(host, true)), (false, true), "{host}");
        }
        for host in
            ["a_b.example.com", "-a.example.com", "a-.example.com", "a.-.com", "1.2.3.4", "[::1]", "*"]
        {
            assert_eq!((is_orderable(host, false), is_orderable(host, true)), (false, false), "{host}");
        }
    }

    #[test]
    fn local_names_are_known() {
        for name in ["localhost", "a.localhost", "*.localhost", "site.test", "127.0.0.1", "[::1]"] {
            assert!(is_local(name), "{name}");
        }
        for name in ["example.com", "notlocalhost", "*.example.com", "test.com", "*"] {
            assert!(!is_local(name), "{name}");
        }
    }
}
