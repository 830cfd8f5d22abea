//! Fills that outgrow what may be stored.

use super::*;
use crate::cache::stream::AHEAD as AHEAD_BYTES;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];
const CHUNK: usize = 64 << 10;
/// What may be stored, in chunks.
const STORABLE: usize = 32;
/// How far it runs ahead, in chunks.
const AHEAD: usize = AHEAD_BYTES as usize / CHUNK;

fn edge() -> Edge {
    Edge::sized(64 << 20, (STORABLE * CHUNK) as u64)
}

/// The chunk of this number: told apart by its bytes.
fn numbered(number: usize) -> Bytes {
    Bytes::from(vec![u8::try_from(number % 251).unwrap(); CHUNK])
}

/// Sends until nobody takes any more; says how many chunks were sent in all.
async fn fill_up(edge: &Edge, content: &Content, mut sent: usize) -> usize {
    loop {
        edge.settle().await;
        if content.0.try_send(Ok(numbered(sent))).is_err() {
            return sent;
        }
        sent += 1;
    }
}

async fn read(response: &mut Response, chunks: std::ops::Range<usize>) {
    for number in chunks {
        let bytes = chunk(response).await.unwrap().unwrap();
        assert!(bytes == numbered(number), "chunk {number}");
    }
}

#[tokio::test]
async fn the_leader_goes_on_and_sets_the_pace() {
    let mut edge = edge();
    let client = edge.get("/", &[]);
    let content = edge.exchange().await.respond(200, FRESH);
    let mut leader = answer(client).await;
    // What might be stored is taken without anybody reading; what cannot be waits.
    let mut sent = fill_up(&edge, &content, 0).await;
    assert!((STORABLE..=STORABLE + 2).contains(&sent), "{sent}");
    let mut taken = 0;
    while sent < 4 * STORABLE {
        read(&mut leader, taken..sent - 1).await;
        taken = sent - 1;
        sent = fill_up(&edge, &content, sent).await;
        assert!(sent <= taken + AHEAD + 2, "{sent} sent, {taken} taken");
    }
    drop(content);
    read(&mut leader, taken..sent).await;
    assert!(chunk(&mut leader).await.is_none());
    edge.settle().await;
    assert_eq!(edge.cache.usage().objects, 0);
    assert_eq!(edge.cache.budget.taken(), 0);
}

#[tokio::test]
async fn a_follower_that_falls_out_fetches_the_rest() {
    let mut edge = edge();
    let clients = [edge.get("/", &[]), edge.get("/", &[]), edge.get("/", &[])];
    let exchange = edge.exchange().await;
    edge.settle().await;
    let content = exchange.respond(200, FRESH);
    let [leader, slow, idle] = clients;
    let (mut leader, mut slow, mut idle) = (answer(leader).await, answer(slow).await, answer(idle).await);
    let mut sent = fill_up(&edge, &content, 0).await;
    read(&mut slow, 0..2).await;
    let mut taken = 0;
    while sent < 3 * STORABLE {
        read(&mut leader, taken..sent - 1).await;
        taken = sent - 1;
        sent = fill_up(&edge, &content, sent).await;
    }
    drop(content);

    let rest = edge.clients.spawn(async move { chunk(&mut slow).await });
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["range"], format!("bytes={}-", 2 * CHUNK));
    assert_eq!(exchange.req.fields["if-range"], "\"1\"");
    let range = format!("bytes {}-{}/{}", 2 * CHUNK, sent * CHUNK - 1, sent * CHUNK);
    let own = exchange.respond(206, &[("etag", "\"1\""), ("content-range", &range)]);
    own.send("the rest").await;
    assert_eq!(soon(rest).await.unwrap().unwrap().unwrap(), "the rest");

    // It has sent nothing yet, and the origin server has something else now.
    let rest = edge.clients.spawn(async move { chunk(&mut idle).await });
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("range"));
    exchange.respond_whole(200, &[("etag", "\"2\"")], "other");
    assert!(soon(rest).await.unwrap().unwrap().is_err());

    read(&mut leader, taken..sent).await;
    assert!(chunk(&mut leader).await.is_none());
}

/// Who came first and reads nothing fetches the rest by itself; where it cannot, all of them
/// wait for it.
#[tokio::test]
async fn the_first_holds_up_others_only_if_it_cannot_resume() {
    let with_ranges = |fields| [fields, &[("accept-ranges", "bytes")][..]].concat();
    for (fields, goes_on) in
        [(with_ranges(FRESH), true), (FRESH.to_vec(), false), (with_ranges(&FRESH[..1]), false)]
    {
        let mut edge = edge();
        let clients = [edge.get("/", &[]), edge.get("/", &[])];
        let exchange = edge.exchange().await;
        edge.settle().await;
        let content = exchange.respond(200, &fields);
        let [first, follower] = clients;
        let (mut first, mut follower) = (answer(first).await, answer(follower).await);
        read_one(&mut first, &content).await;
        let (mut sent, mut taken) = (fill_up(&edge, &content, 1).await, 0);
        loop {
            read(&mut follower, taken..sent - 1).await;
            taken = sent - 1;
            let more = fill_up(&edge, &content, sent).await;
            if more == sent || more > 3 * STORABLE {
                break;
            }
            sent = more;
        }
        assert_eq!(taken > 2 * STORABLE, goes_on, "{taken}");
        if goes_on {
            let rest = edge.clients.spawn(text(first));
            let exchange = edge.exchange().await;
            assert_eq!(exchange.req.fields["range"], format!("bytes={CHUNK}-"));
            drop(exchange);
            soon(rest).await.unwrap().unwrap_err();
        } else {
            read(&mut first, 1..taken).await;
            assert!(fill_up(&edge, &content, sent).await > sent, "it read on");
        }
    }
}

async fn read_one(first: &mut Response, content: &Content) {
    content.0.send(Ok(numbered(0))).await.unwrap();
    read(first, 0..1).await;
}

/// The second client of a fill, left behind after two chunks of `sent`.
async fn left_behind(edge: &mut Edge) -> (Response, usize) {
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let exchange = edge.exchange().await;
    edge.settle().await;
    let content = exchange.respond(200, FRESH);
    let [leader, slow] = clients;
    let (mut leader, mut slow) = (answer(leader).await, answer(slow).await);
    let mut sent = fill_up(edge, &content, 0).await;
    read(&mut slow, 0..2).await;
    let mut taken = 0;
    while sent < 3 * STORABLE {
        read(&mut leader, taken..sent - 1).await;
        taken = sent - 1;
        sent = fill_up(edge, &content, sent).await;
    }
    (slow, sent)
}

#[tokio::test]
async fn the_rest_is_all_of_the_rest() {
    let at = 2 * CHUNK;
    for (range, content, is_whole) in [
        (format!("bytes {at}-{}/{}", at + 4, at + 5), "12345", true),
        (format!("bytes {at}-{}/{}", at + 4, at + 5), "1234", false),
        (format!("bytes {at}-{}/{}", at + 4, at + 5), "123456", false),
        (format!("bytes {at}-{}/{}", at + 4, at + 9), "12345", false),
        (format!("bytes {at}-{}/*", at + 4), "12345", false),
        (format!("bytes {}-{}/{}", at + 1, at + 5, at + 6), "12345", false),
    ] {
        let mut edge = edge();
        let (slow, _) = left_behind(&mut edge).await;
        let rest = edge.clients.spawn(text(slow));
        let exchange = edge.exchange().await;
        let own = exchange.respond(206, &[("etag", "\"1\""), ("content-range", &range)]);
        let _ = own.0.send(Ok(Bytes::from_static(content.as_bytes()))).await;
        drop(own);
        assert_eq!(soon(rest).await.unwrap().is_ok(), is_whole, "{range} {content}");
    }
}

#[tokio::test]
async fn it_is_given_up_when_nobody_reads() {
    let mut edge = edge();
    let client = edge.get("/", &[]);
    let content = edge.exchange().await.respond(200, FRESH);
    let leader = answer(client).await;
    fill_up(&edge, &content, 0).await;
    drop(leader);
    soon(content.0.closed()).await;
    assert_eq!(edge.cache.budget.taken(), 0);
    assert_eq!(edge.metrics.fills_failed.value(), 1);
}

#[tokio::test]
async fn the_pace_passes_on_to_the_fastest() {
    let mut edge = edge();
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let exchange = edge.exchange().await;
    edge.settle().await;
    let content = exchange.respond(200, FRESH);
    let [leader, follower] = clients;
    let (leader, mut follower) = (answer(leader).await, answer(follower).await);
    let sent = fill_up(&edge, &content, 0).await;
    drop(leader);
    read(&mut follower, 0..sent - 1).await;
    let more = fill_up(&edge, &content, sent).await;
    assert!(more > sent);
    drop(content);
    read(&mut follower, sent - 1..more).await;
    assert!(chunk(&mut follower).await.is_none());
    assert!(edge.is_idle());
}

#[tokio::test]
async fn all_running_fills_together_are_bounded() {
    // A quarter of the memory: two of these fit, a third does not.
    let memory = (8 * STORABLE * CHUNK) as u64 + (4 << 20);
    let mut edge = Edge::sized(memory, (STORABLE * CHUNK) as u64);
    let mut running = Vec::new();
    for path in ["/1", "/2", "/3"] {
        let client = edge.get(path, &[]);
        let content = edge.exchange().await.respond(200, FRESH);
        let leader = answer(client).await;
        for number in 0..STORABLE {
            if content.0.try_send(Ok(numbered(number))).is_err() {
                break;
            }
            edge.settle().await;
        }
        running.push((leader, content));
    }
    assert!(edge.cache.budget.taken() <= memory / 4);
    for (leader, content) in running {
        drop(content);
        assert!(!text(leader).await.unwrap().is_empty());
    }
    edge.settle().await;
    assert_eq!(edge.cache.usage().objects, 2);
    assert_eq!(edge.cache.budget.taken(), 0);
}

#[tokio::test]
async fn what_is_not_stored_any_more_holds_up_no_purge() {
    let mut edge = edge();
    let client = edge.get("/", &[]);
    let content = edge.exchange().await.respond(200, FRESH);
    let leader = answer(client).await;
    fill_up(&edge, &content, 0).await;
    for batch in 0..100 {
        let tags: Vec<_> = (0..200).map(|at| format!("{batch}-{at}")).collect();
        edge.cache.purge(crate::cache::Purge::tags(&tags).unwrap()).await.unwrap();
    }
    drop((content, leader));
}
