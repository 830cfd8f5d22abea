//! POSTs whose response answers a GET (RFC 9110 s9.3.3), and all others.

use super::*;

const NAMED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("content-location", "/form")];

impl Edge {
    fn post(&self, path: &str, fields: &[(&'static str, &str)]) -> JoinHandle<Answered> {
        let mut req = self.request(Method::POST, path, fields);
        req.body = Body::Full(Bytes::from_static(b"sent"));
        self.clients.spawn(self.ask(req))
    }

    async fn posted(
        &mut self,
        fields: &[(&'static str, &str)],
        response: &[(&'static str, &str)],
    ) -> Response {
        let client = self.post("/form", fields);
        let exchange = self.exchange().await;
        assert_eq!(exchange.req.method, Method::POST);
        exchange.respond_whole(200, response, "new");
        answer(client).await
    }
}

#[tokio::test]
async fn the_answer_to_a_post_answers_gets_of_its_target() {
    let mut edge = Edge::new();
    edge.store("/form", &[("cache-control", "max-age=60")], "old").await;
    let posted = edge.posted(&[("if-none-match", "*"), ("range", "bytes=0-0")], NAMED).await;
    assert_eq!(status(&posted).fwd, Some(crate::fields::cache_status::ForwardReason::Method));
    assert!(status(&posted).stored);
    assert_eq!((posted.status, text(posted).await.unwrap().as_str()), (StatusCode::OK, "new"));
    let hit = edge.hit("/form", &[]);
    assert_eq!(
        (&hit.fields["content-location"], text(edge.hit("/form", &[])).await.unwrap().as_str()),
        (&HeaderValue::from_static("/form"), "new")
    );
    // The next POST reaches the origin server all the same.
    edge.posted(&[], NAMED).await;
}

#[tokio::test]
async fn other_answers_are_not_kept() {
    for (asked, response) in [
        (&[][..], &[("cache-control", "max-age=60")][..]),
        (&[], &[("content-location", "/form")]),
        (&[], &[NAMED[0], ("content-location", "/other")]),
        (&[], &[NAMED[1], ("cache-control", "max-age=60, private")]),
        (&[], &[NAMED[0], NAMED[1], ("set-cookie", "a=b")]),
        (&[("authorization", "x")], NAMED),
        (&[("cache-control", "no-store")], NAMED),
    ] {
        let mut edge = Edge::new();
        edge.store("/form", &[("cache-control", "max-age=60")], "old").await;
        let posted = edge.posted(asked, response).await;
        assert!(!status(&posted).stored, "{asked:?} {response:?}");
        assert_eq!(text(posted).await.unwrap(), "new");
        assert_eq!(edge.cache.usage().objects, 0, "{response:?}: the old one is void");
    }
}

#[tokio::test]
async fn it_varies_as_the_answer_to_a_get_does() {
    let mut edge = Edge::new();
    edge.posted(&[("accept", "a/b")], &[NAMED[0], NAMED[1], ("vary", "accept")]).await;
    assert_eq!(text(edge.hit("/form", &[("accept", "a/b")])).await.unwrap(), "new");
    edge.get("/form", &[("accept", "c/d")]);
    edge.exchange().await;
}

/// Of two writes nobody knows which one the origin server did last.
#[tokio::test]
async fn what_another_write_or_purge_made_void_meanwhile_is_not_kept() {
    for purges in [false, true] {
        let mut edge = Edge::new();
        let first = edge.post("/form", &[]);
        let held = edge.exchange().await;
        if purges {
            edge.cache.purge(crate::cache::Purge::everything()).await.unwrap();
        } else {
            edge.posted(&[], &[]).await;
        }
        held.respond_whole(200, NAMED, "old");
        assert_eq!(text(answer(first).await).await.unwrap(), "old");
        assert_eq!(edge.cache.usage().objects, 0);
    }
}

/// The key is invalidated twice then: by the POST itself, and by the purge.
#[tokio::test]
async fn a_purge_while_its_target_is_invalidated_makes_it_void() {
    let dir = tempfile::tempdir().unwrap();
    let mut in_between = 0;
    for steps in 0..200 {
        let mut edge = Edge::over(&dir.path().join(steps.to_string()));
        let client = edge.post("/form", &[]);
        edge.exchange().await.respond_whole(200, NAMED, "new");
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        in_between += u32::from(steps >= 3 && !client.is_finished());
        let key = Cache::key(&edge.request(Method::GET, "/form", &[]).target);
        edge.cache.purge(crate::cache::Purge::keys(vec![key.clone()]).unwrap()).await.unwrap();
        answer(client).await;
        edge.settle().await;
        let kept = edge.cache.store.memory.look_again(&key).await;
        // A response that has not reached the cache yet comes after the purge.
        assert!(steps < 3 || kept.is_none_or(|kept| kept.responses().is_empty()), "{steps}");
    }
    assert!(in_between > 0);
}
