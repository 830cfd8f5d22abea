//! The names of a site, as the config has them and as a certificate bears them.

use std::net::IpAddr;

use crate::config::model::{Acme, Site, SiteTls};

/// The site of this name answers every host that no other site names.
const ANY_HOST: &str = "*";

/// What the certificate of [`ANY_HOST`] is made for: nothing a client could
/// choose.
const THIS_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What the site answers for, its main name first.
pub(super) fn answered(site: &Site) -> impl Iterator<Item = &str> {
    std::iter::once(&site.name).chain(&site.aliases).map(|host| &**host)
}

/// True for a name of the site whose hosts get their certificates on demand.
pub(super) fn is_on_demand(site: &Site, name: &str, acme: &Acme) -> bool {
    site.tls == SiteTls::OnDemand && acme.is_open(name)
}

/// What a certificate of the site has to be made for; addresses without brackets.
pub(super) fn certified(site: &Site, acme: &Acme) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in answered(site).filter(|name| !is_on_demand(site, name, acme)) {
        if name != ANY_HOST {
            names.push(normal(name));
        } else if site.tls == SiteTls::Internal {
            names.extend(THIS_MACHINE.map(str::to_owned));
        }
    }
    names.dedup();
    names
}

fn normal(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().map_or_else(|_| bare.to_ascii_lowercase(), |address| address.to_string())
}
