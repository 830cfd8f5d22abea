//! How much of a response over HTTP/1.1 is read ahead of its reader: much where there
//! are few at a time that take what they are given, which makes them cheap, and little
//! where there are many, whose readers may all be slow, or where some are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::slots::Slots;
use crate::base::{FULL_FRAGMENT, SENT_AT_ONCE};

/// So many responses of one server at a time are few.
const FEW: usize = 64;

/// So many bytes that their readers have not passed on are few.
const FEW_BYTES: usize = 1 << 20;

/// What is read at once where any of them is many, in bytes: of content alone no more
/// than a record takes.
const LEAST: usize = FULL_FRAGMENT;

/// What goes with content when it is passed on, in bytes at most: a head that is longer
/// than the one it came with, or the size of a chunk.
const AROUND: usize = 1 << 10;

/// What is read at once where both are few, in bytes: with what goes with it, no more
/// than a client is sent at once. What is over, a few bytes, would be written alone.
const MOST: usize = SENT_AT_ONCE - AROUND;

/// What the readers of one server's responses were given, and have not asked for more
/// since. Last pieces are not among it: with them a response is over here.
#[derive(Debug, Default)]
pub(super) struct Unread(AtomicUsize);

/// The part of that which one reader has.
#[derive(Debug)]
pub(super) struct Reader {
    all: Arc<Unread>,
    bytes: usize,
}

impl Reader {
    /// One that has nothing yet.
    pub(super) fn new(all: &Arc<Unread>) -> Self {
        Self { all: Arc::clone(all), bytes: 0 }
    }

    /// It passed on what it had, and was given so many bytes.
    pub(super) fn has(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.all.0.fetch_add(bytes.wrapping_sub(self.bytes), Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.has(0);
    }
}

/// Bounds the reads of a connection by what goes on with its server.
#[derive(Debug)]
pub(super) struct ReadAhead {
    slots: Arc<Slots>,
    unread: Arc<Unread>,
}

impl ReadAhead {
    /// For a server with these slots and readers.
    pub(super) fn new(slots: &Arc<Slots>, unread: &Arc<Unread>) -> Self {
        Self { slots: Arc::clone(slots), unread: Arc::clone(unread) }
    }

    /// The most that is read at once now, in bytes.
    pub(super) fn most(&self) -> usize {
        piece(self.slots.in_use(), self.unread.0.load(Relaxed))
    }
}

/// The most that is read at once with so many responses at a time, of which so many
/// bytes are unread.
fn piece(responses: usize, unread: usize) -> usize {
    if responses > FEW || unread > FEW_BYTES { LEAST } else { MOST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_responses_there_are_the_less_each_one_holds() {
        for (responses, most) in [(0, MOST), (1, MOST), (64, MOST), (65, LEAST), (100_000, LEAST)] {
            assert_eq!(piece(responses, 0), most, "{responses}");
        }
    }

    #[test]
    fn what_readers_hold_counts_until_they_pass_it_on_or_leave() {
        let all = Arc::default();
        let most = || piece(1, all_of(&all));
        let (mut one, mut other) = (Reader::new(&all), Reader::new(&all));
        one.has(FEW_BYTES);
        assert_eq!(most(), MOST);
        other.has(1);
        assert_eq!(most(), LEAST);
        one.has(5);
        assert_eq!((most(), all_of(&all)), (MOST, 6));
        drop(one);
        drop(other);
        assert_eq!(all_of(&all), 0);
    }

    fn all_of(all: &Arc<Unread>) -> usize {
        all.0.load(Relaxed)
    }
}
