//! `tls` of a site: where its certificate comes from.

use std::sync::Arc;

use super::name::{is_local, is_private};
use crate::config::model::{AcmeChallenge, SiteTls};
use crate::config::read::{Diagnostic, Fault, Span, Table, Value, did_you_mean};
use crate::config::{Around, pem};

/// Reads the key for a site of these names. Where nothing listens for https,
/// TLS ends elsewhere and is off here.
pub(super) fn tls(
    table: &mut Table<'_>,
    names: &[Arc<str>],
    name_span: &Span,
    around: &Around<'_>,
) -> SiteTls {
    let written = table.value("tls");
    let span = written.as_ref().map_or_else(|| name_span.clone(), |value| value.span.clone());
    let tls = match &written {
        None if around.listen.https.is_empty() => SiteTls::Off,
        None => automatic(table, names, span.clone(), around),
        Some(value) if value.is_table() => {
            // After an error, a value from which no other one follows.
            value.table(|table| files(table, names)).flatten().unwrap_or(SiteTls::Internal)
        }
        Some(value) => match word(value) {
            Some(Word::Auto) => automatic(table, names, span.clone(), around),
            Some(Word::Internal) | None => SiteTls::Internal,
            Some(Word::Off) => SiteTls::Off,
        },
    };
    check_reachable(table, written.as_ref(), &span, &tls, around);
    tls
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
    if names.iter().any(|name| &**name == "*") {
        error("no certificate can be ordered for every host".to_owned(), "\"*\" is not a name", own);
    } else if let Some(wildcard) = names.iter().find(|name| name.starts_with("*.") && !locally(name))
        && !around.acme.challenges.contains(&AcmeChallenge::Dns01)
    {
        let title = format!("a certificate for `{wildcard}` needs dns-01");
        let help = format!("set `acme.dns`, so that a record can prove it; or {own}");
        error(title, "a wildcard is ordered by dns-01 only", &help);
    } else if let Some(local) = names.iter().find(locally) {
        let title = format!("no authority gives one certificate for `{local}` and `{ordered}`");
        error(title, "the one is local, the other public", "make them two sites, or set `tls`");
    } else if let Some(private) = names.iter().find(|name| is_private(name) && !around.acme.own_directory) {
        table.reading.report(
            Diagnostic::warning(format!("no public authority gives a certificate for `{private}`"))
                .at(span, "the name is private")
                .help(own),
        );
    }
    SiteTls::Acme
}

fn files(table: &mut Table<'_>, names: &[Arc<str>]) -> Option<SiteTls> {
    table.not_yet(&["client_ca"]);
    let (cert, key) = (table.value("cert"), table.value("key"));
    if let (Some(cert), Some(key)) = (&cert, &key) {
        let (cert, key) = pem::pair(cert, key, names)?;
        return Some(SiteTls::Files { cert, key });
    }
    let (absent, label): (&[_], _) = match (&cert, &key) {
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
