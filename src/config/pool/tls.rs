//! `tls` of a pool: whom to trust of its origin servers, and who to be for them.

use crate::config::model::{OriginTls, PemPair};
use crate::config::pem;
use crate::config::read::{Diagnostic, Fault, Table};

/// Reads the table; without a server that is asked over TLS it has no effect.
pub(super) fn tls(table: &mut Table<'_>, any_tls: bool) -> OriginTls {
    if let Some(value) = table.value("tls")
        && !any_tls
    {
        value.warn(
            "`tls` has no effect",
            "no origin server of this pool is asked over TLS",
            "write the servers as \"https://HOST:PORT\"",
        );
    }
    table.section("tls", |table| {
        let verify = table.value("verify");
        if let Some(value) = verify.as_ref().filter(|value| value.is_false()) {
            value.warn(
                "the origin servers' certificates are not verified",
                "anyone on the way can answer in their place",
                "trust their own authority instead: ca = \"/path/to/ca.pem\"",
            );
        }
        OriginTls {
            verify: verify.and_then(|value| value.flag()).unwrap_or(true),
            ca: table.value("ca").and_then(|value| pem::roots(&value)),
            server_name: table.value("server_name").and_then(|value| value.parse("a host name", server_name)),
            identity: identity(table),
        }
    })
}

fn server_name(text: &str) -> Result<String, Fault> {
    rustls::pki_types::ServerName::try_from(text)
        .map(|_| text.to_ascii_lowercase())
        .map_err(|_| Fault::new("neither a host name nor an IP address"))
}

/// The certificate that is shown to origin servers.
fn identity(table: &mut Table<'_>) -> Option<PemPair> {
    let (absent, label) = match (table.value("cert"), table.value("key")) {
        (None, None) => return None,
        (Some(cert), Some(key)) => {
            return pem::pair(&cert, &key, &[]).map(|(cert, key)| PemPair { cert, key });
        }
        (None, Some(_)) => ("cert", "`cert` is missing"),
        (Some(_), None) => ("key", "`key` is missing"),
    };
    table.report_absent(
        &[absent],
        Diagnostic::error("a certificate and its key come as two files")
            .at(table.span.clone(), label)
            .help("write tls = { cert = \"/path/to/chain.pem\", key = \"/path/to/key.pem\" }"),
    );
    None
}
