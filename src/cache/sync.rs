//! What the state that cores share is made of. It decides nothing: a test
//! compiles the files that take their primitives from here once more, over
//! `tried`, and has every thread stopped wherever another one may go on.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard, RwLock};
pub(super) use std::thread_local;

pub(super) use arc_swap::ArcSwap;
pub(super) use tokio::sync::{Notify, watch};

/// The same names, under a scheduler that picks who goes on.
#[cfg(test)]
pub(super) mod tried {
    use std::sync::Arc;

    pub(in crate::cache) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(in crate::cache) use shuttle::sync::{Mutex, MutexGuard, RwLock};
    pub(in crate::cache) use shuttle::thread_local;

    /// An [`arc_swap::ArcSwap`].
    #[derive(Debug)]
    pub(in crate::cache) struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(in crate::cache) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(in crate::cache) fn load_full(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap())
        }

        pub(in crate::cache) fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap() = value;
        }
    }

    /// A [`tokio::sync::Notify`]: a step by itself is not taken apart.
    #[derive(Debug)]
    pub(in crate::cache) struct Notify(tokio::sync::Notify);

    impl Notify {
        pub(in crate::cache) fn new() -> Self {
            Self(tokio::sync::Notify::new())
        }

        pub(in crate::cache) fn notify_one(&self) {
            shuttle::thread::yield_now();
            self.0.notify_one();
        }

        pub(in crate::cache) async fn notified(&self) {
            shuttle::thread::yield_now();
            self.0.notified().await;
        }
    }

    /// [`tokio::sync::watch`], in steps as well.
    pub(in crate::cache) mod watch {
        use tokio::sync::watch;

        pub(in crate::cache) use tokio::sync::watch::Receiver;

        #[derive(Debug)]
        pub(in crate::cache) struct Sender<T>(watch::Sender<T>);

        pub(in crate::cache) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = watch::channel(value);
            (Sender(sender), receiver)
        }

        impl<T> Sender<T> {
            pub(in crate::cache) fn new(value: T) -> Self {
                Self(watch::Sender::new(value))
            }

            pub(in crate::cache) fn subscribe(&self) -> Receiver<T> {
                shuttle::thread::yield_now();
                self.0.subscribe()
            }

            pub(in crate::cache) fn borrow(&self) -> watch::Ref<'_, T> {
                self.0.borrow()
            }

            pub(in crate::cache) fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
                shuttle::thread::yield_now();
                self.0.send_if_modified(change)
            }

            pub(in crate::cache) fn send_modify(&self, change: impl FnOnce(&mut T)) {
                shuttle::thread::yield_now();
                self.0.send_modify(change);
            }

            pub(in crate::cache) fn receiver_count(&self) -> usize {
                self.0.receiver_count()
            }
        }
    }
}
