//! What is waited for beside a connection: its deadlines, and a drain. They have something
//! to say a few times in the life of a connection that is polled for each request: they
//! are polled when their own timer or signal woke the task, and not when anything else did.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::sync::{AtomicBool, Mutex, Ordering};

pin_project_lite::pin_project! {
    /// A future that is polled only after it was woken.
    pub(super) struct Beside<F> {
        #[pin]
        future: F,
        woken: Arc<Woken>,
        // What the future wakes.
        own: Waker,
        // The task that this wakes.
        task: Waker,
    }
}

#[derive(Debug)]
struct Woken {
    is_woken: AtomicBool,
    /// Kept when it is woken: of a wake in the midst of a poll nobody would know later
    /// whether it took it.
    task: Mutex<Waker>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.wake();
    }
}

impl<F> Beside<F> {
    pub(super) fn new(future: F) -> Self {
        let task = Waker::noop().clone();
        let woken = Woken { is_woken: AtomicBool::new(true), task: Mutex::new(task.clone()) };
        let woken = Arc::new(woken);
        let own = Waker::from(Arc::clone(&woken));
        Self { future, woken, own, task }
    }
}

impl<F: Future> Future for Beside<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !this.task.will_wake(context.waker()) {
            this.task.clone_from(context.waker());
            *this.woken.task.lock().unwrap_or_else(PoisonError::into_inner) = this.task.clone();
        }
        // What is nearly always so is only read. After the task is known: who wakes before that
        // is seen here.
        let is_woken = &this.woken.is_woken;
        if !is_woken.load(Ordering::Acquire) || !is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        this.future.poll(&mut Context::from_waker(this.own))
    }
}
