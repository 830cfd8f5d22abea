//! A time and a configuration for the tests of this floor and of `tls`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::model::{Site, SiteTls};
use crate::config::{self, Config};

/// Nobody is at the directory.
const CONFIG: &str = r#"
log = { access = "off" }
[acme]
directory = ["https://127.0.0.1:9/directory"]
[site."pattern.test"]
origins = ["127.0.0.1:9"]
tls = "internal"
"#;

/// A moment in 2026.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// Sites by name, each with its kind of certificate.
pub(crate) fn config(state_dir: &Path, sites: &[(&str, SiteTls)]) -> Config {
    let config = config::parse("test", CONFIG, state_dir).unwrap().config;
    let pattern = Arc::clone(&config.sites[0]);
    let site = |(name, tls): &(&str, SiteTls)| {
        Arc::new(Site { name: (*name).into(), tls: tls.clone(), ..Site::clone(&pattern) })
    };
    Config { state_dir: state_dir.to_owned(), sites: sites.iter().map(site).collect(), ..config }
}
