//! The two seams of the way: what answers a request, and what is asked when
//! the cache has no answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::HeaderMap;

use super::{Failure, FetchError, Request, Response, SiteNumber};

/// What a handler says to a request.
#[derive(Debug)]
pub struct Answer {
    /// The site that answers, where there is one.
    pub site: Option<SiteNumber>,
    /// Browsers are told to come by https only, whatever the answer is.
    pub hsts: bool,
    /// The response, or why there is none.
    pub handling: Handling,
}

impl Answer {
    /// That of no site, which is there.
    pub fn of_no_site(result: Result<Box<Response>, Failure>) -> Self {
        Self { site: None, hsts: false, handling: Handling::ready(result) }
    }
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Starts to answer `req`. Dropping the [`Handling`] gives the answer up.
    fn handle(&self, req: Box<Request>) -> Answer;
}

/// An answer under way. A stored response is there at once, and then no future
/// is boxed, spawned or polled twice for it.
pub enum Handling {
    /// There already; `None` once it was taken.
    Ready(Option<Result<Box<Response>, Failure>>),
    /// Still to come.
    Pending(BoxFuture<'static, Result<Box<Response>, Failure>>),
}

impl Handling {
    /// An answer that is there.
    pub fn ready(result: Result<Box<Response>, Failure>) -> Self {
        Self::Ready(Some(result))
    }

    /// An answer to come.
    pub fn pending(result: impl Future<Output = Result<Box<Response>, Failure>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(result))
    }

    /// True if the answer is there.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Changes the response, now or when it comes.
    pub fn map(self, change: impl FnOnce(&mut Response) + Send + 'static) -> Self {
        let change = |result: Result<Box<Response>, Failure>| {
            result.map(|mut res| {
                change(&mut res);
                res
            })
        };
        match self {
            Self::Ready(result) => Self::Ready(result.map(change)),
            Self::Pending(result) => Self::pending(async move { change(result.await) }),
        }
    }
}

impl Future for Handling {
    type Output = Result<Box<Response>, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(result) => match result.take() {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending,
            },
            Self::Pending(result) => result.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Handling {
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
