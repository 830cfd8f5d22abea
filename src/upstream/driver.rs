//! Who moves the bytes of a connection to an origin server: whoever waits for a response on it,
//! so that no other task has to be woken for that, and the bytes are still at hand when they are
//! passed on; or a task of its own, while nobody waits. Never decides when a connection is used.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::task::coop::has_budget_remaining;

use super::open::OpenConnection;
use crate::base::Tasks;

/// What moves the bytes of one connection.
pub(super) struct Driver(Arc<Shared>);

struct Shared {
    /// `None` once the connection has ended.
    moving: Mutex<Option<Moving>>,
    turn: Arc<Turn>,
    /// By which the connection tells `turn` that there is something to do.
    waker: Waker,
}

struct Moving {
    bytes: Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>,
    /// Counts the connection until it is closed, hence the last field.
    _open: Option<OpenConnection>,
}

/// Whose turn it is to move the bytes.
#[derive(Default)]
struct Turn {
    is_attended: AtomicBool,
    /// Who attends to the connection, while he waits.
    attendant: AtomicWaker,
    /// The task that does otherwise.
    task: AtomicWaker,
}

/// The task: the connection ends with it, however that ends.
struct Task(Arc<Shared>);

thread_local! {
    /// The turn whose attendant looks for what has come, on this thread, by its address.
    static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

impl Driver {
    /// Has a task of `tasks` move the bytes of `connection`, which is hyper's side of it, until
    /// that ends, and no longer counts as `open`.
    pub(super) fn start(
        connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static,
        open: Option<OpenConnection>,
        tasks: &Tasks,
    ) -> Self {
        let turn = Arc::new(Turn::default());
        let waker = Waker::from(Arc::clone(&turn));
        let moving = Mutex::new(Some(Moving { bytes: Box::pin(connection), _open: open }));
        let shared = Arc::new(Shared { moving, turn, waker });
        let task = Task(Arc::clone(&shared));
        tasks.spawn(poll_fn(move |context| task.poll(context)));
        Self(shared)
    }

    /// From now on nobody moves the bytes but [`Driver::poll`].
    pub(super) fn attend(&self) {
        self.0.turn.is_attended.store(true, SeqCst);
    }

    /// Leaves the bytes to the task again.
    pub(super) fn leave(&self) {
        let turn = &self.0.turn;
        if turn.is_attended.swap(false, SeqCst) && turn.attendant.take().is_none() {
            // Somebody was woken for what he will not look at any more.
            turn.task.wake();
        }
    }

    /// Polls what `poll` waits for from the connection, and moves bytes until that comes, if
    /// somebody attends to them.
    pub(super) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self.0.turn.is_attended.load(SeqCst) {
            return poll(context);
        }
        let turn = &self.0.turn;
        if let Poll::Ready(ready) = turn.look(&mut poll) {
            return Poll::Ready(ready);
        }
        turn.attendant.register(context.waker());
        if self.0.move_bytes(self.0.moving()).is_ready() {
            return poll(context);
        }
        let polled = turn.look(&mut poll);
        if polled.is_pending() && !has_budget_remaining() {
            // It may have come, and not be given for want of budget.
            context.waker().wake_by_ref();
        }
        polled
    }

    /// Closes the connection at once.
    pub(super) fn close(&self) {
        self.0.end(self.0.moving());
    }
}

impl Shared {
    /// Moves what can be moved now; ready once the connection has ended.
    fn move_bytes(&self, mut moving: MutexGuard<'_, Option<Moving>>) -> Poll<()> {
        let Some(Moving { bytes, .. }) = moving.as_mut() else { return Poll::Ready(()) };
        let Poll::Ready(ended) = bytes.as_mut().poll(&mut Context::from_waker(&self.waker)) else {
            return Poll::Pending;
        };
        self.end(moving);
        if let Err(error) = ended {
            // Whoever waits for a response is told by its sender.
            tracing::debug!(error = &error as &dyn std::error::Error, "origin connection ended");
        }
        Poll::Ready(())
    }

    /// Closes the connection, if it is not, and has the task end.
    fn end(&self, mut moving: MutexGuard<'_, Option<Moving>>) {
        let ended = moving.take();
        // What is dropped with it must not find the lock held.
        drop(moving);
        drop(ended);
        self.turn.task.wake();
    }

    fn moving(&self) -> MutexGuard<'_, Option<Moving>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let shared = &self.0;
        shared.turn.task.register(context.waker());
        // Locked before: who attends from now on moves bytes after this, and sees what came of it.
        let moving = shared.moving();
        if moving.is_some() && shared.turn.is_attended.load(SeqCst) {
            return Poll::Pending;
        }
        shared.move_bytes(moving)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.end(self.0.moving());
    }
}

impl Turn {
    /// Polls what comes by the bytes that the attendant moves himself: nobody needs to be woken for
    /// it, nor he for having taken it.
    fn look<T>(&self, poll: &mut impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        struct Looked(usize);
        impl Drop for Looked {
            fn drop(&mut self) {
                LOOKED_AT.set(self.0);
            }
        }
        let _before = Looked(LOOKED_AT.replace(self.address()));
        poll(&mut Context::from_waker(Waker::noop()))
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_attended.load(SeqCst) {
            if LOOKED_AT.get() == self.address() {
                return;
            }
            match self.attendant.take() {
                Some(attendant) => return attendant.wake(),
                // Who attends has not begun to wait, and will look.
                None if self.is_attended.load(SeqCst) => return,
                None => {}
            }
        }
        self.task.wake();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("is_attended", &self.0.turn.is_attended).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::task::yield_now;

    use super::*;

    /// A connection that counts how often it is polled, and ends when it is told to.
    #[derive(Default)]
    struct Scripted {
        polls: AtomicUsize,
        ends: AtomicBool,
        waker: AtomicWaker,
    }

    impl Scripted {
        fn start() -> (Arc<Self>, Driver, Tasks) {
            let (scripted, tasks) = (Arc::new(Self::default()), Tasks::new());
            let polled = Arc::clone(&scripted);
            let connection = poll_fn(move |context| {
                polled.waker.register(context.waker());
                polled.polls.fetch_add(1, SeqCst);
                if polled.ends.load(SeqCst) { Poll::Ready(Ok(())) } else { Poll::Pending }
            });
            let driver = Driver::start(connection, None, &tasks);
            (scripted, driver, tasks)
        }

        fn end(&self) {
            self.ends.store(true, SeqCst);
            self.waker.wake();
        }

        fn polls(&self) -> usize {
            self.polls.load(SeqCst)
        }
    }

    /// Lets all other tasks run.
    async fn settle() {
        for _ in 0..8 {
            yield_now().await;
        }
    }

    fn wait_once(driver: &Driver, waker: &Waker) -> Poll<()> {
        driver.poll(&mut Context::from_waker(waker), |_| Poll::Pending)
    }

    /// Notes that it was woken.
    #[derive(Default)]
    struct Attendant(AtomicUsize);

    impl Wake for Attendant {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[tokio::test]
    async fn who_attends_is_woken_and_nobody_else() {
        let (scripted, driver, _tasks) = Scripted::start();
        settle().await;
        assert_eq!(scripted.polls(), 1, "the task has not begun");
        let attendant = Arc::new(Attendant::default());
        driver.attend();
        assert!(wait_once(&driver, &Waker::from(Arc::clone(&attendant))).is_pending());
        scripted.waker.wake();
        settle().await;
        assert_eq!((scripted.polls(), attendant.0.load(SeqCst)), (2, 1));
        let mut answers = [Poll::Pending, Poll::Ready("head")].into_iter();
        let mut context = Context::from_waker(Waker::noop());
        let answer = driver.poll(&mut context, |_| answers.next().unwrap_or(Poll::Pending));
        assert_eq!((answer, scripted.polls()), (Poll::Ready("head"), 3));
    }

    #[tokio::test]
    async fn who_takes_what_came_is_not_woken_by_that() {
        let (scripted, driver, tasks) = Scripted::start();
        settle().await;
        driver.attend();
        let attendant = Arc::new(Attendant::default());
        for elsewhere in [false, true] {
            let mut looks = 0;
            let waker = Waker::from(Arc::clone(&attendant));
            let waited = driver.poll(&mut Context::from_waker(&waker), |_| {
                looks += 1;
                match (looks, elsewhere) {
                    (1, _) => return Poll::Pending,
                    (_, false) => scripted.waker.wake(),
                    (_, true) => std::thread::scope(|scope| scope.spawn(|| scripted.end()).join().unwrap()),
                }
                Poll::Ready(())
            });
            assert_eq!((waited, attendant.0.load(SeqCst)), (Poll::Ready(()), usize::from(elsewhere)));
        }
        driver.leave();
        settle().await;
        assert_eq!(tasks.running(), 0, "what happened elsewhere was lost");
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_task() {
        let tasks = Tasks::new();
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let connection = async move {
            let _inside = inside;
            panic!("of a test");
        };
        let driver = Driver::start(connection, None, &tasks);
        settle().await;
        assert_eq!((Arc::strong_count(&held), tasks.running()), (1, 0));
        drop(driver);
    }

    #[tokio::test]
    async fn the_task_goes_on_once_nobody_attends() {
        let (scripted, driver, tasks) = Scripted::start();
        settle().await;
        driver.attend();
        assert!(wait_once(&driver, Waker::noop()).is_pending());
        driver.leave();
        settle().await;
        assert_eq!(scripted.polls(), 2, "the task was woken for nothing");
        scripted.end();
        settle().await;
        assert_eq!((scripted.polls(), tasks.running()), (3, 0));
    }

    #[tokio::test]
    async fn what_happens_before_the_attendant_leaves_is_not_lost() {
        let (scripted, driver, tasks) = Scripted::start();
        settle().await;
        driver.attend();
        assert!(wait_once(&driver, Waker::noop()).is_pending());
        scripted.end();
        settle().await;
        assert_eq!(tasks.running(), 1);
        driver.leave();
        settle().await;
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test]
    async fn a_connection_ends_under_its_attendant_or_is_closed_by_him() {
        for is_closed in [false, true] {
            let (scripted, driver, tasks) = Scripted::start();
            settle().await;
            driver.attend();
            if is_closed {
                driver.close();
                assert_eq!(Arc::strong_count(&scripted), 1, "the connection is still there");
            } else {
                scripted.end();
                assert!(wait_once(&driver, Waker::noop()).is_pending());
            }
            settle().await;
            assert_eq!(tasks.running(), 0);
        }
    }
}
