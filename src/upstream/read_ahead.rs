//! How much of a response over HTTP/1.1 is read ahead of its reader: much where there
//! are few at a time, which makes them cheap, and little where there are many, whose
//! readers may all be slow.

use std::sync::Arc;

use super::slots::Slots;
use crate::base::FULL_RECORD;

/// So many responses of one server at a time are few.
const FEW: usize = 64;

/// What one holds where there are many, in bytes: nothing is left of it for another
/// record.
const LEAST: usize = FULL_RECORD;

/// What one holds where there are few, in bytes.
const MOST: usize = 2 * FULL_RECORD;

/// What hyper needs to have space for, in bytes. It doubles that while reads fill it,
/// which none does.
pub(super) const SPACE: usize = 32 << 10;
const _: () = assert!(MOST < SPACE);

/// Bounds the reads of a connection by the requests that its server is answering.
#[derive(Debug)]
pub(super) struct ReadAhead(Arc<Slots>);

impl ReadAhead {
    /// For a server with these slots.
    pub(super) fn new(slots: &Arc<Slots>) -> Self {
        Self(Arc::clone(slots))
    }

    /// The most that is read at once now, in bytes.
    pub(super) fn most(&self) -> u64 {
        piece(self.0.in_use()) as u64
    }
}

/// The most that is read at once with so many responses at a time.
fn piece(responses: usize) -> usize {
    if responses > FEW { LEAST } else { MOST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_responses_there_are_the_less_each_one_holds() {
        for (responses, records) in [(0, 2), (1, 2), (64, 2), (65, 1), (100_000, 1)] {
            assert_eq!(piece(responses), records * FULL_RECORD, "{responses}");
        }
    }
}
