//! Between the edge and its origin servers: what goes over these connections,
//! and what never does.

mod by_hand;
mod difficult;
mod discovery;
mod hash;
mod http2;
mod restarts;
mod sticky;
mod streams;
mod websocket;

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

/// RFC 9110 s6.5.1: but for those that a recipient would act on before.
#[tokio::test]
async fn trailers_pass_both_ways() {
    let mut origin = Origin::start().await;
    let seawall = edge_before(&origin).await;
    let mut client = RawClient::connect(seawall.http).await;
    for _ in 0..2 {
        client
            .send(
                "POST / HTTP/1.1\r\nHost: site.test\r\nTE: trailers\r\nConnection: TE\r\n\
                 Trailer: X-Sum, X-Forwarded-For\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 1\r\n\r\n",
            )
            .await;
        let arrival = origin.next().await;
        let req = &arrival.request;
        assert_eq!(
            (req.content.as_slice(), &req.trailers[..]),
            (&b"hi"[..], &[("x-sum".to_owned(), "1".to_owned())][..])
        );
        assert_eq!((req.field("te"), req.field("connection")), (Some("trailers"), Some("te")));
        arrival
            .answer(
                "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Set-Cookie\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nyes\r\n0\r\nX-Sum: 2\r\nSet-Cookie: a=b\r\n\r\n",
            )
            .await;
        let res = client.response().await;
        assert_eq!((res.status(), res.content.as_slice()), (200, b"yes".as_slice()));
        assert_eq!(res.trailers, [("x-sum".to_owned(), "2".to_owned())]);
    }
    // Who does not say that it takes them gets none.
    client.send("GET /x HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    origin
        .next()
        .await
        .answer(
            "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTrailer: X-Sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\nX-Sum: 2\r\n\r\n",
        )
        .await;
    let res = client.response().await;
    assert_eq!((res.content.as_slice(), res.trailers.len()), (b"yes".as_slice(), 0));
}
