//! Many clients on several threads, and an origin server of every kind.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const KINDS: usize = 8;

const FRESHENED: &[(&str, &str)] = &[("cache-control", "no-cache"), ("etag", "\"1\"")];

/// Answers each path in its own way, never twice with the same bytes.
#[derive(Debug, Default)]
struct Everything(AtomicU64);

impl Origin for Everything {
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let kind: usize = req.target.path()[1..].parse().unwrap_or_default();
            let fields: &[(&str, &str)] = match kind {
                0 => &[("cache-control", "no-store")],
                1 => &[("cache-control", "max-age=0"), ("etag", "\"1\"")],
                2 => &[("cache-control", "max-age=60"), ("vary", "foo")],
                _ => &[("cache-control", "max-age=60")],
            };
            if req.method == Method::PUT {
                return Ok(Exchange::response(204, &[], Body::Empty));
            }
            match kind {
                3 => Err(refused()),
                // It freshens one time in two.
                6 if req.fields.contains_key("if-none-match") && number.is_multiple_of(2) => {
                    Ok(Exchange::response(304, FRESHENED, Body::Empty))
                }
                6 => Ok(Exchange::response(200, FRESHENED, content(number, 3, false))),
                7 => {
                    let length = (3 << 16).to_string();
                    let fields = [("cache-control", "max-age=60"), ("content-length", &length)];
                    Ok(Exchange::response(200, &fields, content(number, 3, false)))
                }
                4 => Ok(Exchange::response(200, fields, content(number, 3, true))),
                5 => Ok(Exchange::response(200, fields, content(number, 40, false))),
                _ => Ok(Exchange::response(200, fields, content(number, 3, false))),
            }
        })
    }
}

/// `chunks` of 64 KiB, all of the same byte, with a pause before each.
fn content(number: u64, chunks: usize, cut: bool) -> Body {
    let byte = u8::try_from(number % 251).unwrap();
    let frames = futures_util::stream::unfold(0, move |sent| async move {
        tokio::task::yield_now().await;
        match sent {
            _ if sent < chunks => Some((Ok(Frame::data(Bytes::from(vec![byte; 64 << 10]))), sent + 1)),
            _ if sent == chunks && cut => {
                Some((Err(BodyError::TimedOut { waited: Duration::ZERO }), sent + 1))
            }
            _ => None,
        }
    });
    Body::boxed(StreamBody::new(Box::pin(frames)))
}

/// Reads a response whole, or leaves after its first chunk.
async fn read(answer: Handling, leaves: bool) -> Option<Bytes> {
    let mut response = answer.await.ok()?;
    if leaves {
        let _ = response.body.frame().await;
        return None;
    }
    response.body.collect().await.ok().map(http_body_util::Collected::to_bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_hangs_and_nobody_gets_a_mixture() {
    let mut edge = Edge::sized(16 << 20, 1 << 20);
    edge.origin = Arc::new(Everything::default());
    let mut clients = Vec::new();
    for number in 0..1200 {
        let kind = number % KINDS;
        let fields = [("foo", if number % 4 == 0 { "a" } else { "b" })];
        let answer = edge.ask(edge.request(Method::GET, &format!("/{kind}"), &fields));
        let client = edge.clients.spawn(read(answer, number % 7 == 0));
        clients.push((kind, client));
    }
    for (kind, client) in clients {
        let Some(whole) = soon(client).await.unwrap() else { continue };
        assert!(kind != 3 && kind != 4, "{kind} is never whole");
        assert_eq!(whole.len(), if kind == 5 { 40 } else { 3 } << 16, "{kind}");
        assert!(whole == vec![whole[0]; whole.len()], "{kind}");
    }
    soon(edge.cache.tasks.wait()).await;
    assert_eq!(edge.cache.budget.taken(), 0);
    assert!((1..=6).contains(&edge.cache.usage().objects));
}

/// How many bytes `edge` holds, as it counted and added up anew.
async fn held(edge: &Edge) -> (u64, u64) {
    edge.cache.store.memory.settle().await;
    (edge.cache.usage().bytes, edge.cache.store.memory.added_up())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_is_lost_count_of() {
    // Little enough for fills to find the budget taken, and responses to be evicted.
    let mut edge = Edge::sized(8 << 20, 3 << 16);
    edge.origin = Arc::new(Everything::default());
    let mut clients = Vec::new();
    let mut chance = 1u64;
    for number in 0..3000 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let choice = usize::try_from(chance >> 33).unwrap();
        let path = format!("/{}?{}", choice % KINDS, choice / KINDS % 12);
        let (method, fields): (Method, &[(&str, &str)]) = match choice / 128 % 16 {
            0 => (Method::PUT, &[]),
            1 => (Method::HEAD, &[]),
            2 => (Method::GET, &[("range", "bytes=70000-80000")]),
            3 => (Method::GET, &[("cache-control", "no-cache")]),
            4 => (Method::GET, &[("authorization", "x")]),
            _ => (Method::GET, &[]),
        };
        let answer = edge.ask(edge.request(method, &path, fields));
        let client = edge.clients.spawn(read(answer, choice / 4096 % 5 == 0));
        if choice / 65_536 % 11 == 0 {
            client.abort();
        }
        clients.push(client);
        match number % 500 {
            250 => drop(edge.cache.clear()),
            499 => edge.clock.advance(Duration::from_secs(61)),
            _ => {}
        }
    }
    for client in clients {
        let _ = soon(client).await;
    }
    soon(edge.cache.tasks.wait()).await;
    assert_eq!(edge.cache.budget.taken(), 0);
    let (counted, added_up) = held(&edge).await;
    assert_eq!(counted, added_up);
    assert!(counted <= 9 << 20, "{counted}");
    // Nothing is still thought to be under way.
    assert!(edge.cache.fills.is_empty());
    edge.cache.clear();
    assert_eq!(held(&edge).await, (0, 0));
}
