//! `acme`: which certificate authority is asked, and how names are proven.

use super::model::{Acme, AcmeChallenge, Listen};
use super::pem;
use super::read::{Diagnostic, Fault, Table, Value, did_you_mean};

/// The authorities that have a name here.
const KNOWN: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

/// Authorities that want an account made by hand first (RFC 8555 s7.3.4).
const NEED_EXTERNAL_ACCOUNT: [&str; 3] = ["zerossl", "google", "sslcom"];

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>, listen: &Listen) -> Acme {
    table.not_yet(&["dns", "eab", "on_demand", "notify"]);
    if let Some(profile) = table.value("profile")
        && profile.text().is_some_and(|name| name != "default")
    {
        profile.not_yet("a certificate profile", "leave it out, or write \"default\"");
    }
    let directories = directories(table);
    let ca = table.value("ca").and_then(|value| pem::roots(&value));
    let is_public = |url: &String| KNOWN.iter().any(|(_, known)| known == url);
    Acme {
        own_directory: ca.is_some() || directories.first().is_some_and(|url| !is_public(url)),
        directories,
        challenges: challenges(table, listen),
        ca,
    }
}

fn directories(table: &mut Table<'_>) -> Vec<String> {
    let default = || KNOWN.iter().take(1).map(|(_, url)| (*url).to_owned()).collect();
    let Some(value) = table.value("directory") else { return default() };
    let items = value.items_or_one();
    if value.is_empty_list() {
        value.fault(Fault::new("an empty list").help("leave it out for Let's Encrypt"));
    }
    if let Some(second) = items.get(1) {
        second.warn(
            "only the first directory is used",
            "not asked in this version",
            "falling back to another authority is not supported yet",
        );
    }
    items.iter().filter_map(|item| item.parse("a name or a URL", directory)).collect()
}

fn directory(text: &str) -> Result<String, Fault> {
    if let Some((_, url)) = KNOWN.iter().find(|(name, _)| *name == text) {
        return Ok((*url).to_owned());
    }
    if NEED_EXTERNAL_ACCOUNT.contains(&text) {
        return Err(Fault::new("needs external account binding (`eab`), which is not supported yet"));
    }
    if text.starts_with("http://") {
        return Err(Fault::new("a directory is asked over https (RFC 8555 s6.1)"));
    }
    if text.starts_with("https://") {
        let is_url =
            text.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        return if is_url { Ok(text.to_owned()) } else { Err(Fault::new("not a URL")) };
    }
    let names = KNOWN.map(|(name, _)| name);
    let help = match did_you_mean(text, names) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("known are {}; any other is written as its https URL", names.join(", ")),
    };
    Err(Fault::new("neither a known authority nor a URL").help(help))
}

fn challenges(table: &mut Table<'_>, listen: &Listen) -> Vec<AcmeChallenge> {
    let Some(value) = table.value("challenges") else {
        return vec![AcmeChallenge::TlsAlpn01, AcmeChallenge::Http01];
    };
    let challenges: Vec<_> = value.items_or_one().iter().filter_map(challenge).collect();
    if value.is_empty_list() {
        value.fault(Fault::new("an empty list").help("leave it out for both"));
    }
    if challenges == [AcmeChallenge::Http01] && listen.http.is_empty() {
        table.reading.report(
            Diagnostic::error("http-01 needs an address for cleartext")
                .at(value.span.clone(), "the only challenge")
                .help("add \"tls-alpn-01\", or an address to `listen.http`"),
        );
    }
    challenges
}

fn challenge(value: &Value<'_>) -> Option<AcmeChallenge> {
    if value.is_word("dns-01") {
        value.not_yet("dns-01", "use \"tls-alpn-01\" or \"http-01\"");
        return None;
    }
    value.choice(&[("tls-alpn-01", AcmeChallenge::TlsAlpn01), ("http-01", AcmeChallenge::Http01)])
}
