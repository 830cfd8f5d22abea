//! Addresses that are listened on under one config and not under another.

use super::*;

#[tokio::test]
async fn a_config_that_cannot_come_into_force_as_a_whole_does_not_in_part() {
    let origins = [Origin::answering(personal("as before")).await, Origin::answering(personal("new")).await];
    let mut seawall = Seawall::start(&site(origins[0].address)).await;
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let (http, free) = (seawall.http, ports::free_address());

    seawall.place.https = free;
    seawall.place.http = somebody.local_addr().unwrap();
    let output = reload(&seawall, &site(origins[1].address)).await;
    assert!(!output.status.success() && words(&output).contains("taken"), "{}", words(&output));
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
    assert!(TcpListener::bind(free).is_ok(), "nothing is left of what was bound");

    seawall.place.http = http;
    seawall.place.https = seawall.https;
    let unreadable = "tls = { certificate = \"none.pem\", key = \"none.pem\" }";
    let output = reload(&seawall, &site(origins[1].address).replace("tls = \"off\"", unreadable)).await;
    assert!(!output.status.success() && words(&output).contains("none.pem"), "{}", words(&output));
    assert_eq!((content(&seawall).await, generation(&seawall).await), ("as before".to_owned(), 1));
}

#[tokio::test]
async fn listeners_come_and_go_in_place() {
    let origin = Origin::answering(personal("hello")).await;
    let mut seawall = Seawall::start(&site(origin.address)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    assert_eq!(client.response().await.status(), 200);
    let old = seawall.http;
    seawall.http = ports::free_address();
    seawall.place.http = seawall.http;
    let said = reloaded(&seawall, &site(origin.address)).await;
    assert!(said.contains(&format!("+ listener http {}", seawall.http)), "{said}");
    assert!(said.contains(&format!("- listener http {old}")), "{said}");
    assert_eq!(content(&seawall).await, "hello");
    eventually("the old one is closed", || std::net::TcpStream::connect(old).err()).await;
    client.send(GET).await;
    assert_eq!(client.response().await.status(), 200, "a connection that came in there goes on");
}

#[tokio::test]
async fn a_listener_moves_to_an_address_that_holds_its_own() {
    let origin = Origin::answering(personal("hello")).await;
    let mut seawall = Seawall::start(&site(origin.address)).await;
    let (http, https) = (seawall.http, seawall.https);
    for (wider, other) in [("0.0.0.0", "[::]"), ("[::]", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")] {
        seawall.place.http = format!("{wider}:{}", http.port()).parse().unwrap();
        seawall.place.https = format!("{other}:{}", https.port()).parse().unwrap();
        let said = reloaded(&seawall, &site(origin.address)).await;
        assert!(said.contains(&format!("+ listener http {}", seawall.place.http)), "{said}");
        assert_eq!(content(&seawall).await, "hello");
    }
    // Each takes the place of the other.
    (seawall.place.http, seawall.place.https) = (https, http);
    reloaded(&seawall, &site(origin.address)).await;
    seawall.http = https;
    eventually("nothing but HTTP is spoken there", || {
        let mut stream = std::net::TcpStream::connect(https).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.write_all(GET.replace("site.test", "none.test").as_bytes()).ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).ok()?;
        (&head == b"HTTP/1.1 404").then_some(())
    })
    .await;
    assert_eq!(content(&seawall).await, "hello");
}

#[tokio::test]
async fn an_address_comes_beside_one_that_holds_it() {
    let origin = Origin::answering(personal("hello")).await;
    for is_upgrade in [false, true] {
        let mut place = Place::new();
        place.http.set_ip(std::net::Ipv4Addr::UNSPECIFIED.into());
        place.configure(&site(origin.address));
        let mut seawall = place.run().await;
        let (wide, config) = (seawall.http, seawall.place.config());
        seawall.http.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        let text = fs::read_to_string(&config).unwrap();
        let both = format!("\"{wide}\", \"{}\"", seawall.http);
        fs::write(&config, text.replace(&format!("\"{wide}\""), &both)).unwrap();
        let output = if is_upgrade { seawall.upgrade().await } else { seawall.ask("reload", &[]).await };
        assert!(output.status.success(), "{}", words(&output));
        assert_eq!(content(&seawall).await, "hello");
    }
}
