//! Ranges of what is stored whole.

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::cache::multipart::tests::taken_apart;
use crate::config::model::DiskConfig;
use crate::fields::range::{ContentRange, Span};
use crate::policy::SURROGATE_KEY;

const FRESH: &[(&str, &str)] =
    &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-type", "text/plain")];

/// Bytes that tell their positions.
pub(super) fn counted(length: usize) -> &'static str {
    let numbers = (0..=length / 8).map(|at| format!("{at:08}"));
    let mut text: String = numbers.collect();
    text.truncate(length);
    String::leak(text)
}

/// Each part of a 206 with its place, whether it has one or several.
pub(super) async fn parts(response: impl Into<Box<Response>>, complete: u64) -> Vec<(Span, Vec<u8>)> {
    let response = response.into();
    assert_eq!(response.status, StatusCode::PARTIAL_CONTENT);
    let fields = response.fields.clone();
    let content = soon(response.body.collect()).await.unwrap().to_bytes();
    assert_eq!(fields["content-length"], content.len().to_string());
    let read = match fields.get("content-range") {
        Some(range) => vec![(ContentRange::parse(range.as_bytes()).unwrap(), content.to_vec())],
        None => taken_apart(fields["content-type"].to_str().unwrap(), &content),
    };
    let place = |(range, bytes): (ContentRange, Vec<u8>)| match range {
        ContentRange::Part { first, last, complete: Some(length) } if length == complete => {
            (Span { first, last }, bytes)
        }
        other => panic!("{other}"),
    };
    read.into_iter().map(place).collect()
}

/// Are these parts of `whole` what they say?
pub(super) fn are_of(parts: &[(Span, Vec<u8>)], whole: &str) -> bool {
    let at = |position: u64| usize::try_from(position).unwrap();
    parts.iter().all(|(span, bytes)| &whole.as_bytes()[at(span.first)..=at(span.last)] == bytes.as_slice())
}

#[tokio::test]
async fn several_ranges_are_parts_of_one_answer() {
    let mut edge = Edge::new();
    let whole = counted(10_000);
    edge.store("/", FRESH, whole).await;
    let response = edge.hit("/", &[("range", "bytes=0-9, 5000-5099, -10")]);
    assert!(!response.fields.contains_key("content-range"));
    let boundary = response.fields["content-type"].clone();
    let answered = parts(response, 10_000).await;
    assert_eq!(answered.iter().map(|(span, _)| span.first).collect::<Vec<_>>(), [0, 5000, 9990]);
    assert!(are_of(&answered, whole));
    let again = edge.hit("/", &[("range", "bytes=0-9, 5000-5099, -10")]);
    assert_ne!(again.fields["content-type"], boundary);
    let abuse = format!("bytes={}", vec!["0-"; 500].join(","));
    assert_eq!(edge.hit("/", &[("range", &abuse)]).status, StatusCode::OK);
    let other = edge.hit("/", &[("range", "bytes=0-9, 5000-5099"), ("if-range", "\"2\"")]);
    assert_eq!(text(other).await.unwrap(), whole);
    assert!(edge.is_idle());
}

#[tokio::test]
async fn parts_come_from_a_file_as_well() {
    let directory = TempDir::new().unwrap();
    let disk = Some(DiskConfig { path: directory.path().to_owned(), size: 1 << 30 });
    let mut edge = Edge::configured(&CacheConfig {
        memory: 64 << 20,
        max_object: 8 << 20,
        disk,
        tags_field: SURROGATE_KEY,
    });
    let whole = counted(3_000_000);
    edge.store("/", FRESH, whole).await;
    edge.written(1).await;
    edge.cache.store.memory.clear();
    edge.cache.store.memory.settle().await;
    let ranges = [("range", "bytes=2000000-2999999, 5-1000004, -1")];
    let response = edge.ask(edge.request(Method::GET, "/", &ranges)).await.unwrap();
    let answered = parts(response, 3_000_000).await;
    assert_eq!(answered.len(), 2);
    assert!(are_of(&answered, whole));
}

#[tokio::test]
async fn a_running_fill_is_whole_for_several_ranges() {
    let mut edge = Edge::new();
    let length = &[("cache-control", "max-age=60"), ("content-length", "1000")];
    let leader = edge.get("/", &[]);
    let content = edge.exchange().await.respond(200, length);
    let follower = answer(edge.get("/", &[("range", "bytes=0-9, 500-509")])).await;
    assert_eq!(follower.status, StatusCode::OK);
    content.send(counted(1000)).await;
    drop(content);
    assert_eq!(text(follower).await.unwrap(), counted(1000));
    answer(leader).await;
    assert!(edge.is_idle());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Cut into pieces that are asked for in any order, one at a time or several.
    #[test]
    fn the_pieces_of_a_stored_response_are_the_whole(
        length in 1..4000_usize,
        cuts in vec(any::<prop::sample::Index>(), 0..30),
        several in 1..9_usize,
        order in any::<prop::sample::Index>(),
        on_disk: bool,
    ) {
        let content: String = (0_u8..=127).map(char::from).cycle().take(length).collect();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(length)).chain([0, length]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces: Vec<_> = cuts.windows(2).map(|pair| format!("{}-{}", pair[0], pair[1] - 1)).collect();
        // Every order of the beginning and the end would do.
        let middle = order.index(pieces.len());
        pieces.rotate_left(middle);
        pieces[..middle].reverse();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let mut edge = if on_disk { Edge::over(directory.path()) } else { Edge::new() };
            let client = edge.get("/", &[]);
            let body = Body::Full(content.clone().into());
            let _ = edge.exchange().await.answer.send(Ok(Exchange::response(200, FRESH, body)));
            text(answer(client).await).await.unwrap();
            let edge = if on_disk { edge.restarted(directory.path(), 1).await } else { edge };
            let mut whole = vec![None; length];
            for asked in pieces.chunks(several) {
                let range = format!("bytes={}", asked.join(", "));
                let response = edge.ask_and_wait(Method::GET, "/", &[("range", &range)]).await.unwrap();
                prop_assert!(status(&response).hit);
                let parts = match response.status {
                    // What would be no shorter in parts.
                    StatusCode::OK => vec![(0, text(response).await.unwrap().into_bytes())],
                    _ => {
                        let parts = parts(response, length as u64).await.into_iter();
                        parts.map(|(Span { first, .. }, bytes)| (first, bytes)).collect()
                    }
                };
                for (first, bytes) in parts {
                    for (place, byte) in whole[usize::try_from(first).unwrap()..].iter_mut().zip(bytes) {
                        prop_assert!(place.replace(byte).is_none_or(|known| known == byte));
                    }
                }
            }
            let whole: Option<Vec<u8>> = whole.into_iter().collect();
            prop_assert_eq!(whole, Some(content.into_bytes()));
            Ok(())
        })?;
    }
}
