//! Requests for the same at the same time.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[tokio::test]
async fn a_hundred_requests_are_one_fetch() {
    let mut edge = Edge::new();
    let clients: Vec<_> = (0..100).map(|_| edge.get("/", &[])).collect();
    let exchange = edge.exchange().await;
    edge.settle().await;
    let content = exchange.respond(200, FRESH);
    content.send("hel").await;
    let mut responses = Vec::new();
    for client in clients {
        responses.push(answer(client).await);
    }
    assert_eq!(responses.iter().filter(|response| status(response).collapsed).count(), 99);
    content.send("lo").await;
    drop(content);
    for response in responses {
        assert_eq!(text(response).await.unwrap(), "hello");
    }
    assert!(edge.is_idle());
    assert_eq!(edge.metrics.fills.value(), 1);
    assert_eq!(edge.metrics.fills_stored.value(), 1);
    assert_eq!(edge.metrics.fills_joined.value(), 99);
}

/// To each of a hundred it would answer the same.
#[tokio::test]
async fn a_crowd_asks_an_origin_server_that_fails_twice() {
    let mut edge = Edge::new();
    let clients: Vec<_> = (0..100).map(|_| edge.get("/", &[])).collect();
    for _ in 0..2 {
        let exchange = edge.exchange().await;
        edge.settle().await;
        exchange.respond_whole(503, &[], "busy");
    }
    let mut answers = [0, 0];
    for client in clients {
        match soon(client).await.unwrap() {
            Ok(response) => answers[usize::from(response.status != 503)] += 1,
            Err(Failure::Fetch { error, .. }) => {
                assert_eq!(error.kind, ProxyErrorType::DestinationUnavailable);
                assert!(error.retry_after.is_some());
                answers[1] += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(answers, [2, 98]);
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_late_client_reads_the_running_fill() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let content = edge.exchange().await.respond(200, FRESH);
    content.send("hel").await;
    let mut first = answer(first).await;
    assert_eq!(chunk(&mut first).await.unwrap().unwrap(), "hel");

    edge.clock.advance(Duration::from_secs(2));
    let mut late = answer(edge.get("/", &[])).await;
    assert_eq!(chunk(&mut late).await.unwrap().unwrap(), "hel");
    assert_eq!(status(&late).to_string(), "Seawall; fwd=uri-miss; ttl=58; collapsed");
    assert_eq!(late.fields["age"], "2");
    content.send("lo").await;
    drop(content);
    assert_eq!(text(late).await.unwrap(), "lo");
    assert_eq!(text(first).await.unwrap(), "lo");
    assert!(edge.is_idle());
}

#[tokio::test]
async fn the_first_client_may_leave_before_the_head() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    let other = edge.get("/", &[]);
    edge.settle().await;
    first.abort();
    edge.settle().await;
    exchange.respond_whole(200, FRESH, "hello");
    assert_eq!(text(answer(other).await).await.unwrap(), "hello");
    edge.hit("/", &[]);
}

#[tokio::test]
async fn every_client_may_leave_and_it_is_stored() {
    let mut edge = Edge::new();
    let clients = [edge.get("/", &[]), edge.get("/", &[])];
    let content = edge.exchange().await.respond(200, FRESH);
    content.send("hel").await;
    for client in clients {
        drop(answer(client).await);
    }
    content.send("lo").await;
    drop(content);
    edge.settle().await;
    assert_eq!(text(edge.hit("/", &[])).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_cannot_be_shared_queues_nobody() {
    let mut edge = Edge::new();
    let mut clients: Vec<_> = (0..4).map(|_| edge.get("/", &[])).collect();
    let first = edge.exchange().await;
    edge.settle().await;
    assert!(edge.is_idle());
    first.respond_whole(200, &[("cache-control", "no-store")], "0");
    // The others go at once and all together, and so do those that come later.
    clients.push(edge.get("/", &[]));
    let mut exchanges = Vec::new();
    for _ in 0..4 {
        exchanges.push(edge.exchange().await);
    }
    for exchange in exchanges {
        exchange.respond_whole(200, &[("cache-control", "private")], "1");
    }
    for client in clients {
        let response = answer(client).await;
        assert!(["no-store", "private"].contains(&status(&response).detail.unwrap()));
    }
    assert_eq!(edge.metrics.fills_joined.value(), 0);

    // A storable response ends it.
    let client = edge.get("/", &[]);
    edge.exchange().await.respond_whole(200, FRESH, "2");
    answer(client).await;
    edge.hit("/", &[]);
}

#[tokio::test]
async fn conditions_reach_the_origin_server_where_nothing_is_kept() {
    let mut edge = Edge::new();
    let condition = &[("if-none-match", "\"1\"")];
    let client = edge.get("/", condition);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("if-none-match"));
    exchange.respond_whole(200, &[("cache-control", "no-store"), ("etag", "\"1\"")], "0");
    assert_eq!(answer(client).await.status, StatusCode::NOT_MODIFIED);

    let client = edge.get("/", condition);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["if-none-match"], "\"1\"");
    exchange.respond_whole(304, &[("cache-control", "no-store"), ("etag", "\"1\"")], "");
    assert_eq!(answer(client).await.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_failure_is_handed_over_once() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    let others: Vec<_> = (0..5).map(|_| edge.get("/", &[])).collect();
    edge.settle().await;
    exchange.fail();
    assert!(matches!(soon(first).await.unwrap(), Err(Failure::Fetch { cache: Some(_), .. })));
    let second = edge.exchange().await;
    edge.settle().await;
    assert!(edge.is_idle());
    second.fail();
    for other in others {
        match soon(other).await.unwrap() {
            Err(Failure::Fetch { error, .. }) => {
                assert_eq!(error.kind, ProxyErrorType::ConnectionRefused);
                assert_eq!(error.source.unwrap().to_string(), "refused");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(edge.is_idle());
}

#[tokio::test]
async fn another_leader_may_succeed() {
    let mut edge = Edge::new();
    let first = edge.get("/", &[]);
    let exchange = edge.exchange().await;
    let others: Vec<_> = (0..5).map(|_| edge.get("/", &[])).collect();
    edge.settle().await;
    exchange.fail();
    edge.exchange().await.respond_whole(200, FRESH, "hello");
    for other in others {
        assert_eq!(text(answer(other).await).await.unwrap(), "hello");
    }
    assert!(soon(first).await.unwrap().is_err());
    assert!(edge.is_idle());
}

#[tokio::test]
async fn a_range_joins_a_fill_but_begins_none() {
    let mut edge = Edge::new();
    let whole = edge.get("/", &[]);
    let fields = &[("cache-control", "max-age=60"), ("content-length", "5")];
    let content = edge.exchange().await.respond(200, fields);
    let part = answer(edge.get("/", &[("range", "bytes=1-2")])).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    content.send("hel").await;
    assert_eq!(text(part).await.unwrap(), "el");
    content.send("lo").await;
    drop(content);
    assert_eq!(text(answer(whole).await).await.unwrap(), "hello");

    let part = edge.get("/other", &[("range", "bytes=1-2")]);
    let exchange = edge.exchange().await;
    assert_eq!(exchange.req.fields["range"], "bytes=1-2");
    exchange.respond_whole(206, &[("cache-control", "max-age=60"), ("content-range", "bytes 1-2/5")], "el");
    assert_eq!(answer(part).await.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(edge.cache.usage().objects, 2, "the part is kept by itself");

    // Several ranges bring the whole, and no origin server is bothered with them.
    let several = edge.get("/other", &[("range", "bytes=0-,0-,0-")]);
    let exchange = edge.exchange().await;
    assert!(!exchange.req.fields.contains_key("range"));
    exchange.respond_whole(200, fields, "hello");
    assert_eq!(text(answer(several).await).await.unwrap(), "hello");
    assert_eq!(edge.cache.usage().objects, 2);
}

#[tokio::test]
async fn who_wants_a_new_response_does_not_get_anothers() {
    let mut edge = Edge::new();
    edge.store("/", FRESH, "old").await;
    let clients = [(); 2].map(|()| edge.get("/", &[("cache-control", "no-cache")]));
    let exchanges = [edge.exchange().await, edge.exchange().await];
    for exchange in exchanges {
        exchange.respond_whole(200, FRESH, "new");
    }
    for client in clients {
        assert_eq!(text(answer(client).await).await.unwrap(), "new");
    }
}

const VARYING: &[(&str, &str)] = &[("cache-control", "max-age=1"), ("vary", "x")];

/// What is stored says on what the response varies: who wants another variant does not
/// wait for it, and who wants the same does not ask again.
#[tokio::test]
async fn variants_do_not_hold_each_other_up() {
    let mut edge = Edge::new();
    let client = edge.get("/", &[("x", "a")]);
    edge.exchange().await.respond_whole(200, VARYING, "old");
    answer(client).await;
    edge.clock.advance(Duration::from_secs(2));

    let variants = ["a", "b", "c", "a", "b", "c"];
    let clients = variants.map(|variant| edge.get("/", &[("x", variant)]));
    let [a, b, c] = [edge.exchange().await, edge.exchange().await, edge.exchange().await];
    edge.settle().await;
    assert!(edge.is_idle());
    // One of them fails, and fails nobody else.
    a.fail();
    for (exchange, variant) in [(b, "b"), (c, "c")] {
        assert_eq!(exchange.req.fields["x"], variant);
        exchange.respond_whole(200, VARYING, variant);
    }
    for (client, expected) in clients.into_iter().zip(["old", "b", "c", "old", "b", "c"]) {
        assert_eq!(text(answer(client).await).await.unwrap(), expected);
    }
    assert!(edge.is_idle());
}

/// Of a response that nobody has seen, one says it to all who wait for it.
#[tokio::test]
async fn who_waited_for_another_variant_waits_for_no_third() {
    let mut edge = Edge::new();
    let clients = ["a", "b", "c"].map(|variant| edge.get("/", &[("x", variant)]));
    let first = edge.exchange().await;
    edge.settle().await;
    assert!(edge.is_idle());
    first.respond_whole(200, VARYING, "a");
    for exchange in [edge.exchange().await, edge.exchange().await] {
        let variant = if exchange.req.fields["x"] == "b" { "b" } else { "c" };
        exchange.respond_whole(200, VARYING, variant);
    }
    for (client, variant) in clients.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(text(answer(client).await).await.unwrap(), variant);
    }
}

/// What happens while clients ask for a response that varies.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A client comes that wants this variant.
    Comes(usize),
    /// The origin server answers one of the requests that wait, up to its head.
    Answers(usize),
    /// One of the responses that run comes to its end.
    Ends(usize),
    /// A client that waits for its response leaves.
    Leaves(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = || 0..20_usize;
    prop_oneof![
        6 => (0..VARIANTS.len()).prop_map(Step::Comes),
        2 => index().prop_map(Step::Answers),
        1 => index().prop_map(Step::Ends),
        1 => index().prop_map(Step::Leaves),
    ]
}

/// As many as a request tries to follow before it is sent by itself.
const VARIANTS: [&str; 3] = ["a", "b", "c"];

/// The clients, and what the origin server is at.
struct Crowd {
    edge: Edge,
    clients: Vec<(&'static str, JoinHandle<Answered>)>,
    waiting: Vec<Exchange>,
    running: Vec<(String, Content)>,
    fetched: Vec<String>,
}

impl Crowd {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Comes(variant) => {
                let variant = VARIANTS[variant];
                self.clients.push((variant, self.edge.get("/", &[("x", variant)])));
            }
            Step::Answers(at) if !self.waiting.is_empty() => {
                let exchange = self.waiting.swap_remove(at % self.waiting.len());
                let variant = exchange.req.fields["x"].to_str().unwrap().to_owned();
                let content = exchange.respond(200, &[FRESH[0], ("vary", "x")]);
                content.send(variant.clone()).await;
                self.running.push((variant, content));
            }
            Step::Ends(at) if !self.running.is_empty() => {
                let (variant, content) = self.running.swap_remove(at % self.running.len());
                content.send(variant).await;
            }
            Step::Leaves(at) if !self.clients.is_empty() => {
                let (_, client) = self.clients.swap_remove(at % self.clients.len());
                client.abort();
            }
            Step::Answers(_) | Step::Ends(_) | Step::Leaves(_) => {}
        }
        self.edge.settle().await;
        while let Ok(exchange) = self.edge.exchanges.try_recv() {
            self.fetched.push(exchange.req.fields["x"].to_str().unwrap().to_owned());
            self.waiting.push(exchange);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In whatever order clients come and leave, and the origin server answers.
    #[test]
    fn every_variant_is_fetched_once(steps in vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (edge, clients) = (Edge::new(), Vec::new());
            let mut crowd =
                Crowd { edge, clients, waiting: Vec::new(), running: Vec::new(), fetched: Vec::new() };
            let mut wanted = [false; VARIANTS.len()];
            for step in steps {
                if let Step::Comes(variant) = step {
                    wanted[variant] = true;
                }
                crowd.step(step).await;
            }
            while !crowd.waiting.is_empty() || !crowd.running.is_empty() {
                crowd.step(Step::Answers(0)).await;
                crowd.step(Step::Ends(0)).await;
            }
            for (variant, client) in crowd.clients {
                prop_assert_eq!(text(answer(client).await).await.unwrap(), variant.repeat(2));
            }
            crowd.fetched.sort_unstable();
            let fetched_twice = crowd.fetched.windows(2).any(|pair| pair[0] == pair[1]);
            prop_assert!(!fetched_twice, "{:?}", crowd.fetched);
            prop_assert!(crowd.fetched.len() <= wanted.iter().filter(|wanted| **wanted).count());
            Ok(())
        })?;
    }
}
