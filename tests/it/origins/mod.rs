//! Between the edge and its origin servers: what goes over these connections,
//! and what never does.

use super::support::origin::Origin;
use super::support::process::Seawall;
use super::support::raw::RawClient;

/// The site `site.test` in cleartext before one origin server.
async fn edge_before(origin: &Origin) -> Seawall {
    let address = origin.address;
    Seawall::start(&format!(
        "[site.\"site.test\"]\norigins = [\"{address}\"]\nhealth = false\ntls = \"off\"\n"
    ))
    .await
}

/// RFC 9110 s6.5.1 lets an intermediary drop trailers it does not know to be
/// harmless. Reading a message fails where one is left.
#[tokio::test]
async fn trailers_are_dropped_both_ways() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin).await;
    let mut client = RawClient::connect(seawall.http).await;
    for _ in 0..2 {
        client
            .send(
                "POST / HTTP/1.1\r\nHost: site.test\r\nTE: trailers\r\nTrailer: X-Sum\r\n\
                 Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 1\r\n\r\n",
            )
            .await;
        let arrival = origin.next().await;
        assert_eq!(arrival.request.content, b"hi");
        assert!(arrival.request.field("trailer").is_none() && arrival.request.field("te").is_none());
        arrival
            .answer(
                "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nyes\r\n0\r\nX-Sum: 2\r\nSet-Cookie: a=b\r\n\r\n",
            )
            .await;
        let res = client.response().await;
        assert_eq!((res.status(), res.content.as_slice()), (200, b"yes".as_slice()));
        assert!(res.field("trailer").is_none());
    }
}
