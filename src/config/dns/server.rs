//! `acme.dns` with the provider `rfc2136`: a name server that takes updates, and
//! the key to sign them with.

use std::net::{IpAddr, SocketAddr};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{domain, zones};
use crate::config::model::{DnsServer, Secret, TsigAlgorithm};
use crate::config::read::{Diagnostic, Fault, Table, Value};
use crate::config::secret;

const PORT: u16 = 53;

/// Reads the rest of the table; `written` is the name of the provider.
pub(super) fn read(written: &Value<'_>, table: &mut Table<'_>) -> Option<DnsServer> {
    let [server, key, secret] = ["server", "key", "secret"].map(|name| {
        let found = table.value(name);
        if found.is_none() {
            table.report_absent(&[name], missing(written, name));
        }
        found
    });
    let algorithm = table.value("algorithm").map(|value| value.choice(&TsigAlgorithm::ALL));
    let zones = zones(table);
    let address = server.and_then(|value| value.parse("an address", address));
    let key = key.and_then(|value| value.parse("the name of the key", domain));
    let secret = secret.and_then(|value| tsig(&value));
    let algorithm = algorithm.unwrap_or(Some(TsigAlgorithm::Sha256))?;
    Some(DnsServer { address: address?, key: key?, algorithm, secret: secret?, zones })
}

fn missing(written: &Value<'_>, name: &str) -> Diagnostic {
    Diagnostic::error(format!("`{name}` is missing")).at(written.span.clone(), "rfc2136 needs it").help(
        "write { provider = \"rfc2136\", server = \"10.0.0.53\", key = \"NAME\", secret = { file = ... } }",
    )
}

/// An address or a name, with a port where it is another than that of DNS.
fn address(text: &str) -> Result<String, Fault> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT).to_string());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    let (name, port) = text.split_once(':').unwrap_or((text, "53"));
    match (domain(name), port.parse::<u16>()) {
        (Ok(name), Ok(port)) => Ok(format!("{name}:{port}")),
        _ => Err(Fault::new("not an address").help("write it as \"10.0.0.53\" or \"ns1.example.com:5353\"")),
    }
}

/// The key as `tsig-keygen` prints it.
fn tsig(value: &Value<'_>) -> Option<Secret> {
    let written = secret::given(value)?;
    match BASE64_STANDARD.decode(written.bytes()) {
        Ok(key) if !key.is_empty() => Some(Secret::new(&key)),
        _ => {
            value.fault(
                Fault::new("not base64")
                    .help("write what stands between the quotes in `secret \"...\"` of tsig-keygen"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_or_a_name() {
        for (text, expected) in [
            ("10.0.0.53", Some("10.0.0.53:53")),
            ("10.0.0.53:5353", Some("10.0.0.53:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]", Some("[::1]:53")),
            ("[::1]:5353", Some("[::1]:5353")),
            ("NS1.example.com.", Some("ns1.example.com:53")),
            ("ns1.example.com:5353", Some("ns1.example.com:5353")),
            ("", None),
            ("ns1.example.com:", None),
            ("udp://10.0.0.53", None),
            ("ns 1", None),
        ] {
            assert_eq!(address(text).ok().as_deref(), expected, "{text}");
        }
    }
}
