//! Where a record is set: at its name, or where that is an alias, at what it leads
//! to. The authority follows it there (RFC 8555 s8.4), so that a zone for proofs
//! alone can be kept apart from those that it proves.

use std::net::SocketAddr;
use std::time::Duration;

use crate::resolve::{NameServers, ResolveError};

/// So many aliases are followed.
const STEPS: usize = 8;

/// How long a DNS server has until it is asked again, once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the aliases end that begin with `record`, as far as DNS says so. Cancel
/// safe.
pub(super) async fn end_of(resolver: Option<SocketAddr>, record: String) -> String {
    match NameServers::new(resolver, PATIENCE) {
        Ok(servers) => {
            let servers = &servers;
            follow(record, |name| async move { servers.alias(&name).await }).await
        }
        Err(error) => unknown(record, &error),
    }
}

async fn follow<Next>(mut record: String, next: impl Fn(String) -> Next) -> String
where
    Next: Future<Output = Result<Option<String>, ResolveError>>,
{
    for _ in 0..STEPS {
        match next(record.clone()).await {
            Ok(Some(target)) => record = target,
            Ok(None) => return record,
            Err(error) => return unknown(record, &error),
        }
    }
    tracing::warn!(record, "a DNS record is set there, though there is another alias");
    record
}

/// Most names are no aliases.
fn unknown(record: String, error: &ResolveError) -> String {
    let reason = error.to_string();
    tracing::warn!(record, reason, "a DNS record is set there, though that might be an alias");
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn aliases_are_followed_as_far_as_is_known() {
        let next = |name: String| async move {
            let refused = || Err(ResolveError::Refused("Server Failure".to_owned()));
            match (name.as_str(), name.parse::<usize>()) {
                ("broken", _) => refused(),
                ("first", _) => Ok(Some("broken".to_owned())),
                (_, Ok(number @ 1..)) => Ok(Some((number - 1).to_string())),
                _ => Ok(None),
            }
        };
        for (name, expected) in [
            ("plain", "plain"),
            ("1", "0"),
            ("8", "0"),
            ("30", "22"),
            ("broken", "broken"),
            ("first", "broken"),
        ] {
            assert_eq!(follow(name.to_owned(), next).await, expected);
        }
    }
}
