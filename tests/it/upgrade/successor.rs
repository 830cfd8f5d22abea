//! What the new process goes on with.

use std::os::unix::net::UnixDatagram;

use super::*;

#[tokio::test]
async fn what_is_stored_and_certificates_stay() {
    let (mut seawall, origin) = edge().await;
    let shown = Client::connect(seawall.https, &seawall.ca(), "site.test", Alpn::H2).await.certificate;
    for _ in 0..3 {
        let res = RawClient::ask(seawall.http, GET).await;
        assert_eq!((res.status(), res.content.as_slice()), (200, b"hello".as_slice()));
        upgraded(&mut seawall).await;
    }
    assert!(RawClient::ask(seawall.http, GET).await.field("cache-status").unwrap().contains("hit"));
    assert_eq!(origin.requests(), 1);
    let client = Client::connect(seawall.https, &seawall.ca(), "site.test", Alpn::H2).await;
    assert_eq!(client.certificate, shown);
}

#[tokio::test]
async fn it_runs_by_the_config_as_it_is_then() {
    let (mut seawall, origin) = edge().await;
    let address = ports::free_address();
    for workers in [1, 4] {
        let text = tables(&seawall.place, origin.address);
        seawall.place.configure(&format!("admin.metrics = \"{address}\"\n{text}"));
        let file = seawall.place.config();
        let changed = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, changed.replace("workers = 2", &format!("workers = {workers}"))).unwrap();
        upgraded(&mut seawall).await;
        assert_eq!(status(&seawall).await["workers"], workers);
        // Every socket is listened on, whatever their number was before.
        for _ in 0..32 {
            assert_eq!(RawClient::ask(seawall.http, GET).await.status(), 200);
        }
        let page = RawClient::ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(page.status(), 200);
    }
}

#[tokio::test]
async fn who_asked_is_told_though_the_process_before_has_nothing_to_finish() {
    let place = Place::new();
    let site = |number| {
        format!("[site.\"{number}.test\"]\norigins = [\"127.0.0.1:9\"]\nhealth = false\ntls = \"internal\"\n")
    };
    // So many certificates are left to the new process that the end comes before the answer.
    place.configure(&(0..1000).map(site).collect::<String>());
    let mut seawall = place.run().await;
    for _ in 0..3 {
        upgraded(&mut seawall).await;
    }
    let drained = seawall.ask("drain", &[]).await;
    assert!(drained.status.success(), "{}", words(&drained));
}

#[tokio::test]
async fn the_service_manager_is_told_which_process_serves() {
    let origin = Origin::answering(ok("Cache-Control: no-store\r\n", "hello")).await;
    let place = Place::new();
    let told = UnixDatagram::bind(place.path().join("notify")).unwrap();
    told.set_nonblocking(true).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", place.path().join("notify").display());
    let place = place.under(&["env", &variable]);
    place.configure(&tables(&place, origin.address));
    let mut seawall = place.run().await;
    upgraded(&mut seawall).await;
    let expected = format!("READY=1 MAINPID={}", seawall.pid().as_raw_nonzero());
    let mut words = Vec::new();
    eventually("what is told", || {
        let mut word = [0; 100];
        if let Ok(length) = told.recv(&mut word) {
            words.push(String::from_utf8_lossy(&word[..length]).into_owned());
        }
        (words.join(" ") == expected).then_some(())
    })
    .await;
}
