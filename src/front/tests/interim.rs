//! What an HTTP/1 client is told before an answer is for that answer.

use std::sync::Mutex;

use http::HeaderMap;

use super::*;

#[tokio::test]
async fn what_comes_for_an_exchange_that_was_answered_at_once_is_told_to_nobody() {
    let (kept, asked, released) =
        (Arc::new(Mutex::new(None)), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let front = front({
        let (kept, asked, released) = (Arc::clone(&kept), Arc::clone(&asked), Arc::clone(&released));
        move |req| {
            if req.target.path() == "/at-once" {
                *kept.lock().unwrap() = req.interim;
                return answer(Body::Full("well".into()));
            }
            asked.notify_one();
            let released = Arc::clone(&released);
            Handling::pending(async move {
                released.notified().await;
                answer(Body::Full("late".into())).await
            })
        }
    })
    .await;
    for version in ["1.0", "1.1"] {
        let mut client = connect(&front, ConnectionProtocol::Http1);
        client.write_all(b"GET /at-once HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        assert!(received(&mut client).await.ends_with("well"));
        client.write_all(format!("GET / HTTP/{version}\r\nHost: a.test\r\n\r\n").as_bytes()).await.unwrap();
        asked.notified().await;
        kept.lock().unwrap().take().unwrap().pass_on(StatusCode::EARLY_HINTS, &HeaderMap::new());
        tokio::task::yield_now().await;
        released.notify_one();
        let late = received(&mut client).await;
        assert!(late.contains(" 200 ") && late.ends_with("late") && !late.contains("103"), "{late}");
    }
}
