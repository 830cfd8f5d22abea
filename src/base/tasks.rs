//! Spawns tasks, so that a drain can wait for all of them. Nobody else calls
//! `tokio::spawn`.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one process and the signal that asks them to end.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// No task yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` on the current runtime and has [`Tasks::wait`] wait for it.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(task))
    }

    /// Runs `task` until it ends or [`Tasks::stop`] is called: for endless work
    /// such as health checks, which must not hold a drain up.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_until_stopped<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        tokio::spawn(self.tracker.track_future(async move {
            stop.run_until_cancelled(task).await;
        }));
    }

    /// Ends what [`Tasks::spawn_until_stopped`] runs and resolves
    /// [`Tasks::stopped`].
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until [`Tasks::stop`] is called. Cancel safe.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// True once [`Tasks::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// How many tasks run now.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until no task is left. Cancel safe.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
