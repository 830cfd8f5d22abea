//! One failure of an origin server, told to several clients.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::exchange::FetchError;

/// A failure like `error` for one of those that waited for the same response.
pub(super) fn shared_failure(error: &Arc<FetchError>) -> FetchError {
    FetchError {
        retry_after: error.retry_after,
        origin_server: error.origin_server.clone(),
        attempts: error.attempts,
        source: error.source.is_some().then(|| Box::new(Source(Arc::clone(error))) as Box<_>),
        ..FetchError::new(error.kind, error.progress)
    }
}

/// The source of a shared failure, and nothing else of it.
#[derive(Debug)]
struct Source(Arc<FetchError>);

impl Source {
    fn original(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original().map_or(Ok(()), |original| fmt::Display::fmt(original, f))
    }
}

impl Error for Source {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.original().and_then(Error::source)
    }
}
