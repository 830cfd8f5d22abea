//! `acme.dns` with a provider that hosts zones: which ones there are, and what
//! each asks for. How they are talked to is decided where records are set; a
//! test there compares its table with this one.

use std::collections::BTreeMap;

use super::{server, zones};
use crate::config::model::{DnsMeans, DnsProvider, Secret};
use crate::config::read::{Diagnostic, Fault, Table, Value, did_you_mean};
use crate::config::{secret, webhook};

/// The provider that is a name server.
const RFC2136: &str = "rfc2136";

/// A key of the table, and what it has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    /// A secret of one line.
    Secret(&'static str),
    /// A secret of several lines: a PEM or JSON file.
    Document(&'static str),
    /// What may be known, such as the name of an account.
    Text(&'static str),
    /// A part of a host name.
    Label(&'static str),
    /// Where the API is.
    Url(&'static str),
    /// One of a few words.
    Word(&'static str, &'static [&'static str]),
}

use Key::{Document, Label, Secret as Hidden, Text, Url, Word};

/// What a provider asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Its name, which is that in lego where that knows it.
    pub(crate) name: &'static str,
    /// What has to be written.
    pub(crate) always: &'static [Key],
    /// What may be written, too.
    pub(crate) maybe: &'static [Key],
}

const fn needs(name: &'static str, always: &'static [Key]) -> Needs {
    Needs { name, always, maybe: &[] }
}

const fn needs_or(name: &'static str, always: &'static [Key], maybe: &'static [Key]) -> Needs {
    Needs { name, always, maybe }
}

const TOKEN: &[Key] = &[Hidden("token")];
const PAIR: &[Key] = &[Hidden("key"), Hidden("secret")];
const LOGIN: &[Key] = &[Text("user"), Hidden("password")];
const USER_TOKEN: &[Key] = &[Text("user"), Hidden("token")];

const AZURE: &[Key] =
    &[Text("tenant"), Text("client"), Hidden("secret"), Text("subscription"), Text("resource_group")];
const BLUECAT: &[Key] =
    &[Url("endpoint"), Text("user"), Hidden("password"), Text("configuration"), Text("view")];
const EDGEDNS: &[Key] = &[Url("endpoint"), Hidden("key"), Hidden("secret"), Hidden("token")];
const ORACLE: &[Key] = &[
    Text("tenancy"),
    Text("user"),
    Text("fingerprint"),
    Document("secret"),
    Label("region"),
    Text("compartment"),
];
const OVH_ENDPOINTS: &[&str] =
    &["ovh-eu", "ovh-us", "ovh-ca", "kimsufi-eu", "kimsufi-ca", "soyoustart-eu", "soyoustart-ca"];
const SELECTEL: &[Key] = &[Text("user"), Hidden("password"), Text("account"), Text("project")];

/// The providers of the crate dns-update. Not among them is Hurricane Electric,
/// which has a password for each record rather than one.
pub(crate) const PROVIDERS: &[Needs] = &[
    needs_or("alidns", PAIR, &[Label("region")]),
    needs("arvancloud", TOKEN),
    needs("autodns", LOGIN),
    needs("azuredns", AZURE),
    needs("baiducloud", PAIR),
    needs("bluecatv2", BLUECAT),
    needs("bunny", TOKEN),
    needs("cloudflare", TOKEN),
    needs("cloudns", LOGIN),
    needs("constellix", PAIR),
    needs("cpanel", &[Url("endpoint"), Text("user"), Hidden("token")]),
    needs("ddnss", TOKEN),
    needs("desec", TOKEN),
    needs("digitalocean", TOKEN),
    needs("dnsimple", &[Text("account"), Hidden("token")]),
    needs("dnsmadeeasy", PAIR),
    needs("domeneshop", &[Hidden("token"), Hidden("secret")]),
    needs("dreamhost", TOKEN),
    needs("duckdns", TOKEN),
    needs("dynu", TOKEN),
    needs("easydns", &[Hidden("token"), Hidden("key")]),
    needs("edgedns", EDGEDNS),
    needs("exoscale", PAIR),
    needs("freemyip", TOKEN),
    needs("gandiv5", TOKEN),
    needs("gcloud", &[Text("project"), Document("secret")]),
    needs("gcore", TOKEN),
    needs("glesys", USER_TOKEN),
    needs("godaddy", PAIR),
    needs("hetzner", TOKEN),
    needs("hostingde", TOKEN),
    needs("hostinger", TOKEN),
    needs("huaweicloud", &[Hidden("key"), Hidden("secret"), Label("region")]),
    needs("ibmcloud", USER_TOKEN),
    needs_or("infoblox", &[Url("endpoint"), Text("user"), Hidden("password")], &[Text("view")]),
    needs("infomaniak", TOKEN),
    needs("inwx", LOGIN),
    needs("ionos", TOKEN),
    needs("ipv64", TOKEN),
    needs("joker", TOKEN),
    needs_or("lightsail", PAIR, &[Label("region")]),
    needs("linode", TOKEN),
    needs("luadns", USER_TOKEN),
    needs("mythicbeasts", LOGIN),
    needs("namecheap", &[Text("user"), Hidden("token"), Text("client_ip")]),
    needs("namedotcom", USER_TOKEN),
    needs("namesilo", TOKEN),
    needs("netcup", &[Text("user"), Hidden("key"), Hidden("password")]),
    needs("netlify", TOKEN),
    needs("nifcloud", PAIR),
    needs("ns1", TOKEN),
    needs("oraclecloud", ORACLE),
    needs_or("ovh", &[Hidden("key"), Hidden("secret"), Hidden("token")], &[Word("endpoint", OVH_ENDPOINTS)]),
    needs("pdns", &[Url("endpoint"), Hidden("token")]),
    needs("plesk", &[Url("endpoint"), Hidden("token")]),
    needs("porkbun", PAIR),
    needs_or("route53", PAIR, &[Text("hosted_zone")]),
    needs("safedns", TOKEN),
    needs("scaleway", TOKEN),
    needs("selectel", SELECTEL),
    needs("simply", USER_TOKEN),
    needs("spaceship", PAIR),
    needs("tencentcloud", PAIR),
    needs("transip", &[Text("user"), Document("secret")]),
    needs("ultradns", LOGIN),
    needs_or("vercel", TOKEN, &[Text("team")]),
    needs("volcengine", PAIR),
    needs("vultr", TOKEN),
    needs("websupport", PAIR),
    needs("yandexcloud", &[Text("folder"), Document("secret")]),
    needs("zoneee", USER_TOKEN),
];

impl Key {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Hidden(name) | Document(name) | Text(name) | Label(name) | Url(name) | Word(name, _) => name,
        }
    }

    fn example(self) -> String {
        let name = self.name();
        match self {
            Hidden(_) => format!("{name} = {{ env = \"NAME\" }}"),
            Document(_) => format!("{name} = {{ file = \"/path/to/file\" }}"),
            Url(_) => format!("{name} = \"https://...\""),
            Text(_) | Label(_) | Word(..) => format!("{name} = \"...\""),
        }
    }

    fn read(self, value: &Value<'_>) -> Option<Secret> {
        let known = |text: &str| Secret::new(text.as_bytes());
        match self {
            Hidden(_) => secret::given(value),
            Document(_) => secret::document(value),
            Text(_) => value.parse("a text", text).map(known),
            Label(_) => value.parse("a text", label).map(known),
            Url(_) => webhook::base_url(value).map(|url| known(&url)),
            Word(_, words) => {
                let choices: Vec<_> = words.iter().map(|word| (*word, *word)).collect();
                value.choice(&choices).map(known)
            }
        }
    }
}

impl Needs {
    fn example(&self) -> String {
        let keys: Vec<_> = self.always.iter().map(|key| key.example()).collect();
        format!("{{ provider = \"{}\", {} }}", self.name, keys.join(", "))
    }
}

/// Reads the rest of the table for the provider that is `written`.
pub(super) fn read(written: &Value<'_>, table: &mut Table<'_>) -> Option<DnsMeans> {
    let name = written.text();
    if name == Some(RFC2136) {
        return server::read(written, table).map(DnsMeans::Server);
    }
    let known = name.and_then(|name| PROVIDERS.iter().find(|needs| needs.name == name));
    if let Some(needs) = known
        && cfg!(feature = "dns-providers")
    {
        return credentials(needs, written, table).map(DnsMeans::Provider);
    }
    pass_over(table);
    written.fault(match known {
        Some(_) => Fault::new("this seawall was built without the providers of DNS").help(
            "build it with the feature `dns-providers`; \"rfc2136\", `exec` and `webhook` work without it",
        ),
        None => unknown(name?),
    });
    None
}

/// Has the keys of all providers known: which of them count is not.
pub(super) fn pass_over(table: &mut Table<'_>) {
    let keys = PROVIDERS.iter().flat_map(|needs| needs.always.iter().chain(needs.maybe));
    for name in keys.map(|key| key.name()).chain(["zone", "server", "algorithm"]) {
        let _written = table.value(name);
    }
}

fn unknown(name: &str) -> Fault {
    let names = || PROVIDERS.iter().map(|needs| needs.name).chain([RFC2136]);
    let help = match did_you_mean(name, names()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Fault::new("unknown provider").help(help)
}

fn credentials(needs: &Needs, written: &Value<'_>, table: &mut Table<'_>) -> Option<DnsProvider> {
    let mut given = BTreeMap::new();
    let mut is_complete = true;
    for (key, is_needed) in
        needs.always.iter().map(|key| (key, true)).chain(needs.maybe.iter().map(|key| (key, false)))
    {
        match table.value(key.name()) {
            Some(value) => match key.read(&value) {
                Some(read) => drop(given.insert(key.name(), read)),
                None => is_complete = false,
            },
            None if is_needed => {
                is_complete = false;
                table.report_absent(&[key.name()], missing(needs, written, *key));
            }
            None => {}
        }
    }
    let zones = zones(table);
    is_complete.then_some(DnsProvider { name: needs.name, given, zones })
}

fn missing(needs: &Needs, written: &Value<'_>, key: Key) -> Diagnostic {
    Diagnostic::error(format!("`{}` is missing", key.name()))
        .at(written.span.clone(), format!("{} needs it", needs.name))
        .help(format!("write {}", needs.example()))
}

fn text(text: &str) -> Result<&str, Fault> {
    match text.is_empty() || text.contains(char::is_control) {
        true => Err(Fault::new("empty, or more than one line")),
        false => Ok(text),
    }
}

/// It becomes a part of the host that is asked.
fn label(text: &str) -> Result<&str, Fault> {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=63).contains(&text.len()) && text.bytes().all(is_known) {
        true => Ok(text),
        false => Err(Fault::new("not a region").help("it has lower case letters, digits and `-`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_keys_are_told_apart() {
        assert!(PROVIDERS.is_sorted_by(|a, b| a.name < b.name));
        for needs in PROVIDERS {
            let keys: Vec<_> = needs.always.iter().chain(needs.maybe).map(|key| key.name()).collect();
            assert!(!needs.always.is_empty(), "{}", needs.name);
            for (number, key) in keys.iter().enumerate() {
                assert!(!keys[..number].contains(key) && *key != "zone", "{}: {key}", needs.name);
            }
        }
    }

    #[test]
    fn the_documentation_has_them_with_their_keys() {
        let documentation = include_str!("../../../certs/README.md");
        for needs in PROVIDERS {
            let keys = |keys: &[Key]| {
                keys.iter().map(|key| format!("`{}`", key.name())).collect::<Vec<_>>().join(", ")
            };
            let maybe = if needs.maybe.is_empty() {
                String::new()
            } else {
                format!(", and if you like {}", keys(needs.maybe))
            };
            let begin = format!("| {}{maybe} |", keys(needs.always));
            let is_line = |line: &str| {
                let names = line.strip_prefix(&begin).map(|names| names.trim_matches([' ', '|']));
                names.is_some_and(|names| names.split(", ").any(|name| name == needs.name))
            };
            assert!(documentation.lines().any(is_line), "{}: {begin}", needs.name);
        }
    }

    #[test]
    fn an_example_names_what_is_needed() {
        let ovh = PROVIDERS.iter().find(|needs| needs.name == "ovh").unwrap();
        let expected = "{ provider = \"ovh\", key = { env = \"NAME\" }, secret = { env = \"NAME\" }, \
                        token = { env = \"NAME\" } }";
        assert_eq!(ovh.example(), expected);
    }
}
