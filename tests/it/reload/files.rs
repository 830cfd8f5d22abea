//! The files that a config is read from and that it names: watched, and read anew.

use super::*;
use crate::support::curl;

#[tokio::test]
async fn a_watched_config_is_read_anew_when_it_changes() {
    let origins = [Origin::answering(personal("old")).await, Origin::answering(personal("new")).await];
    let mut place = Place::new();
    place.arguments = &["--watch"];
    place.configure(&site(origins[0].address));
    let seawall = place.run().await;
    assert_eq!(content(&seawall).await, "old");
    seawall.place.configure(&site(origins[1].address));
    seawall.metric_is("seawall_reloads_total", 1).await;
    assert_eq!(content(&seawall).await, "new");
}

#[tokio::test]
async fn a_watched_config_that_changes_during_the_start_is_read_anew() {
    let origin = Origin::answering(personal("new")).await;
    let mut place = Place::new();
    place.arguments = &["--watch"];
    // The start waits for it.
    let slow = SlowFile::of_site("old.test", &place.path().join("state"));
    place.configure(&site(origin.address).replace("site.test", "old.test").replace("off", "internal"));
    let config = place.config();
    let next =
        fs::read_to_string(&config).unwrap().replace("internal", "off").replace("old.test", "site.test");
    let changed = async {
        let mut waits = slow.is_read().await;
        fs::write(&config, next).unwrap();
        waits.write_all(b"nothing of use").unwrap();
    };
    let (seawall, ()) = tokio::join!(place.run(), changed);
    seawall.metric_is("seawall_reloads_total", 1).await;
    assert_eq!(content(&seawall).await, "new");
}

#[tokio::test]
async fn a_watched_config_is_found_behind_a_link_that_moves() {
    let origins = [Origin::answering(personal("old")).await, Origin::answering(personal("new")).await];
    let mut place = Place::new();
    place.arguments = &["--watch"];
    // As Kubernetes mounts a ConfigMap.
    for (version, origin) in ["..1", "..2"].into_iter().zip(&origins) {
        place.configure(&site(origin.address));
        fs::create_dir(place.path().join(version)).unwrap();
        fs::rename(place.config(), place.path().join(version).join("seawall.toml")).unwrap();
    }
    std::os::unix::fs::symlink("..1", place.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/seawall.toml", place.config()).unwrap();
    let seawall = place.run().await;
    assert_eq!(content(&seawall).await, "old");
    let aside = seawall.place.path().join("..data_tmp");
    std::os::unix::fs::symlink("..2", &aside).unwrap();
    fs::rename(&aside, seawall.place.path().join("..data")).unwrap();
    fs::remove_dir_all(seawall.place.path().join("..1")).unwrap();
    seawall.metric_is("seawall_reloads_total", 1).await;
    assert_eq!(content(&seawall).await, "new");
}

#[tokio::test]
async fn authorities_of_clients_that_cannot_be_read_leave_a_guarded_site_guarded() {
    let origin = Origin::answering(personal("hello")).await;
    let place = Place::new();
    let ca = place.path().join("clients.pem");
    fs::write(&ca, rcgen::generate_simple_self_signed(["client.test".to_owned()]).unwrap().cert.pem())
        .unwrap();
    let tables = format!(
        "[site.\"site.test\"]\norigins = [\"{}\"]\nhealth = false\ntls = {{ client_ca = \"{}\" }}\n",
        origin.address,
        ca.display()
    );
    place.configure(&tables);
    let seawall = place.run().await;
    for content in [Some("text"), Some(""), None] {
        match content {
            Some(content) => fs::write(&ca, content).unwrap(),
            None => fs::remove_file(&ca).unwrap(),
        }
        let output = reload(&seawall, &tables).await;
        assert!(!output.status.success() && words(&output).contains("client_ca"), "{}", words(&output));
        assert_eq!(generation(&seawall).await, 1);
    }
    // Who shows no certificate gets nothing, as before.
    let said = words(&curl::get("site.test", seawall.https, Some(&seawall.ca())).await);
    assert!(said.starts_with("curl: ") && !said.contains("HTTP/"), "{said}");
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn roots_for_origin_servers_are_read_anew() {
    // A server that speaks TLS.
    let server = AcmeServer::start(Options::default()).await;
    let directory: http::Uri = server.directory().parse().unwrap();
    let (origin, path) = (directory.authority().unwrap(), directory.path());
    let place = Place::new();
    let roots = place.path().join("roots.pem");
    fs::write(&roots, rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap().cert.pem()).unwrap();
    let tables = format!(
        "[pool.app]\norigins = [\"https://{origin}\"]\nhealth = false\n\
         tls = {{ ca = \"{}\", server_name = \"{}\" }}\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n",
        roots.display(),
        origin.host()
    );
    place.configure(&tables);
    let seawall = place.run().await;
    let get = GET.replacen('/', path, 1);
    assert_eq!(RawClient::ask(seawall.http, &get).await.status(), 502);
    fs::copy(server.root_file(), &roots).unwrap();
    reloaded(&seawall, &tables).await;
    assert_eq!(RawClient::ask(seawall.http, &get).await.status(), 200);
}

#[tokio::test]
async fn roots_for_acme_servers_are_read_anew() {
    let server = AcmeServer::start(Options::default()).await;
    let place = Place::new();
    let roots = place.path().join("roots.pem");
    fs::write(&roots, rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap().cert.pem()).unwrap();
    let tables = format!(
        "[acme]\ndirectory = [\"{}\"]\nca = \"{}\"\n\
         [site.\"www.example.test\"]\norigins = [\"127.0.0.1:9\"]\nhealth = false\ntls = \"auto\"\n",
        server.directory(),
        roots.display()
    );
    place.configure(&tables);
    let seawall = place.run().await;
    seawall.metric_is("seawall_certificate_failures_total", 1).await;
    fs::copy(server.root_file(), &roots).unwrap();
    reloaded(&seawall, &tables).await;
    eventually("a certificate", || (server.certificates().len() == 1).then_some(())).await;
}
