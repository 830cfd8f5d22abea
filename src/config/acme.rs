//! `acme`: which certificate authority is asked, and how names are proven.

use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

use super::model::{Acme, AcmeChallenge, ExternalAccount, Frequency, Listen, OnDemand, Secret, Webhook};
use super::read::{Diagnostic, Fault, Table, Value, did_you_mean, frequency};
use super::resolver::resolver;
use super::{dns, pem, secret, webhook};

/// The authorities that have a name here.
const KNOWN: [(&str, &str); 5] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
    ("google", "https://dv.acme-v02.api.pki.goog/directory"),
    ("sslcom", "https://acme.ssl.com/sslcom-dv-ecc"),
];

/// Those of them that want an account made by other means first (RFC 8555
/// s7.3.4).
const NEED_EXTERNAL_ACCOUNT: [&str; 3] = ["zerossl", "google", "sslcom"];

/// So many names may get their first certificate because clients ask for them.
const ORDERS_ON_DEMAND: Frequency = Frequency { times: 20, within: Duration::from_secs(60) };

/// The profile that is meant where none is written.
const DEFAULT_PROFILE: &str = "default";

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>, listen: &Listen) -> Acme {
    let profile = table.value("profile").and_then(|value| value.parse("the name of a profile", profile));
    let external = table.value("eab");
    let directories = directories(table, external.is_some());
    let ca = table.value("ca").and_then(|value| pem::roots(&value));
    let written = table.value("dns");
    let dns = written.as_ref().and_then(dns::read);
    let is_public = |url: &String| KNOWN.iter().any(|(_, known)| known == url);
    Acme {
        preflight: table.flag("preflight", ca.is_none()),
        resolver: table.value("resolver").and_then(|value| resolver(&value)),
        own_directory: ca.is_some() || directories.first().is_some_and(|url| !is_public(url)),
        directories,
        challenges: challenges(table, listen, written.is_some()),
        ca,
        profile: profile.filter(|profile| profile != DEFAULT_PROFILE),
        external_account: external.and_then(|value| value.table(external_account)).flatten(),
        dns,
        on_demand: table.value("on_demand").and_then(|value| on_demand(&value)),
        notify: table.value("notify").and_then(|value| webhook::read(&value)),
    }
}

/// After an error, a value from which no other one follows.
fn on_demand(value: &Value<'_>) -> Option<OnDemand> {
    value.table(|table| {
        let token = webhook::token(table);
        let orders = table.value("orders").and_then(|value| value.parse("such as \"20/1m\"", frequency));
        let ask = table.value("ask");
        if ask.is_none() {
            table.report_absent(
                &["ask"],
                Diagnostic::error("`on_demand` without `ask`")
                    .at(table.span.clone(), "anybody could have certificates ordered for any name")
                    .help(
                        "write on_demand = { ask = \"http://127.0.0.1:9000/allowed\" }: it is asked with \
                         ?domain=NAME, and answers 200 for the names that are yours",
                    ),
            );
        }
        let url = ask.and_then(|ask| webhook::url(&ask)).unwrap_or_default();
        OnDemand { ask: Webhook { url, token }, orders: orders.unwrap_or(ORDERS_ON_DEMAND) }
    })
}

fn profile(text: &str) -> Result<String, Fault> {
    match text.is_empty() {
        true => Err(Fault::new("an empty name").help("leave it out for the default")),
        false => Ok(text.to_owned()),
    }
}

fn external_account(table: &mut Table<'_>) -> Option<ExternalAccount> {
    let (kid, hmac) = (table.value("kid"), table.value("hmac"));
    if kid.is_none() || hmac.is_none() {
        table.reading.report(
            Diagnostic::error("an external account is a name and a key")
                .at(table.span.clone(), "one of them is missing")
                .help("write eab = { kid = \"...\", hmac = { env = \"NAME\" } }"),
        );
    }
    let kid = kid?.parse("the name of the account", |text| Ok(text.to_owned()));
    let hmac = hmac.and_then(|value| {
        let written = secret::read(&value)?;
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(without_padding(written.bytes()));
        match decoded {
            Ok(key) => Some(Secret::new(&key)),
            Err(_) => {
                value.fault(Fault::new("not base64url").help("write the key as the authority gives it"));
                None
            }
        }
    });
    Some(ExternalAccount { kid: kid?, hmac: hmac? })
}

/// Some authorities write the key with padding, which base64url leaves out.
fn without_padding(written: &[u8]) -> &[u8] {
    let length = written.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    &written[..length]
}

fn directories(table: &mut Table<'_>, has_external_account: bool) -> Vec<String> {
    let default = || KNOWN.iter().take(1).map(|(_, url)| (*url).to_owned()).collect();
    let Some(value) = table.value("directory") else { return default() };
    let items = value.items_or_one();
    if value.is_empty_list() {
        value.fault(Fault::new("an empty list").help("leave it out for Let's Encrypt"));
    }
    let mut bound = items.iter().filter(|item| NEED_EXTERNAL_ACCOUNT.iter().any(|name| item.is_word(name)));
    if let Some(second) = bound.nth(1) {
        second
            .fault(Fault::new("`eab` is an account at one authority").help("keep one of those that need it"));
    }
    let of = |text: &str| directory(text, has_external_account);
    items.iter().filter_map(|item| item.parse("a name or a URL", of)).collect()
}

fn directory(text: &str, has_external_account: bool) -> Result<String, Fault> {
    if NEED_EXTERNAL_ACCOUNT.contains(&text) && !has_external_account {
        return Err(Fault::new("needs an account that you make there first")
            .help("and then its name and key: eab = { kid = \"...\", hmac = { env = \"NAME\" } }"));
    }
    if let Some((_, url)) = KNOWN.iter().find(|(name, _)| *name == text) {
        return Ok((*url).to_owned());
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

fn challenges(table: &mut Table<'_>, listen: &Listen, has_dns: bool) -> Vec<AcmeChallenge> {
    let all = || {
        let dns = has_dns.then_some(AcmeChallenge::Dns01);
        [AcmeChallenge::TlsAlpn01, AcmeChallenge::Http01].into_iter().chain(dns).collect()
    };
    let Some(value) = table.value("challenges") else { return all() };
    let words = [
        ("tls-alpn-01", AcmeChallenge::TlsAlpn01),
        ("http-01", AcmeChallenge::Http01),
        ("dns-01", AcmeChallenge::Dns01),
    ];
    let challenges: Vec<_> = value.items_or_one().iter().filter_map(|item| item.choice(&words)).collect();
    if value.is_empty_list() {
        value.fault(Fault::new("an empty list").help("leave it out for all of them"));
    }
    if challenges == [AcmeChallenge::Http01] && listen.http.is_empty() {
        table.reading.report(
            Diagnostic::error("http-01 needs an address for cleartext")
                .at(value.span.clone(), "the only challenge")
                .help("add \"tls-alpn-01\", or an address to `listen.http`"),
        );
    }
    if challenges.contains(&AcmeChallenge::Dns01) && !has_dns {
        table.reading.report(
            Diagnostic::error("dns-01 needs somebody who sets DNS records")
                .at(value.span.clone(), "nobody does")
                .help("write dns = { exec = \"/path/to/program\" } or dns = { webhook = \"https://...\" }"),
        );
    }
    challenges
}
