//! The buffers that worker threads write records into and the writer takes
//! them from. A worker shares its buffer with the writer alone, which holds the
//! lock for no longer than it takes to swap two pointers.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::Dates;

/// More worker threads than this share buffers, which costs speed only.
const BUFFERS: usize = 64;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Relaxed);
}

/// Finished records, one a line, of one worker thread.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) dates: Dates,
}

// Two cache lines, because x86 prefetches them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Buffer(Mutex<Lines>);

/// One buffer for each worker thread.
#[derive(Debug)]
pub(super) struct Buffers(Box<[Buffer]>);

impl Default for Buffers {
    fn default() -> Self {
        Self(std::iter::repeat_with(Buffer::default).take(BUFFERS).collect())
    }
}

impl Buffers {
    /// Runs `write` on the buffer of this thread.
    pub(super) fn with_own<T>(&self, write: impl FnOnce(&mut Lines) -> T) -> T {
        let own = THREAD.with(|thread| thread % BUFFERS);
        write(&mut self.0[own].0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Empties every buffer into `write`. `spare` is what a worker gets in place
    /// of the buffer that is taken from it.
    pub(super) fn take_each(&self, spare: &mut Vec<u8>, mut write: impl FnMut(&[u8])) {
        for buffer in &self.0 {
            let mut lines = buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.bytes.is_empty() {
                continue;
            }
            std::mem::swap(spare, &mut lines.bytes);
            drop(lines);
            write(spare);
            spare.clear();
        }
    }
}
