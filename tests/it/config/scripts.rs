//! The configs that the suites for speed and for hostile clients write.

use super::accepted;

#[test]
fn the_speed_suite_s_config_is_accepted() {
    let config = accepted(
        r#"
state_dir = "/tmp/bench/state"
workers = 2
listen = { http = ["127.0.0.1:18080"], https = ["127.0.0.1:18443"] }
log = { access = "/tmp/bench/access.log" }
[limits]
connections_per_ip = 20000
[cache]
memory = "2GiB"
[admin]
socket = "/tmp/bench/admin.sock"
[site."*"]
origins = ["127.0.0.1:19000"]
health = false
tls = { cert = "/tmp/bench/cert.pem", key = "/tmp/bench/key.pem" }
redirect_http = false
"#,
    );
    assert_eq!(config.tls_default.as_deref(), Some("*"));
    assert_eq!(config.cache.memory, 2 << 30);
}

#[test]
fn the_hostile_clients_suite_s_config_is_accepted() {
    let config = accepted(
        r#"
state_dir = "/tmp/suite/state"
listen = { http = ["127.0.0.1:18080"], https = ["127.0.0.1:18443"], trusted_proxies = ["127.0.0.2/32"] }
log = { access = "/tmp/suite/access.log" }
[limits]
header_timeout = "10s"
body_timeout = "10s"
idle_timeout = "15s"
connections_per_ip = 20000
[cache]
memory = "256MiB"
disk = { path = "/tmp/suite/cache", size = "1GiB" }
[admin]
socket = "/tmp/suite/admin.sock"
[pool.app]
origins = ["127.0.0.1:19000"]
health = false
timeouts = { connect = "2s", first_byte = "5s", between_bytes = "5s" }
[site."site.test"]
pool = "app"
tls = "internal"
redirect_http = false
[site."other.test"]
pool = "app"
tls = "internal"
redirect_http = false
"#,
    );
    assert_eq!(config.sites.len(), 2);
    assert_eq!(config.pools["app"].timeouts.first_byte.as_secs(), 5);
}
