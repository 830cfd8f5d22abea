//! Wakes from another thread, in the orders in which both may go on, while the task is
//! polled for other reasons, too.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use beside::Beside;

#[allow(clippy::duplicate_mod, reason = "as it is")]
#[path = "../../beside.rs"]
mod beside;

mod sync {
    pub(super) use shuttle::sync::Mutex;
    pub(super) use shuttle::sync::atomic::{AtomicBool, Ordering};
}

/// Orders that are tried.
const ORDERS: usize = 2000;
const WAKES: usize = 3;

/// A task that runs once it was woken.
#[derive(Default)]
struct Task {
    is_due: Mutex<bool>,
    due: Condvar,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.is_due.lock().unwrap() = true;
        self.due.notify_one();
    }
}

impl Task {
    /// Waits for that; for ever if a wake was lost, which is told as a deadlock.
    fn wait(&self) {
        let mut is_due = self.is_due.lock().unwrap();
        while !*is_due {
            is_due = self.due.wait(is_due).unwrap();
        }
        *is_due = false;
    }
}

/// What has come, and who is to know of it.
#[derive(Default)]
struct Signal {
    come: AtomicUsize,
    listener: Mutex<Option<Waker>>,
}

fn all_come(signal: &Signal, context: &Context<'_>) -> Poll<()> {
    *signal.listener.lock().unwrap() = Some(context.waker().clone());
    if signal.come.load(SeqCst) < WAKES { Poll::Pending } else { Poll::Ready(()) }
}

#[test]
fn no_wake_is_lost_in_any_order() {
    shuttle::check_random(
        || {
            let (task, signal) = (Arc::new(Task::default()), Arc::new(Signal::default()));
            let source = thread::spawn({
                let signal = Arc::clone(&signal);
                move || {
                    for _ in 0..WAKES {
                        signal.come.fetch_add(1, SeqCst);
                        let listener = signal.listener.lock().unwrap().clone();
                        listener.into_iter().for_each(Waker::wake);
                    }
                }
            });
            // Who has the task polled for a request.
            let requests = thread::spawn({
                let task = Arc::clone(&task);
                move || Waker::from(task).wake()
            });
            let waker = Waker::from(Arc::clone(&task));
            let mut beside: Pin<&mut Beside<_>> =
                pin!(Beside::new(poll_fn(|context| all_come(&signal, context))));
            while beside.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                task.wait();
            }
            source.join().unwrap();
            requests.join().unwrap();
        },
        ORDERS,
    );
}
