//! Config files as users write them: the reference and the examples load, what
//! is wrong is shown as the golden files say, and nothing makes the reader panic.
//!
//! `UPDATE_GOLDEN=1` writes the golden files anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall::config::model::{DiskConfig, Route, SiteTls};
use seawall::config::{self, ConfigError, Loaded, Machine};
use seawall::policy::ParameterPattern;

const REFERENCE: &str = include_str!("../../config/seawall.toml");

mod files;
mod mutations;
mod scripts;

/// The same machine for everyone who runs these tests.
fn machine() -> Machine {
    Machine {
        memory: 8 << 30,
        cores: NonZeroUsize::new(4).unwrap(),
        open_files: 1 << 20,
        state_dir: PathBuf::from("/var/lib/seawall"),
        system_state_dir: PathBuf::from("/var/lib/seawall"),
        runtime_dir: None,
    }
}

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    config::parse_for(&machine(), "seawall.toml", text, Path::new("/etc/seawall"))
}

/// What is accepted, without the warnings.
fn accepted(text: &str) -> config::Config {
    parse(text).unwrap_or_else(|error| panic!("{error}")).config
}

/// The `.toml` files of a directory, in the order of their names.
fn toml_files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

fn assert_golden(case: &Path, found: &str) {
    let golden = case.with_extension("stderr");
    let found = format!("{found}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(found, expected, "{} differs; UPDATE_GOLDEN=1 writes it anew", golden.display());
}

#[test]
fn wrong_files_are_explained() {
    let cases = toml_files("tests/it/config/wrong");
    assert!(cases.len() >= 25, "only {} cases", cases.len());
    for case in cases {
        match config::load_for(&machine(), &case) {
            Ok(_) => panic!("{} is accepted", case.display()),
            Err(error) => assert_golden(&case, &error.to_string()),
        }
    }
}

/// What is wrong with a provider depends on whether there are any.
#[test]
fn wrong_providers_are_explained() {
    let are_built_in = cfg!(feature = "dns-providers");
    let directory = if are_built_in { "tests/it/config/providers" } else { "tests/it/config/no_providers" };
    let cases = toml_files(directory);
    assert!(!cases.is_empty());
    for case in cases {
        assert_golden(&case, &config::load_for(&machine(), &case).unwrap_err().to_string());
    }
}

#[test]
fn doubtful_files_are_warned_of() {
    for case in toml_files("tests/it/config/doubtful") {
        let loaded = config::load_for(&machine(), &case).unwrap_or_else(|error| panic!("{error}"));
        assert_golden(&case, &loaded.warnings.join("\n\n"));
    }
}

#[test]
fn the_examples_load_without_a_warning() {
    let examples = toml_files("config/examples");
    assert!(examples.len() >= 6);
    for example in examples {
        let loaded = parse(&fs::read_to_string(&example).unwrap());
        let loaded = loaded.unwrap_or_else(|error| panic!("{}: {error}", example.display()));
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{}", example.display());
    }
}

#[test]
fn the_reference_shows_the_defaults() {
    let only_names = r#"
        [pool.app]
        origins = ["10.0.0.1:8080", "http://10.0.0.2:8080"]
        [site."example.com"]
        pool = "app"
        [[site."example.com".route]]
        match = { path = "/assets/*", method = ["GET", "HEAD"] }
        [[site."example.com".route]]
        match = { path = "/api/*" }
        cache = false
        request_fields = { set = { X-Edge = "seawall" }, remove = ["X-Debug"] }
        response_fields = { remove = ["Server"] }
        [[site."example.com".route]]
        match = { path = "/old/*" }
        redirect = { to = "/new/{rest}" }
    "#;
    let reference = parse(REFERENCE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(reference.warnings, Vec::<String>::new());
    assert_eq!(format!("{:#?}", reference.config), format!("{:#?}", accepted(only_names)));
}

#[test]
fn the_reference_s_commented_keys_are_keys() {
    let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let switched_on: Vec<_> = REFERENCE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_key(rest)).unwrap_or(line))
        .collect();
    assert!(switched_on.len() > 100);
    let loaded = parse(&switched_on.join("\n")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config.email.as_deref(), Some("me@example.com"));
    assert!(loaded.config.acme.own_directory);
    let disk = DiskConfig { path: "/var/cache/seawall".into(), size: 10 << 30 };
    assert_eq!(loaded.config.cache.disk, Some(disk));
}

#[test]
fn four_lines_are_a_config() {
    let config = accepted("[site.\"Example.com.\"]\norigins = [\"10.0.0.1:8080\", \"10.0.0.2:8080\"]\n");
    let [site] = &config.sites[..] else { panic!("{:?}", config.sites) };
    assert_eq!((&*site.name, &site.tls, site.redirect_http), ("example.com", &SiteTls::Acme, true));
    assert_eq!(site.routes.len(), 1);
    let pool = site.pool.as_ref().unwrap();
    assert_eq!((&*pool.name, pool.servers.len()), ("site:example.com", 2));
    assert_eq!(pool.health.as_ref().unwrap().path, None);
    assert!(config.pools.contains_key("site:example.com"));
    assert_eq!(config.listen.https, ["[::]:443".parse().unwrap()]);
    assert_eq!((config.cache.memory, config.cache.max_object), (1 << 30, 128 << 20));
    assert_eq!((config.workers.get(), config.limits.connections), (4, 65_536));
}

#[test]
fn a_disk_takes_larger_objects_than_memory() {
    let cache = |lines: &str| {
        let config = accepted(&format!("[cache]\n{lines}\n[site.localhost]\norigins = [\"10.0.0.1\"]\n"));
        (config.cache.max_object, config.sites[0].routes[0].cache.max_object)
    };
    let disk = "disk = { path = \"/var/cache/seawall\", size = \"1GiB\" }";
    assert_eq!(cache("memory = \"64MiB\""), (8 << 20, 8 << 20));
    assert_eq!(cache(&format!("memory = \"64MiB\"\n{disk}")), (8 << 20, 512 << 20));
    assert_eq!(cache(&format!("memory = \"64MiB\"\nmax_object = \"4MiB\"\n{disk}")), (8 << 20, 4 << 20));
    assert_eq!(cache(&format!("max_object = \"20GiB\"\n{disk}")), (128 << 20, 20 << 30));
}

#[test]
fn serve_stands_for_a_config() {
    let to = ["10.0.0.1:8080".to_owned(), "10.0.0.2:8080".to_owned()];
    let text = config::serve_text("example.com", &to);
    assert_eq!(text, "[site.\"example.com\"]\norigins = [\"10.0.0.1:8080\", \"10.0.0.2:8080\"]\n");
    assert_eq!(accepted(&text).pools["site:example.com"].servers.len(), 2);
    let odd = config::serve_text("a\"]\n[x", &["\\\u{7f}é".to_owned()]);
    let error = parse(&odd).unwrap_err().to_string();
    assert!(!error.contains("is not TOML"), "{error}");
}

#[test]
fn certificates_come_from_where_the_name_allows() {
    let tls = |head: &str, name: &str| {
        let text = format!("{head}\n[site.\"{name}\"]\norigins = [\"10.0.0.1\"]\n");
        accepted(&text).sites[0].tls.clone()
    };
    for name in ["localhost", "a.localhost", "*.localhost", "site.test", "127.0.0.1", "::1"] {
        assert_eq!(tls("", name), SiteTls::Internal, "{name}");
    }
    assert_eq!(tls("", "example.com"), SiteTls::Acme);
    assert_eq!(tls("acme = { directory = \"letsencrypt-staging\" }", "localhost"), SiteTls::Internal);
    assert_eq!(tls("acme = { directory = [\"https://localhost:14000/dir\"] }", "site.test"), SiteTls::Acme);
    assert_eq!(tls("acme = { ca = \"pebble.pem\" }", "site.test"), SiteTls::Acme);
    assert_eq!(tls("listen = { https = [] }", "example.com"), SiteTls::Off);
}

#[test]
fn dns_is_asked_before_orders_unless_the_authority_is_private() {
    let acme = |lines: &str| {
        let config = accepted(&format!("[acme]\n{lines}\n[site.localhost]\norigins = [\"10.0.0.1\"]\n"));
        (config.acme.preflight, config.acme.resolver)
    };
    let server = |address: &str| Some(address.parse().unwrap());
    assert_eq!(acme(""), (true, None));
    assert_eq!(acme("directory = [\"https://ca.internal/dir\"]"), (true, None));
    assert_eq!(acme("ca = \"roots.pem\""), (false, None));
    assert_eq!(acme("preflight = true\nca = \"roots.pem\"\nresolver = \"::1\""), (true, server("[::1]:53")));
    assert_eq!(acme("preflight = false\nresolver = \"127.0.0.1:5353\""), (false, server("127.0.0.1:5353")));
}

#[test]
fn a_server_is_sent_pings_only_where_that_is_wanted() {
    let ping = |timeouts: &str| {
        let pool = format!("[pool.app]\norigins = [\"h2c://10.0.0.1\"]\ntimeouts = {{ {timeouts} }}\n");
        accepted(&format!("{pool}[site.\"a\"]\npool = \"app\"\n")).pools["app"].timeouts.ping
    };
    assert_eq!((ping(""), ping("ping = false")), (None, None));
    assert_eq!(ping("ping = \"10s\"").unwrap().as_secs(), 10);
}

#[test]
fn a_site_inherits_and_a_route_refines() {
    let config = accepted(
        r#"
        cache.memory = "64MiB"
        cache.max_object = "1MiB"
        cache.stale_if_error = "1h"
        cache.key = { query = "sorted", drop_query = ["utm_*"] }
        [site.a]
        tls = "internal"
        origins = ["app"]
        health = false
        body = "1KiB"
        forward_fields = ["X-Forwarded-Prefix"]
        cache = { ttl = "1m", ignore_cookies = true }
        [[site.a.route]]
        match.path = "*.css"
        cache = { ttl = "2m", key = { drop_query = ["v"] }, max_object = "2MiB" }
        body = "2KiB"
        [[site.a.route]]
        cache = false
        [[site.a.route]]
        match.path = "/never"
        "#,
    );
    let [css, rest] = &config.sites[0].routes[..] else { panic!("{:?}", config.sites[0].routes) };
    assert_eq!(
        (css.cache.ttl, css.cache.ignore_cookies, css.body),
        (Some(Duration::from_secs(120)), true, 2048)
    );
    assert_eq!((css.cache.stale_if_error, css.cache.max_object), (Duration::from_secs(3600), 2 << 20));
    assert_eq!(rest.cache.max_object, 1 << 20);
    assert_eq!((rest.cache.enabled, rest.body), (false, 1024));
    let dropped = |route: &Route| (route.cache.query.sorted, route.cache.query.dropped.clone());
    assert_eq!(dropped(css), (true, vec![ParameterPattern::Name("v".into())]));
    assert_eq!(dropped(rest), (true, vec![ParameterPattern::Prefix("utm_".into())]));
    for route in [css, rest] {
        assert_eq!(route.cache.key_fields, config.sites[0].forward_fields);
        assert_eq!(route.cache.key_fields, ["x-forwarded-prefix"]);
    }
    assert_eq!(config.pools["site:a"].health, None);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = config::load(Path::new("/nonexistent/seawall.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the config /nonexistent/seawall.toml");
    assert!(std::error::Error::source(&error).is_some());
}
