//! Certificates, keys and roots that a config names.

use std::fs;
use std::path::Path;

use rcgen::{CertifiedKey, KeyPair};
use seawall::config::{self, ConfigError, Loaded};

fn write_pair(directory: &Path, names: &[&str]) -> CertifiedKey<KeyPair> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(directory.join("cert.pem"), pair.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    pair
}

/// Loads a file beside the certificates; the paths in it are relative.
fn load(directory: &Path, site: &str) -> Result<Loaded, ConfigError> {
    let path = directory.join("seawall.toml");
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }";
    fs::write(&path, format!("[site.\"{site}\"]\norigins = [\"10.0.0.1\"]\n{tls}\n")).unwrap();
    config::load_for(&super::machine(), &path)
}

#[test]
fn a_pair_that_fits_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    write_pair(directory.path(), &["*.example.com", "127.0.0.1", "::1"]);
    for site in ["www.example.com", "*.example.com", "127.0.0.1", "::1", "*"] {
        let loaded = load(directory.path(), site).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{site}");
    }
}

#[test]
fn a_name_the_certificate_lacks_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    write_pair(directory.path(), &["example.com"]);
    let loaded = load(directory.path(), "www.example.com").unwrap();
    assert!(loaded.warnings[0].contains("the certificate does not cover `www.example.com`"));
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let directory = tempfile::tempdir().unwrap();
    write_pair(directory.path(), &["example.com"]);
    let other = KeyPair::generate().unwrap();
    fs::write(directory.path().join("key.pem"), other.serialize_pem()).unwrap();
    let error = load(directory.path(), "example.com").unwrap_err().to_string();
    let key = directory.path().join("key.pem");
    assert!(error.contains(&format!("{} is the key of another certificate", key.display())), "{error}");
    assert!(error.contains("seawall.toml:3:34"), "{error}");
}

#[test]
fn files_in_each_other_s_place_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let pair = write_pair(directory.path(), &["example.com"]);
    fs::write(directory.path().join("cert.pem"), pair.signing_key.serialize_pem()).unwrap();
    fs::write(directory.path().join("key.pem"), pair.cert.pem()).unwrap();
    let error = load(directory.path(), "example.com").unwrap_err().to_string();
    assert!(error.contains("cert.pem holds no certificate"), "{error}");
    assert!(error.contains("key.pem holds no private key"), "{error}");
}

#[test]
fn a_key_with_a_passphrase_is_named() {
    let directory = tempfile::tempdir().unwrap();
    write_pair(directory.path(), &["example.com"]);
    for mark in
        ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED"]
    {
        let end = mark.lines().next().unwrap().replace("BEGIN", "END");
        fs::write(directory.path().join("key.pem"), format!("{mark}\n\nMIIB\n{end}\n")).unwrap();
        let error = load(directory.path(), "example.com").unwrap_err().to_string();
        assert!(error.contains("key.pem is encrypted"), "{error}");
        assert!(error.contains("openssl pkey -in"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_utf8_is_shown_where_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seawall.toml");
    fs::write(&path, b"# ok\nemail = \"m\xfcller@example.com\"\n").unwrap();
    let error = config::load_for(&super::machine(), &path).unwrap_err().to_string();
    assert!(error.contains("error: the file is not UTF-8"), "{error}");
    assert!(error.contains("seawall.toml:2:11"), "{error}");
}

#[test]
fn who_only_asks_for_the_admin_socket_needs_none_of_the_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seawall.toml");
    let tls = "tls = { cert = \"absent.pem\", key = \"absent.pem\" }";
    let site = format!("[site.\"example.com\"]\norigins = [\"10.0.0.1\"]\n{tls}\n");
    fs::write(&path, format!("[admin]\nsocket = \"run/admin.sock\"\n{site}")).unwrap();
    assert_eq!(config::admin_socket(&path).unwrap(), directory.path().join("run/admin.sock"));
    assert!(config::load_for(&super::machine(), &path).is_err());
}

#[test]
fn the_admin_socket_of_an_edge_is_found_whatever_became_of_its_config() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seawall.toml");
    for wrong in ["nonsense = true", "this is no TOML", "[site.\"example.com\"]\norigins = []"] {
        fs::write(&path, format!("admin.socket = \"run/admin.sock\"\n{wrong}\n")).unwrap();
        assert_eq!(config::admin_socket(&path).unwrap(), directory.path().join("run/admin.sock"));
        assert!(config::load_for(&super::machine(), &path).is_err());
    }
}
