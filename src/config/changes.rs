//! What is other in one configuration than in another, in an operator's words and
//! the keys of the file. It applies nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Loaded;
use super::model::{Config, PoolConfig, ServerConfig, Site};

/// What is other in a new configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// What a reload changes.
    pub reloaded: Vec<Change>,
    /// The keys that only count from the next start on.
    pub after_restart: Vec<String>,
    /// What is hardly meant in it, each as `check` shows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What becomes of it.
    pub kind: ChangeKind,
    /// What it is, such as `site example.com`.
    pub what: String,
    /// The keys that are other; empty for what comes or goes as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// What becomes of a part of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is no longer there.
    Removed,
    /// It is there as before, but other.
    Changed,
}

impl Changes {
    /// What is other in the config that was read than in `old`.
    pub fn of(old: &Config, read: &Loaded) -> Self {
        Self { warnings: read.warnings.clone(), ..Self::between(old, &read.config) }
    }

    fn between(old: &Config, new: &Config) -> Self {
        let mut reloaded = listeners(old, new);
        reloaded.extend(named("site", &sites(old), &sites(new), site_keys));
        reloaded.extend(named("pool", &pools(old), &pools(new), pool_keys));
        let settings = [
            ("listen", keys!(old.listen, new.listen, [trusted_proxies, proxy_protocol_from])),
            ("limits", limit_keys(old, new)),
            ("acme", acme_keys(old, new)),
            ("cache", keys!(old, new, [purge_token])),
            ("the file", keys!(old, new, [email, tls_default])),
        ];
        let is_other = |(_, keys): &(_, Vec<String>)| !keys.is_empty();
        reloaded.extend(settings.into_iter().filter(is_other).map(|(what, keys)| Change {
            kind: ChangeKind::Changed,
            what: what.to_owned(),
            keys,
        }));
        Self { reloaded, after_restart: restart_keys(old, new), warnings: Vec::new() }
    }
}

impl Config {
    /// True if `other` wants the same certificates for the same names. On what terms they
    /// are ordered is not compared.
    pub fn has_same_certificates(&self, other: &Self) -> bool {
        let wanted = |config: &Self| {
            let site = |site: &Arc<Site>| (Arc::clone(&site.name), site.aliases.clone(), site.tls.clone());
            config.sites.iter().map(site).collect::<Vec<_>>()
        };
        self.tls_default == other.tls_default && wanted(self) == wanted(other)
    }

    /// Takes from the configuration in force what only counts from the next start on.
    pub fn keep_until_restart(&mut self, in_force: &Self) {
        self.user.clone_from(&in_force.user);
        self.state_dir.clone_from(&in_force.state_dir);
        self.workers = in_force.workers;
        self.log = in_force.log.clone();
        self.admin = in_force.admin.clone();
        self.cache = in_force.cache.clone();
    }
}

/// The names of those fields that differ, as the file has them.
macro_rules! keys {
    ($old:expr, $new:expr, [$($key:ident $(as $name:literal)?),+ $(,)?]) => {{
        let mut keys: Vec<String> = Vec::new();
        $(if $old.$key != $new.$key {
            let [name, ..] = [$($name,)? stringify!($key)];
            keys.push(name.to_owned());
        })+
        keys
    }};
}
use keys;

fn listeners(old: &Config, new: &Config) -> Vec<Change> {
    let kinds =
        [("http", &old.listen.http, &new.listen.http), ("https", &old.listen.https, &new.listen.https)];
    let mut changes = Vec::new();
    for (name, old, new) in kinds {
        let of =
            |kind, address| Change { kind, what: format!("listener {name} {address}"), keys: Vec::new() };
        changes.extend(new.iter().filter(|it| !old.contains(it)).map(|it| of(ChangeKind::Added, it)));
        changes.extend(old.iter().filter(|it| !new.contains(it)).map(|it| of(ChangeKind::Removed, it)));
    }
    changes
}

/// Parts of a configuration by their names.
type Named<'a, T> = BTreeMap<&'a str, &'a Arc<T>>;

fn sites(config: &Config) -> Named<'_, Site> {
    config.sites.iter().map(|site| (&*site.name, site)).collect()
}

/// The pools that have a name of their own.
fn pools(config: &Config) -> Named<'_, PoolConfig> {
    let named = config.pools.iter().filter(|(name, _)| !name.starts_with("site:"));
    named.map(|(name, pool)| (&**name, pool)).collect()
}

fn named<T>(
    what: &str,
    old: &Named<'_, T>,
    new: &Named<'_, T>,
    keys: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<Change> {
    let of = |kind, name: &str, keys| Change { kind, what: format!("{what} {name}"), keys };
    let mut changes = Vec::new();
    for (name, new) in new {
        match old.get(name) {
            None => changes.push(of(ChangeKind::Added, name, Vec::new())),
            Some(old) => {
                let keys = keys(old, new);
                if !keys.is_empty() {
                    changes.push(of(ChangeKind::Changed, name, keys));
                }
            }
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    changes.extend(gone.map(|name| of(ChangeKind::Removed, name, Vec::new())));
    changes
}

fn site_keys(old: &Site, new: &Site) -> Vec<String> {
    let mut keys = keys!(old, new, [aliases, redirect_aliases, tls, redirect_http, hsts, forward_fields]);
    // Client certificates are asked for in `tls`.
    if old.client_auth != new.client_auth && old.tls == new.tls {
        keys.push("tls".to_owned());
    }
    if old.routes != new.routes {
        keys.push("route".to_owned());
    }
    match (&old.pool, &new.pool) {
        // The servers of a plain list, and what goes with them.
        (Some(old), Some(new)) if old.name == new.name && old.name.starts_with("site:") => {
            keys.extend(pool_keys(old, new));
        }
        (old, new) if old.as_ref().map(|pool| &pool.name) != new.as_ref().map(|pool| &pool.name) => {
            keys.push("pool".to_owned());
        }
        _ => {}
    }
    keys
}

fn pool_keys(old: &PoolConfig, new: &PoolConfig) -> Vec<String> {
    let mut keys = server_keys(&old.servers, &new.servers);
    keys.extend(keys!(
        old,
        new,
        [
            resolver,
            allow_private,
            balance,
            health,
            eject,
            panic,
            slow_start,
            retry,
            max_connections,
            max_requests,
            queue,
            timeouts,
            tls,
            proxy_protocol,
        ]
    ));
    let (old, new) = (&old.connection_life, &new.connection_life);
    keys.extend(keys!(old, new, [age as "connection_age", requests as "connection_requests"]));
    keys
}

/// Each server that comes or goes; one that stays may have another weight.
fn server_keys(old: &[ServerConfig], new: &[ServerConfig]) -> Vec<String> {
    let has = |all: &[ServerConfig], server: &ServerConfig| all.iter().any(|it| it.url() == server.url());
    let added =
        new.iter().filter(|server| !has(old, server)).map(|server| format!("origins +{}", server.label));
    let gone =
        old.iter().filter(|server| !has(new, server)).map(|server| format!("origins -{}", server.label));
    let mut keys: Vec<String> = added.chain(gone).collect();
    if keys.is_empty() && old != new {
        keys.push("origins".to_owned());
    }
    keys
}

fn limit_keys(old: &Config, new: &Config) -> Vec<String> {
    keys!(
        old.limits,
        new.limits,
        [
            memory,
            connections,
            connections_per_ip,
            request_line,
            header_bytes,
            headers,
            body,
            handshake_timeout,
            header_timeout,
            body_timeout,
            min_rate,
            write_timeout,
            idle_timeout,
            stream_idle,
            tunnel_idle,
            drain_timeout,
            h2_streams as "h2.streams",
            h2_resets as "h2.resets",
            origin_header_bytes,
            origin_headers,
        ]
    )
}

fn acme_keys(old: &Config, new: &Config) -> Vec<String> {
    // Whose the directory is follows from it and from `ca`.
    keys!(
        old.acme,
        new.acme,
        [
            directories as "directory",
            challenges,
            ca,
            profile,
            external_account as "eab",
            dns,
            on_demand,
            notify,
            preflight,
            resolver,
        ]
    )
}

fn restart_keys(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = keys!(old, new, [user, state_dir, workers]);
    let under = |section: &str, keys: Vec<String>| {
        keys.into_iter().map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
    };
    keys.extend(under("log", keys!(old.log, new.log, [access, format, redact_query, level])));
    keys.extend(under("admin", keys!(old.admin, new.admin, [socket, metrics])));
    // The largest object in memory follows from that.
    keys.extend(under("cache", keys!(old.cache, new.cache, [memory, disk, tags_field])));
    keys
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse("test", text, Path::new("/")).unwrap().config
    }

    const BEFORE: &str = r#"
        listen = { http = ["127.0.0.1:80"], https = ["127.0.0.1:443"] }
        cache.memory = "1GiB"
        [pool.app]
        origins = ["10.0.0.1:8080", "10.0.0.2:8080"]
        [site."a.test"]
        pool = "app"
        [site."b.test"]
        origins = ["10.0.0.3:8080"]
    "#;

    /// What changes when `from` becomes `to`, a line each.
    fn changed(from: &str, to: &str) -> Vec<String> {
        let changes = Changes::between(&config(BEFORE), &config(&BEFORE.replace(from, to)));
        let line = |change: &Change| format!("{:?} {} {}", change.kind, change.what, change.keys.join(","));
        let restart = changes.after_restart.iter().map(|key| format!("restart {key}"));
        changes.reloaded.iter().map(line).chain(restart).map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn the_same_config_changes_nothing() {
        assert_eq!(Changes::between(&config(BEFORE), &config(BEFORE)), Changes::default());
        assert!(changed("10.0.0.3", "10.0.0.3").is_empty());
    }

    #[test]
    fn each_part_is_named_with_its_keys() {
        for (from, to, expected) in [
            (
                "127.0.0.1:80\"",
                "127.0.0.2:80\"",
                &["Added listener http 127.0.0.2:80", "Removed listener http 127.0.0.1:80"][..],
            ),
            ("b.test", "c.test", &["Added site c.test", "Removed site b.test"]),
            ("10.0.0.2:", "10.0.0.4:", &["Changed pool app origins +10.0.0.4:8080,origins -10.0.0.2:8080"]),
            ("\"10.0.0.2:8080\"", "{ url = \"10.0.0.2:8080\", weight = 3 }", &["Changed pool app origins"]),
            ("10.0.0.3:8080\"]", "10.0.0.3:8080\"]\nhsts = true", &["Changed site b.test hsts"]),
            ("10.0.0.3:8080\"]", "10.0.0.3:8080\"]\nhealth = \"/up\"", &["Changed site b.test health"]),
            (
                "[pool.app]",
                "[pool.app]\nresolver = \"10.0.0.53\"\nallow_private = true",
                &["Changed pool app resolver,allow_private"],
            ),
            (
                "[pool.app]",
                "[pool.app]\nmax_requests = 50\nconnection_age = \"2h\"\nconnection_requests = 100",
                &["Changed pool app max_requests,connection_age,connection_requests"],
            ),
            ("pool = \"app\"", "pool = \"app\"\ncache = { ttl = \"1h\" }", &["Changed site a.test route"]),
            (
                "[pool.app]",
                "[limits]\nbody = \"1MiB\"\n[pool.app]",
                &["Changed site a.test route", "Changed site b.test route", "Changed limits body"],
            ),
            (
                "[pool.app]",
                "limits.h2.streams = 9\nacme = { directory = \"letsencrypt-staging\", eab = { kid = \"a\", hmac = { env = \"A\" } } }\n[pool.app]",
                &["Changed limits h2.streams", "Changed acme directory"],
            ),
            // The largest object of a route follows from the memory.
            (
                "1GiB",
                "2GiB",
                &["Changed site a.test route", "Changed site b.test route", "restart cache.memory"],
            ),
            ("[pool.app]", "workers = 700\n[pool.app]", &["restart workers"]),
            ("[pool.app]", "log = { access = \"off\" }\n[pool.app]", &["restart log.access"]),
        ] {
            assert_eq!(changed(from, to), expected, "{to}");
        }
    }

    #[test]
    fn what_needs_a_restart_stays_wanted_until_there_is_one() {
        let before = config(BEFORE);
        let to = "workers = 700\nlog = { access = \"off\" }\n[pool.app]\npanic = false";
        let wanted = config(&BEFORE.replace("[pool.app]", to).replace("1GiB", "2GiB"));
        let mut in_force = wanted.clone();
        in_force.keep_until_restart(&before);
        assert!(Changes::between(&before, &in_force).after_restart.is_empty());
        let left = Changes::between(&in_force, &wanted);
        assert!(left.reloaded.is_empty());
        assert_eq!(left.after_restart, ["workers", "log.access", "cache.memory"]);
    }

    #[test]
    fn certificates_depend_on_names_and_what_stands_for_them() {
        let before = config(BEFORE);
        let other = |from: &str, to: &str| config(&BEFORE.replace(from, to));
        assert!(before.has_same_certificates(&other("10.0.0.2:", "10.0.0.4:")));
        assert!(before.has_same_certificates(&other("pool = \"app\"", "pool = \"app\"\nhsts = true")));
        assert!(!before.has_same_certificates(&other("b.test", "c.test")));
        assert!(!before.has_same_certificates(&other("pool = \"app\"", "pool = \"app\"\ntls = \"off\"")));
    }
}
