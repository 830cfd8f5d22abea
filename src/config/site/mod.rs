//! `site."NAME"`: a site, its names, its origin servers, its certificate and
//! its routes.

mod certificate;
mod edits;
mod name;
mod pattern;
mod redirect;
mod route;

pub use name::is_orderable;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use http::HeaderName;

use super::model::{PoolConfig, Site, SiteTls};
use super::pool::{self, Pools};
use super::read::{self, Diagnostic, Fault, Reading, Span, Table, Value, did_you_mean};
use super::{Around, cache, limits};
use crate::policy::CacheRules;

/// The sites of a file, and where each of their names stands.
#[derive(Debug, Default)]
pub(super) struct Sites {
    pub(super) all: Vec<Arc<Site>>,
    names: HashMap<Arc<str>, Span>,
}

impl Sites {
    /// The site that answers for a name, by its own name.
    fn answering(&self, name: &str) -> Option<&Arc<Site>> {
        let is_name =
            |site: &&Arc<Site>| &*site.name == name || site.aliases.iter().any(|alias| &**alias == name);
        self.all.iter().find(is_name)
    }

    /// Whose certificate answers without usable SNI: the site written in
    /// `tls_default`, else that for any host.
    pub(super) fn tls_default(&self, written: Option<Value<'_>>) -> Option<Arc<str>> {
        let Some(value) = written else {
            return self
                .answering("*")
                .filter(|site| site.tls != SiteTls::Off)
                .map(|site| Arc::clone(&site.name));
        };
        let name = value.parse("the name of a site", name::host_pattern)?;
        let Some(site) = self.answering(&name) else {
            let near = did_you_mean(&name, self.names.keys().map(|name| &**name));
            value.reading.report_missing(
                Diagnostic::error(format!("there is no site `{name}`"))
                    .at(value.span.clone(), "not a site of this file")
                    .maybe_help(near.map(|near| format!("did you mean \"{near}\"?"))),
            );
            return None;
        };
        if site.tls == SiteTls::Off {
            value.fault(Fault::new(format!("the site `{}` has no certificate", site.name)));
        }
        Some(Arc::clone(&site.name))
    }

    /// Keeps a name; a second site of the same name is an error.
    fn claim(&mut self, name: &Arc<str>, span: &Span, reading: &Reading<'_>) {
        match self.names.entry(Arc::clone(name)) {
            Entry::Vacant(free) => {
                free.insert(span.clone());
            }
            Entry::Occupied(first) => reading.report(
                Diagnostic::error(format!("two sites answer for `{name}`"))
                    .at(span.clone(), "here again")
                    .context(first.get().clone(), "first here"),
            ),
        }
    }
}

/// Reads all sites of the file.
pub(super) fn read(table: &mut Table<'_>, around: &Around<'_>, pools: &mut Pools) -> Sites {
    let mut sites = Sites::default();
    for entry in table.entries() {
        if let Some(name) = entry.value.unquoted_name(&["tls", "cache", "health"]) {
            table.reading.report(
                Diagnostic::error("the name of a site has to be quoted")
                    .at(entry.name_span, "dots without quotes make tables in tables")
                    .help(format!("write [site.\"{}\"]", name.escape_debug())),
            );
            continue;
        }
        let site = entry.value.table_or_empty(|table| site(table, &entry, around, pools, &mut sites));
        sites.all.extend(site.map(Arc::new));
    }
    sites
}

fn site(
    table: &mut Table<'_>,
    entry: &read::Entry<'_>,
    around: &Around<'_>,
    pools: &mut Pools,
    sites: &mut Sites,
) -> Option<Site> {
    table.not_yet(&["rate_limit", "allow", "deny", "auth"]);
    table.belongs_elsewhere(&["compress"], "write cache = { compress = ... }");
    table.belongs_elsewhere(
        &pool::POOL_ONLY,
        "make a [pool.NAME] with it, and give the site `pool = \"NAME\"`",
    );
    table.belongs_elsewhere(
        &["redirect", "request_fields", "response_fields", "match"],
        "give it to a route; one without `match` takes everything",
    );
    let (name, aliases) = names(table, entry, sites);
    let fallback: Arc<str> = entry.name.into();
    let pool = site_pool(table, name.as_ref().unwrap_or(&fallback), entry, around, pools);
    let names: Vec<_> = name.iter().chain(&aliases).cloned().collect();
    let (tls, client_auth) = certificate::tls(table, &names, &entry.name_span, around);
    let forward_fields = forward_fields(table);
    let rules = cache::rules(table.value("cache"), &around.cache.rules, around.cache.most);
    let rules = CacheRules { key_fields: forward_fields.clone(), ..rules };
    let body = table.size("body", around.limits.body, limits::BODY);
    let routes = route::routes(table, &rules, body, around);
    if pool.is_none() && !routes.iter().all(|route| route.redirect.is_some()) {
        report_no_servers(table, entry);
    }
    Some(Site {
        redirect_aliases: redirect_aliases(table, &names),
        redirect_http: redirect_http(table, &tls, client_auth.is_some()),
        hsts: hsts(table, &tls),
        forward_fields,
        name: name?,
        aliases,
        pool,
        tls,
        client_auth,
        routes,
    })
}

/// The name and the aliases, none of which another site has.
fn names(
    table: &mut Table<'_>,
    entry: &read::Entry<'_>,
    sites: &mut Sites,
) -> (Option<Arc<str>>, Vec<Arc<str>>) {
    let name = name::host_pattern(entry.name);
    let report = |fault: Fault| {
        let diagnostic = Diagnostic::error("invalid name of a site");
        table.reading.report(diagnostic.at(entry.name_span.clone(), fault.reason).maybe_help(fault.help));
    };
    let name = name.map_err(report).ok();
    if let Some(name) = &name {
        sites.claim(name, &entry.name_span, table.reading);
    }
    let aliases = table.list("aliases", |value| {
        let alias = value.parse("a host name", name::host_pattern)?;
        sites.claim(&alias, &value.span, value.reading);
        if &*alias == "*" {
            let help = "name the hosts, or make a [site.\"*\"] for them";
            value.warn("the site answers for every host that no other site names", "every host", help);
        }
        Some(alias)
    });
    (name, aliases.unwrap_or_default())
}

/// The pool a site names, or that of its own list.
fn site_pool(
    table: &mut Table<'_>,
    name: &Arc<str>,
    entry: &read::Entry<'_>,
    around: &Around<'_>,
    pools: &mut Pools,
) -> Option<Arc<PoolConfig>> {
    let (named, origins, health) = (table.value("pool"), table.value("origins"), table.value("health"));
    if let Some(named) = named {
        for other in origins.iter().chain(&health) {
            other.fault(
                Fault::new("the site has a `pool`")
                    .help(format!("put `{}` into the [pool.NAME], or leave `pool` out", other.key)),
            );
        }
        return pools.take(&named);
    }
    if let (None, Some(health)) = (&origins, &health) {
        health.fault(Fault::new("there are no `origins` to check").help("add origins = [\"10.0.0.1:8080\"]"));
    }
    let servers = pool::servers(&origins?, around.listen);
    let health = pool::health(health, &servers);
    let pool_name = Arc::from(format!("site:{name}"));
    let options = |table: &mut Table<'_>| pool::options(table, pool_name, servers, health, around);
    let config = Table::read(table.reading, "", entry.name_span.clone(), None, options);
    Some(pools.add(config, entry.name_span.clone()))
}

fn report_no_servers(table: &Table<'_>, entry: &read::Entry<'_>) {
    table.report_absent(
        &["pool", "origins", "health"],
        Diagnostic::error(format!("the site `{}` has no origin servers", entry.name.escape_debug()))
            .at(entry.name_span.clone(), "nothing to send requests to")
            .help(
                "add origins = [\"10.0.0.1:8080\"], or pool = \"NAME\", or a route without `match` that redirects",
            ),
    );
}

fn redirect_aliases(table: &mut Table<'_>, names: &[Arc<str>]) -> bool {
    let Some(value) = table.value("redirect_aliases") else { return false };
    let redirect = value.flag().unwrap_or(false);
    let main = names.first().filter(|main| redirect && main.contains('*'));
    if let Some(main) = main {
        value.fault(Fault::new(format!("`{main}` is not one host to redirect to")));
    }
    if redirect && names.len() < 2 {
        value.warn(
            "`redirect_aliases` has no effect",
            "the site has no aliases",
            "add aliases = [\"www.example.com\"]",
        );
    }
    redirect
}

/// By default wherever there is an encrypted side to redirect to.
fn redirect_http(table: &mut Table<'_>, tls: &SiteTls, has_client_auth: bool) -> bool {
    let is_encrypted = *tls != SiteTls::Off;
    let Some(value) = table.value("redirect_http") else { return is_encrypted };
    let redirect = value.flag().unwrap_or(is_encrypted);
    if redirect && !is_encrypted {
        value.fault(
            Fault::new("the site has no https to redirect to")
                .help("leave it out where TLS is off or nothing listens for https"),
        );
    }
    if !redirect && has_client_auth {
        value.fault(
            Fault::new("clients show certificates over https only")
                .help("leave it out, or take out `client_ca`"),
        );
    }
    redirect
}

fn hsts(table: &mut Table<'_>, tls: &SiteTls) -> bool {
    let Some(value) = table.value("hsts") else { return false };
    let hsts = value.flag().unwrap_or(false);
    if hsts && *tls == SiteTls::Off {
        value.fault(Fault::new("the site has no https, and browsers ignore it over http (RFC 6797 s8.1)"));
    }
    hsts
}

fn forward_fields(table: &mut Table<'_>) -> Vec<HeaderName> {
    let field = |value: Value<'_>| value.parse("the name of a field", edits::field_name);
    table.list("forward_fields", field).unwrap_or_default()
}
