//! The words of the demo: the configuration it runs with and what it tells the
//! user. It starts nothing.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use toml::Value;

/// The configuration that the demo runs with: the site `localhost` before the
/// `origins`, listening on `http` and `https`, everything kept in `state_dir`.
pub fn config_text(
    http: &[SocketAddr],
    https: &[SocketAddr],
    state_dir: &Path,
    origins: &[SocketAddr],
) -> String {
    let path = |path: &Path| Value::from(path.to_string_lossy().into_owned());
    let list = |addresses: &[SocketAddr]| {
        Value::Array(addresses.iter().map(|address| Value::from(address.to_string())).collect())
    };
    format!(
        r#"state_dir = {state_dir}
listen = {{ http = {http}, https = {https} }}
log = {{ access = {access_log} }}

[cache]
memory = "64MiB"

[pool.demo]
origins = {origins}
balance = "round-robin"
health = {{ path = "/healthz", every = "1s", timeout = "1s" }}

[site."localhost"]
pool = "demo"
tls = "internal"
redirect_http = false
"#,
        state_dir = path(state_dir),
        http = list(http),
        https = list(https),
        access_log = path(&state_dir.join("access.log")),
        origins = list(origins),
    )
}

/// What to open, three lines to try, how to trust the local CA, how to stop.
pub fn banner(https_port: u16, http_port: u16, ca: &Path) -> String {
    let url = format!("https://localhost:{https_port}");
    let quoted = quote(&ca.to_string_lossy());
    let curl = format!("curl -sS --cacert {quoted}");
    let mut text = String::from("\nSeawall runs before three origin servers.\n\n");
    let mut line = |line: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(&format!("  Open   {url}"));
    line(&format!("         http://localhost:{http_port}"));
    line("\nTry:\n");
    line("  # the second answer is a hit: it comes from the cache");
    line(&format!("  {curl} -o /dev/null -o /dev/null -D - {url}/style.css {url}/style.css"));
    line("  # a miss each time: no-store forbids to keep it");
    line(&format!("  {curl} -i {url}/api/headers"));
    line("  # shared out: another origin server answers each time");
    line(&format!("  {curl} '{url}/api/time?[1-3]'"));
    line("\nThe certificate comes from a local CA, made on the first start. For curl,");
    line("--cacert is enough. For a browser, import the CA in its settings for");
    line("certificate authorities, or accept its warning once:\n");
    line(&format!("  {}", ca.display()));
    line("\nCtrl-C stops it, after the answers under way.\n");
    text
}

/// A word of a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_configuration_is_toml_whatever_the_state_directory_is_called() {
        let state_dir = Path::new("/tmp/a \"quoted\" \\ directory");
        let text = config_text(
            &[loopback(8080), "[::1]:8080".parse().unwrap()],
            &[loopback(8443)],
            state_dir,
            &[loopback(1), loopback(2)],
        );
        let config: toml::Table = text.parse().unwrap();
        assert_eq!(config["state_dir"].as_str(), state_dir.to_str());
        assert_eq!(config["listen"]["http"][1].as_str(), Some("[::1]:8080"));
        assert_eq!(config["pool"]["demo"]["origins"].as_array().unwrap().len(), 2);
        assert_eq!(config["site"]["localhost"]["redirect_http"].as_bool(), Some(false));
    }

    #[test]
    fn the_banner_names_ports_and_the_ca() {
        let text = banner(8443, 8080, Path::new("/tmp/it's/ca.pem"));
        for part in ["https://localhost:8443\n", "http://localhost:8080\n", r"--cacert '/tmp/it'\''s/ca.pem'"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("curl -sS").count(), 3);
    }
}
