//! Servers that have as many requests as they may.

use super::*;
use crate::config::model::Queue;
use crate::upstream::test_origin::send;

const S: fn(u64) -> Duration = Duration::from_secs;

/// Two servers that take one request each, and have one more wait.
fn narrow(origins: &[TestOrigin; 2], balance: Balance) -> Arc<Pool> {
    pool(PoolConfig {
        balance,
        max_requests: 1,
        queue: Queue { max: 1, timeout: S(60) },
        ..config(&[&origins[0], &origins[1]])
    })
}

#[tokio::test]
async fn who_is_busy_is_passed_over_whatever_the_strategy() {
    let origins = [TestOrigin::endless().await, TestOrigin::endless().await];
    for balance in every_balance() {
        let pool = narrow(&origins, balance);
        for (busy, free) in [(0, 1), (1, 0)] {
            let _held = send(&member(&pool, busy).origin, request(Method::GET, "/endless")).await.unwrap();
            for _ in 0..6 {
                assert_eq!(asked(&pool).await.as_ref(), origins[free].address.to_string());
            }
        }
    }
}

#[tokio::test]
async fn where_all_are_busy_some_wait_and_the_rest_are_refused_at_once() {
    let origins = [TestOrigin::endless().await, TestOrigin::endless().await];
    for balance in every_balance() {
        let pool = narrow(&origins, balance);
        let under_way = [get_endless(&pool).await.unwrap(), get_endless(&pool).await.unwrap()];
        let mut waiting = [Box::pin(asked(&pool)), Box::pin(asked(&pool))];
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let refused = get(&pool).await.unwrap_err();
        assert_eq!(
            (refused.kind, refused.progress, refused.retry_after),
            (ProxyErrorType::ConnectionLimitReached, RequestProgress::NotSent, Some(S(1)))
        );
        drop(under_way);
        for one in waiting {
            one.await;
        }
    }
}
