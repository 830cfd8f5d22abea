//! Which server of a pool a request goes to. Pure: chance is an argument, and
//! what is known of the servers comes as a list.

mod least_connections;
mod rendezvous;
#[cfg(test)]
mod tests;

pub(super) use least_connections::least_connections;
pub(super) use rendezvous::rendezvous;

use crate::upstream::Room;

/// A server's place among those of its pool.
pub(super) type ServerIndex = usize;

/// How fit a server is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    /// Nothing is known against it.
    Fit,
    /// Nothing is known of it yet.
    Unchecked,
    /// It failed too many requests lately.
    Ejected,
    /// Its health checks fail.
    Down,
    /// An operator wants it asked for the sessions that it has only.
    Draining,
    /// An operator wants it asked for nothing.
    Withdrawn,
}

/// What matters of a server when one is picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) fitness: Fitness,
    /// Only picked when there is nobody else.
    pub(super) is_backup: bool,
    /// So often this request was sent to it already.
    pub(super) tries: usize,
    /// Its share against the others, at least 1.
    pub(super) weight: u32,
    /// Hundredths of the weight that it gets for now.
    pub(super) warmth: u32,
    /// What would become of another request there.
    pub(super) room: Room,
}

impl Candidate {
    /// Its share against the others, for now.
    fn share(&self) -> usize {
        self.weight as usize * self.warmth as usize
    }

    /// Only candidates of the lowest rank present are picked from: who has no room is
    /// passed over, but load is no reason to turn to a backup or to the unchecked.
    fn rank(&self) -> Option<(u8, Room)> {
        let class = match (self.fitness, self.tries, self.is_backup) {
            (Fitness::Fit, 0, false) => 0,
            (Fitness::Unchecked, 0, false) => 1,
            (Fitness::Fit, 0, true) => 2,
            (Fitness::Unchecked, 0, true) => 3,
            (Fitness::Fit | Fitness::Unchecked, 1, _) => 4,
            // It may be back; who has failed this request twice is not.
            (Fitness::Ejected, 0, _) => 5,
            (Fitness::Fit | Fitness::Unchecked, ..) => 6,
            (Fitness::Ejected, ..) => 7,
            (Fitness::Down | Fitness::Draining | Fitness::Withdrawn, ..) => return None,
        };
        Some((class, self.room))
    }
}

/// The candidates to pick from; none if all are down.
fn eligible(
    candidates: impl Iterator<Item = Candidate> + Clone,
) -> impl Iterator<Item = (ServerIndex, Candidate)> + Clone {
    let best = candidates.clone().filter_map(|candidate| candidate.rank()).min();
    candidates.enumerate().filter(move |(_, candidate)| best.is_some() && candidate.rank() == best)
}

/// Draws two by chance and weight, and takes the one with the lower load; one
/// that is colder than the other only now and then, for nobody who was away has
/// any load. `chance` gives a number below its argument.
pub(super) fn power_of_two(
    candidates: impl Iterator<Item = Candidate> + Clone,
    load: impl Fn(ServerIndex) -> f64,
    mut chance: impl FnMut(usize) -> usize,
) -> Option<ServerIndex> {
    let eligible = eligible(candidates);
    let first = draw(eligible.clone(), &mut chance)?;
    let others = eligible.filter(|(index, _)| *index != first.0);
    let Some(second) = draw(others, &mut chance) else { return Some(first.0) };
    let is_second_better = load(second.0) < load(first.0);
    let (better, other) = if is_second_better { (second, first) } else { (first, second) };
    let (warmth, others_warmth) = (better.1.warmth as usize, other.1.warmth as usize);
    let is_too_cold = warmth < others_warmth && chance(others_warmth) >= warmth;
    Some(if is_too_cold { other.0 } else { better.0 })
}

fn draw(
    eligible: impl Iterator<Item = (ServerIndex, Candidate)> + Clone,
    chance: &mut impl FnMut(usize) -> usize,
) -> Option<(ServerIndex, Candidate)> {
    let total = eligible.clone().map(|(_, candidate)| candidate.weight as usize).sum();
    let mut left = chance(total);
    for (index, candidate) in eligible {
        let weight = candidate.weight as usize;
        if left < weight {
            return Some((index, candidate));
        }
        left -= weight;
    }
    None
}

/// The server that a request's session is with, as `has_session` knows it, if
/// it can be asked; a session is worth waiting for.
pub(super) fn of_session(
    candidates: impl Iterator<Item = Candidate>,
    has_session: impl Fn(ServerIndex) -> bool,
) -> Option<ServerIndex> {
    let mut candidates = candidates.enumerate();
    candidates
        .find(|(index, candidate)| {
            matches!(candidate.fitness, Fitness::Fit | Fitness::Unchecked | Fitness::Draining)
                && candidate.tries == 0
                && candidate.room != Room::None
                && has_session(*index)
        })
        .map(|(index, _)| index)
}

/// One after the other, the heavier ones more often but never in a row where
/// that can be helped (the smooth weighted round robin of nginx).
#[derive(Debug)]
pub(super) struct RoundRobin {
    current: Vec<i64>,
}

impl RoundRobin {
    /// For so many servers.
    pub(super) fn new(servers: usize) -> Self {
        Self { current: vec![0; servers] }
    }

    /// The next in turn.
    pub(super) fn pick(
        &mut self,
        candidates: impl Iterator<Item = Candidate> + Clone,
    ) -> Option<ServerIndex> {
        let mut best: Option<(ServerIndex, i64)> = None;
        let mut total = 0;
        for (index, candidate) in eligible(candidates) {
            let weight = i64::try_from(candidate.share()).unwrap_or(i64::MAX);
            let current = self.current.get_mut(index)?;
            *current += weight;
            total += weight;
            if best.is_none_or(|(_, most)| *current > most) {
                best = Some((index, *current));
            }
        }
        let (index, _) = best?;
        *self.current.get_mut(index)? -= total;
        Some(index)
    }
}
