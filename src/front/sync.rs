//! What `beside` shares with whoever wakes it. It decides nothing: a test compiles that
//! file once more, with what has every thread stopped wherever another one may go on.

pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicBool, Ordering};
