//! The names of a site, as the table knows them and as a certificate bears
//! them.

use std::net::IpAddr;

use crate::config::model::{Site, SiteTls};

/// The site of this name answers every host that no other site names.
pub(super) const ANY_HOST: &str = "*";

/// What the certificate of [`ANY_HOST`] is made for: nothing a client could
/// choose.
const THIS_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What the site answers for, its main name first; addresses without brackets.
pub(super) fn answered(site: &Site) -> impl Iterator<Item = String> + '_ {
    std::iter::once(&site.name).chain(&site.aliases).map(|host| normal(host))
}

/// What a certificate of the site has to be made for.
pub(super) fn certified(site: &Site) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in answered(site) {
        if name != ANY_HOST {
            names.push(name);
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
