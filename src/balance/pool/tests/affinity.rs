//! Requests that belong to a server, by a key or by a session.

use super::*;

/// Sends a GET with a cookie and says who answered.
async fn asked_with(pool: &Arc<Pool>, cookie: &str) -> Arc<str> {
    let mut req = request(Method::GET, "/");
    Arc::make_mut(&mut req.fields).insert(header::COOKIE, cookie.parse().unwrap());
    let response = Arc::clone(pool).fetch(req).await.unwrap();
    let server = response.facts.origin_server.clone().unwrap();
    content(response).await.unwrap();
    server
}

#[tokio::test]
async fn a_key_has_a_server_until_that_fails() {
    let origins = [TestOrigin::always(OK).await, TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    let mut config = config(&[&origins[0], &origins[1], &origins[2]]);
    config.balance = Balance::Hash(HashKey::Cookie("id".into()));
    let pool = pool(config);
    let cookies: Vec<_> = (0..40).map(|number| format!("id={number}")).collect();
    let mut homes = Vec::new();
    for cookie in &cookies {
        let home = asked_with(&pool, cookie).await;
        for _ in 0..5 {
            assert_eq!(asked_with(&pool, cookie).await, home);
        }
        homes.push(home);
    }
    assert!(homes.iter().collect::<HashSet<_>>().len() > 1, "{homes:?}");
    let members = pool.members();
    let lost = members.iter().find(|member| *member.label == *homes[0]).unwrap();
    pool.observe_health(lost, Outcome::Failed);
    for (cookie, home) in cookies.iter().zip(&homes) {
        let now = asked_with(&pool, cookie).await;
        assert_eq!(now == *home, *home != homes[0], "{cookie}");
    }
}

#[tokio::test]
async fn a_session_stays_with_its_server_and_survives_its_loss() {
    let origins = [TestOrigin::always(OK).await, TestOrigin::always(OK).await];
    let mut config = config(&[&origins[0], &origins[1]]);
    config.balance = Balance::Sticky("server".into());
    let directory = tempfile::tempdir().unwrap();
    let key = StickyKey::open(directory.path()).unwrap();
    let pool =
        Pool::new(Arc::new(config), None, Some(&key), Arc::new(SystemClock), &Tasks::new(), Arc::default());
    let pool = pool.unwrap();
    let ask = async |session| {
        let mut req = request(Method::GET, "/");
        req.session = session;
        let facts = Arc::clone(&pool).fetch(req).await.unwrap().facts;
        (facts.origin_server.unwrap(), facts.session)
    };
    let (home, cookie) = ask(None).await;
    let members = pool.members();
    let lost = members.iter().find(|member| member.label == home).unwrap();
    let tag = lost.tie.as_ref().map(|tie| tie.tag);
    let cookie = cookie.unwrap();
    assert!(cookie.to_str().unwrap().starts_with(&format!("server={:016x};", tag.unwrap())));
    for _ in 0..10 {
        assert_eq!(ask(tag).await, (Arc::clone(&home), None));
    }
    let guessed = ask(Some(7)).await;
    assert!(guessed.1.is_some(), "who made a cookie up gets a new one");
    pool.observe_health(lost, Outcome::Failed);
    let (other, cookie) = ask(tag).await;
    assert_ne!(other, home);
    assert!(cookie.is_some());
}
