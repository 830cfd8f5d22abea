//! What waits beside a connection is polled when it was woken, always, and only then.

mod interleavings;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::front::beside::Beside;

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn it_is_polled_when_it_was_woken_and_only_then() {
    let (polled, notify) = (AtomicUsize::new(0), Notify::new());
    let mut notified = Box::pin(notify.notified());
    let mut beside = pin!(Beside::new(poll_fn(|context| {
        polled.fetch_add(1, Relaxed);
        notified.as_mut().poll(context)
    })));
    let task = Arc::new(Task::default());
    let waker = Waker::from(Arc::clone(&task));
    let mut context = Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(beside.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!((polled.load(Relaxed), task.0.load(Relaxed)), (1, 0));
    notify.notify_one();
    assert_eq!(task.0.load(Relaxed), 1);
    assert!(beside.as_mut().poll(&mut context).is_ready());
    assert_eq!(polled.load(Relaxed), 2);
}

#[test]
fn it_wakes_whoever_polled_it_last_and_again_and_again() {
    let own = RefCell::new(None);
    let mut beside = pin!(Beside::new(poll_fn(|context| {
        *own.borrow_mut() = Some(context.waker().clone());
        Poll::<()>::Pending
    })));
    assert!(beside.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let task = Arc::new(Task::default());
    let waker = Waker::from(Arc::clone(&task));
    for times in 1..4 {
        assert!(beside.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        own.borrow().as_ref().unwrap().wake_by_ref();
        assert_eq!(task.0.load(Relaxed), times);
    }
}

#[test]
fn one_that_wakes_itself_is_polled_again() {
    let mut is_first = true;
    let mut beside = Beside::new(poll_fn(move |context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }));
    assert!((&mut beside).now_or_never().is_none());
    assert!((&mut beside).now_or_never().is_some());
}
