//! Origin servers that are away, talk nonsense, are late or end too early: the
//! status that says so, and never a part as the whole.

use super::{Origin, Seawall, edge_before};
use crate::support::ports;
use crate::support::raw::RawClient;

const GET: &str = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";

fn pool(origin: std::net::SocketAddr, options: &str) -> String {
    format!(
        "[pool.app]\norigins = [\"{origin}\"]\n{options}\n\
         [site.\"site.test\"]\npool = \"app\"\ntls = \"off\"\n"
    )
}

#[tokio::test]
async fn without_an_origin_server_it_is_unavailable() {
    let nobody = ports::free_address();
    let seawall = Seawall::start(&pool(nobody, "panic = false\nhealth = { every = \"1s\" }")).await;
    let res = RawClient::ask(seawall.http, GET).await;
    assert_eq!(res.status(), 503);
    assert!(res.field("retry-after").unwrap().parse::<u32>().is_ok());
    assert!(res.field("proxy-status").unwrap().contains("error=destination_unavailable"));
}

#[tokio::test]
async fn a_refused_connection_is_a_bad_gateway() {
    let seawall = edge_before(ports::free_address(), "").await;
    let res = RawClient::ask(seawall.http, GET).await;
    assert_eq!(res.status(), 502);
    assert!(res.field("proxy-status").unwrap().contains("error=connection_refused"));
}

#[tokio::test]
async fn nonsense_is_a_bad_gateway() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: junk\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ] {
        let mut origin = Origin::start().await;
        let seawall = edge_before(origin.address, "").await;
        let mut client = RawClient::connect(seawall.http).await;
        client.send(GET).await;
        let mut arrival = origin.next().await;
        arrival.send(nonsense).await;
        arrival.cut();
        assert_eq!(client.response().await.status(), 502, "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_late_origin_server_is_a_gateway_timeout() {
    let mut origin = Origin::start().await;
    let options = "health = false\ntimeouts = { first_byte = \"200ms\" }";
    let seawall = Seawall::start(&pool(origin.address, options)).await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send(GET).await;
    let held = origin.next().await;
    let res = client.response().await;
    assert_eq!(res.status(), 504);
    assert!(res.field("proxy-status").unwrap().contains("error=http_response_timeout"));
    drop(held);
}

#[tokio::test]
async fn a_part_is_never_passed_on_as_the_whole() {
    for part in [
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhalf ",
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n",
    ] {
        let mut origin = Origin::start().await;
        let seawall = edge_before(origin.address, "").await;
        for _ in 0..2 {
            let mut client = RawClient::connect(seawall.http).await;
            client.send(GET).await;
            let mut arrival = origin.next().await;
            arrival.send(part).await;
            arrival.cut();
            // Cut, or refused where nothing of it had left yet.
            let res = client.response_or_cut().await;
            assert!(res.is_none_or(|res| res.status() == 502), "{part:?}");
        }
        assert_eq!(origin.requests(), 2, "a part is not stored");
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(origin.address, "").await;
    let mut client = RawClient::connect(seawall.http).await;
    client.send("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 2\r\n\r\nhi").await;
    let arrival = origin.next().await;
    assert_eq!(arrival.request.content, b"hi");
    arrival.cut();
    assert_eq!(client.response().await.status(), 502);
    assert_eq!(origin.requests(), 1);
}
