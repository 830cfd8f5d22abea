//! A time and a configuration for the tests of this floor and of `tls`.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::config::model::{
    AccessLogFormat, AccessLogTarget, Acme, AcmeChallenge, Admin, CacheConfig, Frequency, Limits, Listen,
    Log, Site, SiteTls,
};

/// A moment in 2026.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// Sites by name, each with its kind of certificate.
pub(crate) fn config(state_dir: &Path, sites: &[(&str, SiteTls)]) -> Config {
    let site = |(name, tls): &(&str, SiteTls)| {
        Arc::new(Site {
            name: (*name).into(),
            aliases: Vec::new(),
            redirect_aliases: false,
            pool: None,
            tls: tls.clone(),
            redirect_http: true,
            hsts: false,
            forward_fields: Vec::new(),
            routes: Vec::new(),
        })
    };
    Config {
        email: None,
        state_dir: state_dir.to_owned(),
        workers: NonZeroUsize::MIN,
        tls_default: None,
        listen: Listen { http: Vec::new(), https: Vec::new(), trusted_proxies: Vec::new() },
        log: Log {
            access: AccessLogTarget::Off,
            format: AccessLogFormat::Json,
            redact_query: Vec::new(),
            level: String::new(),
        },
        limits: limits(),
        acme: Acme {
            directories: vec!["https://127.0.0.1:9/directory".to_owned()],
            own_directory: true,
            challenges: vec![AcmeChallenge::TlsAlpn01, AcmeChallenge::Http01],
            ca: None,
        },
        cache: CacheConfig { memory: 0, max_object: 0, disk: None },
        pools: Default::default(),
        sites: sites.iter().map(site).collect(),
        admin: Admin { socket: state_dir.join("admin.sock"), metrics: None },
    }
}

fn limits() -> Limits {
    let wait = Duration::from_secs(10);
    Limits {
        connections: 0,
        connections_per_ip: None,
        request_line: 0,
        header_bytes: 0,
        headers: 0,
        body: 0,
        handshake_timeout: wait,
        header_timeout: wait,
        body_timeout: wait,
        min_rate: 0,
        write_timeout: wait,
        idle_timeout: wait,
        stream_idle: wait,
        tunnel_idle: wait,
        drain_timeout: wait,
        h2_streams: 0,
        h2_resets: Frequency { times: 0, within: wait },
        origin_header_bytes: 0,
        origin_headers: 0,
    }
}
