//! What the benches see of this floor.

use super::pick::{Candidate, Fitness, power_of_two};
use crate::base::random_below;
use crate::upstream::Room;

/// Picks one of so many servers, which are alike but for their load, as often as it is
/// called.
pub fn picks(servers: usize) -> impl FnMut() -> Option<usize> {
    let candidate = Candidate {
        fitness: Fitness::Fit,
        is_backup: false,
        tries: 0,
        weight: 1,
        warmth: 100,
        room: Room::Free,
    };
    let candidates = vec![candidate; servers];
    move || power_of_two(candidates.iter().copied(), |index| (index % 3) as f64, random_below)
}
