//! The two seams of the way: what answers a request, and what is asked when
//! the cache has no answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::HeaderMap;

use super::{Failure, FetchError, Request, Response, SiteLabel};

/// What a handler says to a request.
#[derive(Debug)]
pub struct Answer {
    /// The site that answered, where there is one.
    pub site: Option<SiteLabel>,
    /// Browsers are told to come by https only, whatever the answer is.
    pub hsts: bool,
    /// The response, or why there is none.
    pub result: Result<Box<Response>, Failure>,
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Starts to answer `req`. Dropping the [`Handling`] gives the answer up.
    fn handle(&self, req: Box<Request>) -> Handling<Answer>;
}

/// An answer under way. A stored response is there at once, and then nothing
/// is boxed, spawned or polled twice for it.
pub enum Handling<T> {
    /// There already; `None` once it was taken.
    Ready(Option<T>),
    /// Still to come.
    Pending(BoxFuture<'static, T>),
}

impl<T: Send + 'static> Handling<T> {
    /// An answer that is there.
    pub fn ready(answer: T) -> Self {
        Self::Ready(Some(answer))
    }

    /// An answer to come.
    pub fn pending(answer: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Pending(Box::pin(answer))
    }

    /// True if the answer is there.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Changes the answer, now or when it comes.
    pub fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Handling<U> {
        match self {
            Self::Ready(answer) => Handling::Ready(answer.map(change)),
            Self::Pending(answer) => Handling::pending(async move { change(answer.await) }),
        }
    }
}

impl<T: Unpin> Future for Handling<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Ready(answer) => match answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => Poll::Pending,
            },
            Self::Pending(answer) => answer.as_mut().poll(context),
        }
    }
}

impl<T> fmt::Debug for Handling<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Handling::Ready",
            Self::Pending(_) => "Handling::Pending",
        })
    }
}

/// Where responses come from that are not stored: a pool of origin servers, or
/// something that edits requests on their way to one.
pub trait Origin: fmt::Debug + Send + Sync + 'static {
    /// Takes out of a request what would not reach an origin server anyway.
    /// Called once nothing stored answers the request, so that the choice among
    /// stored responses depends on nothing that no origin server sees.
    fn cleanse(&self, fields: &mut Arc<HeaderMap>, is_trusted_proxy: bool) {
        let _ = (fields, is_trusted_proxy);
    }

    /// Sends `req` to an origin server and resolves with the head of its
    /// response; the body follows as it comes. Dropping the future cancels the
    /// request.
    fn fetch(self: Arc<Self>, req: Box<Request>) -> BoxFuture<'static, Result<Box<Response>, FetchError>>;
}
