//! `tls` of a site: where its certificate comes from, and whom of its clients it
//! asks for one.

use std::path::PathBuf;
use std::sync::Arc;

use super::name::{is_local, is_private};
use crate::config::model::{ClientAuth, PemPair, SiteTls};
use crate::config::read::{Diagnostic, Fault, Span, Table, Value, did_you_mean};
use crate::config::{Around, pem};

/// Reads the key for a site of these names. Where nothing listens for https,
/// TLS ends elsewhere and is off here.
pub(super) fn tls(
    table: &mut Table<'_>,
    names: &[Arc<str>],
    name_span: &Span,
    around: &Around<'_>,
) -> (SiteTls, Option<ClientAuth>) {
    let written = table.value("tls");
    let span = written.as_ref().map_or_else(|| name_span.clone(), |value| value.span.clone());
    let (tls, client_auth) = match &written {
        None if around.listen.https.is_empty() => (SiteTls::Off, None),
        None => (automatic(table, names, span.clone(), around), None),
        Some(value) if value.is_table() => {
            value.table_or_empty(|table| in_full(table, names, span.clone(), around))
        }
        Some(value) => {
            let tls = match word(value) {
                Some(Word::Auto) => automatic(table, names, span.clone(), around),
                Some(Word::Internal) | None => SiteTls::Internal,
                Some(Word::Off) => SiteTls::Off,
            };
            (tls, None)
        }
    };
    check_reachable(table, written.as_ref(), &span, &tls, around);
    (tls, client_auth)
}

#[derive(Clone, Copy)]
enum Word {
    Auto,
    Internal,
    Off,
}

fn word(value: &Value<'_>) -> Option<Word> {
    let words = [("auto", Word::Auto), ("internal", Word::Internal), ("off", Word::Off)];
    value.parse("\"auto\", \"internal\", \"off\" or { cert = \"...\", key = \"...\" }", |text| {
        if let Some((_, word)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*word);
        }
        let near = did_you_mean(text, words.map(|(word, _)| word));
        let all = || "it is \"auto\", \"internal\", \"off\" or { cert = \"...\", key = \"...\" }".to_owned();
        Err(Fault::new("unknown word")
            .help(near.map_or_else(all, |near| format!("did you mean \"{near}\"?"))))
    })
}

/// The local authority for local names, a public one for all others.
fn automatic(table: &Table<'_>, names: &[Arc<str>], span: Span, around: &Around<'_>) -> SiteTls {
    let locally = |name: &&Arc<str>| is_local(name) && !around.acme.own_directory;
    let Some(ordered) = names.iter().find(|name| !locally(name)) else { return SiteTls::Internal };
    let error = |title: String, label: &str, help: &str| {
        table.reading.report(Diagnostic::error(title).at(span.clone(), label).help(help));
    };
    let own = "write tls = \"internal\" for the local authority, or tls = { cert = \"...\", key = \"...\" }";
    let is_open = |name: &Arc<str>| around.acme.is_open(name);
    let on_demand = around.acme.on_demand.is_some() && names.iter().any(is_open);
    if !on_demand && names.iter().any(|name| &**name == "*") {
        let help = format!("set `acme.on_demand`, to order for each host that you allow; or {own}");
        error("no certificate can be ordered for every host".to_owned(), "\"*\" is not a name", &help);
    } else if !on_demand && let Some(wildcard) = names.iter().find(|name| is_open(name) && !locally(name)) {
        let title = format!("a certificate for `{wildcard}` needs dns-01");
        let help = format!("set `acme.dns`, so that a record can prove it, or `acme.on_demand`; or {own}");
        error(title, "a wildcard is ordered by dns-01 only", &help);
    } else if let Some(local) = names.iter().find(locally) {
        let title = format!("no authority gives one certificate for `{local}` and `{ordered}`");
        error(title, "the one is local, the other public", "make them two sites, or set `tls`");
    } else if let Some(private) =
        names.iter().find(|name| &***name != "*" && is_private(name) && !around.acme.own_directory)
    {
        table.reading.report(
            Diagnostic::warning(format!("no public authority gives a certificate for `{private}`"))
                .at(span, "the name is private")
                .help(own),
        );
    }
    if on_demand { SiteTls::OnDemand } else { SiteTls::Acme }
}

/// Files of one's own, a CA for clients, or both.
fn in_full(
    table: &mut Table<'_>,
    names: &[Arc<str>],
    span: Span,
    around: &Around<'_>,
) -> (SiteTls, Option<ClientAuth>) {
    let (client_ca, client_auth) = (table.value("client_ca"), table.value("client_auth"));
    let files = (table.value("cert"), table.value("key"));
    let tls = match &files {
        (None, None) if client_ca.is_some() || client_auth.is_some() => automatic(table, names, span, around),
        // After an error, a value from which no other one follows.
        (cert, key) => self::files(table, cert.as_ref(), key.as_ref(), names).unwrap_or(SiteTls::Internal),
    };
    let required = client_auth
        .as_ref()
        .is_none_or(|value| value.choice(&[("required", true), ("optional", false)]).unwrap_or(true));
    if let (None, Some(value)) = (&client_ca, &client_auth) {
        let help = "add client_ca = \"/path/to/ca.pem\", whose certificates clients have to show";
        value.fault(Fault::new("there is no `client_ca` to hold clients to").help(help));
    }
    let client_auth =
        client_ca.map(|value| ClientAuth { ca: pem::roots(&value).unwrap_or_default(), required });
    (tls, client_auth)
}

fn files(
    table: &Table<'_>,
    cert: Option<&Value<'_>>,
    key: Option<&Value<'_>>,
    names: &[Arc<str>],
) -> Option<SiteTls> {
    if let (Some(cert), Some(key)) = (cert, key) {
        return pairs(cert, key, names).map(SiteTls::Files);
    }
    let (absent, label): (&[_], _) = match (cert, key) {
        (None, Some(_)) => (&["cert"], "`cert` is missing"),
        (Some(_), None) => (&["key"], "`key` is missing"),
        _ => (&["cert", "key", "client_ca"], "`cert` and `key` are missing"),
    };
    table.report_absent(
        absent,
        Diagnostic::error("a certificate and its key come as two files")
            .at(table.span.clone(), label)
            .help("write tls = { cert = \"/path/to/chain.pem\", key = \"/path/to/key.pem\" }"),
    );
    None
}

/// One certificate, or one for each kind of key.
fn pairs(cert: &Value<'_>, key: &Value<'_>, names: &[Arc<str>]) -> Option<Vec<PemPair>> {
    let (certs, keys) = (cert.items_or_one(), key.items_or_one());
    if certs.is_empty() || certs.len() != keys.len() {
        let fault = Fault::new("not one key for each certificate");
        key.fault(
            fault.help("write cert = [\"ecdsa.pem\", \"rsa.pem\"], key = [\"ecdsa.key\", \"rsa.key\"]"),
        );
        return None;
    }
    let read = certs.iter().zip(&keys).map(|(cert, key)| pem::pair(cert, key, names));
    // All of them, so that each is reported of.
    let read: Vec<Option<(PathBuf, PathBuf)>> = read.collect();
    read.into_iter().map(|pair| pair.map(|(cert, key)| PemPair { cert, key })).collect()
}

/// A site that no address leads to, or whose certificate nobody would see.
fn check_reachable(
    table: &Table<'_>,
    written: Option<&Value<'_>>,
    span: &Span,
    tls: &SiteTls,
    around: &Around<'_>,
) {
    let is_off = *tls == SiteTls::Off;
    if !is_off && around.listen.https.is_empty() {
        table.reading.report(
            Diagnostic::error("the site has a certificate, but nothing listens for https")
                .at(span.clone(), "never shown to a client")
                .help("write tls = \"off\", or give `listen.https` an address"),
        );
    }
    if is_off && around.listen.http.is_empty() && written.is_some_and(|value| value.is_word("off")) {
        table.reading.report(
            Diagnostic::error("the site has no TLS, but nothing listens for http")
                .at(span.clone(), "no request can reach it")
                .help("give `listen.http` an address"),
        );
    }
}
