//! How much of a response over HTTP/1.1 is read ahead of its reader: much where there
//! are few at a time, which makes them cheap, and little where there are many, whose
//! readers may all be slow.

use std::sync::Arc;

use super::slots::Slots;

/// So many responses of one server at a time are few.
const FEW: usize = 64;

/// What one holds where there are many, in bytes.
const LEAST: usize = 16 << 10;

/// What one holds where there are few, in bytes.
pub(super) const MOST: usize = 32 << 10;

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

/// The most that is read at once with so many responses at a time. hyper reads into
/// space that it doubles while reads fill it, so that these never fill it.
fn piece(responses: usize) -> usize {
    (if responses > FEW { LEAST } else { MOST }) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_responses_there_are_the_less_each_one_holds() {
        for (responses, kibibytes) in [(0, 32), (1, 32), (64, 32), (65, 16), (100_000, 16)] {
            assert_eq!(piece(responses), (kibibytes << 10) - 1, "{responses}");
        }
    }
}
