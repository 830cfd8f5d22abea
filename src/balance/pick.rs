//! Which server of a pool a request goes to. Pure: chance is an argument, and
//! what is known of the servers comes as a list.

/// A server's place in the config of its pool.
pub(super) type ServerIndex = usize;

/// How fit a server is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    /// Nothing is known against it.
    Fit,
    /// It failed too many requests lately.
    Ejected,
    /// Its health checks fail.
    Down,
}

/// What matters of a server when one is picked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) fitness: Fitness,
    /// Only picked when there is nobody else.
    pub(super) is_backup: bool,
    /// This request was sent to it already.
    pub(super) was_tried: bool,
    /// Its share against the others, at least 1.
    pub(super) weight: u32,
}

impl Candidate {
    /// Only candidates of the lowest rank present are picked from.
    fn rank(&self) -> Option<u8> {
        match (self.fitness, self.was_tried, self.is_backup) {
            (Fitness::Fit, false, false) => Some(0),
            (Fitness::Fit, false, true) => Some(1),
            (Fitness::Fit, true, _) => Some(2),
            (Fitness::Ejected, false, _) => Some(3),
            (Fitness::Ejected, true, _) => Some(4),
            (Fitness::Down, ..) => None,
        }
    }
}

/// The candidates to pick from with their weights; none if all are down.
fn eligible(
    candidates: impl Iterator<Item = Candidate> + Clone,
) -> impl Iterator<Item = (ServerIndex, usize)> + Clone {
    let best = candidates.clone().filter_map(|candidate| candidate.rank()).min();
    candidates
        .enumerate()
        .filter(move |(_, candidate)| best.is_some() && candidate.rank() == best)
        .map(|(index, candidate)| (index, candidate.weight as usize))
}

/// Draws two by chance and weight, and takes the one with the lower load.
/// `chance` gives a number below its argument.
pub(super) fn power_of_two(
    candidates: impl Iterator<Item = Candidate> + Clone,
    load: impl Fn(ServerIndex) -> f64,
    mut chance: impl FnMut(usize) -> usize,
) -> Option<ServerIndex> {
    let eligible = eligible(candidates);
    let first = draw(eligible.clone(), &mut chance)?;
    let others = eligible.filter(|(index, _)| *index != first);
    match draw(others, &mut chance) {
        Some(second) if load(second) < load(first) => Some(second),
        _ => Some(first),
    }
}

fn draw(
    eligible: impl Iterator<Item = (ServerIndex, usize)> + Clone,
    chance: &mut impl FnMut(usize) -> usize,
) -> Option<ServerIndex> {
    let total = eligible.clone().map(|(_, weight)| weight).sum();
    let mut left = chance(total);
    for (index, weight) in eligible {
        if left < weight {
            return Some(index);
        }
        left -= weight;
    }
    None
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
        for (index, weight) in eligible(candidates) {
            let weight = i64::try_from(weight).unwrap_or(i64::MAX);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::random_below;

    fn candidate() -> impl Strategy<Value = Candidate> {
        let fitness = prop_oneof![Just(Fitness::Fit), Just(Fitness::Ejected), Just(Fitness::Down)];
        (fitness, any::<bool>(), any::<bool>(), 1..20u32).prop_map(
            |(fitness, is_backup, was_tried, weight)| Candidate { fitness, is_backup, was_tried, weight },
        )
    }

    fn both(candidates: &[Candidate]) -> [Option<ServerIndex>; 2] {
        let load = |index| f64::from(u32::try_from(index).unwrap());
        let list = candidates.iter().copied();
        [power_of_two(list.clone(), load, random_below), RoundRobin::new(candidates.len()).pick(list)]
    }

    proptest! {
        #[test]
        fn the_unfit_are_picked_only_when_nobody_else_is_left(
            candidates in prop::collection::vec(candidate(), 0..8),
        ) {
            let has = |test: fn(&Candidate) -> bool| candidates.iter().any(test);
            for picked in both(&candidates) {
                let Some(picked) = picked.map(|index| candidates[index]) else {
                    prop_assert!(!has(|server| server.fitness != Fitness::Down));
                    continue;
                };
                prop_assert!(picked.fitness != Fitness::Down);
                if picked.fitness == Fitness::Ejected {
                    prop_assert!(!has(|server| server.fitness == Fitness::Fit));
                }
                if picked.fitness == Fitness::Fit && picked.was_tried {
                    prop_assert!(!has(|server| server.fitness == Fitness::Fit && !server.was_tried));
                }
                if picked.fitness == Fitness::Fit && picked.is_backup && !picked.was_tried {
                    let is_better = |server: &Candidate| {
                        server.fitness == Fitness::Fit && !server.was_tried && !server.is_backup
                    };
                    prop_assert!(!has(is_better));
                }
            }
        }

        #[test]
        fn round_robin_keeps_to_the_weights(weights in prop::collection::vec(1..20u32, 1..8)) {
            let list = weights.iter().map(|weight| Candidate { weight: *weight, ..FIT });
            let mut turns = RoundRobin::new(weights.len());
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..10_000 {
                counts[turns.pick(list.clone()).unwrap()] += 1;
            }
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let share = f64::from(*count) / 10_000.0;
                prop_assert!((share - f64::from(*weight) / f64::from(total)).abs() < 0.03);
            }
        }
    }

    const FIT: Candidate = Candidate { fitness: Fitness::Fit, is_backup: false, was_tried: false, weight: 1 };

    #[test]
    fn round_robin_is_smooth() {
        let list = [5, 1, 1].map(|weight| Candidate { weight, ..FIT });
        let mut turns = RoundRobin::new(3);
        let order: Vec<_> = (0..7).filter_map(|_| turns.pick(list.iter().copied())).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn of_two_the_less_loaded_is_taken() {
        for _ in 0..100 {
            let picked = power_of_two([FIT; 2].into_iter(), |index| [2.0, 1.0][index], random_below);
            assert_eq!(picked, Some(1));
        }
    }

    #[test]
    fn equal_loads_are_shared_by_weight() {
        let list = [3, 1].map(|weight| Candidate { weight, ..FIT });
        let picks = (0..10_000).filter_map(|_| power_of_two(list.iter().copied(), |_| 1.0, random_below));
        let share = picks.filter(|index| *index == 0).count();
        assert!((7_200..7_800).contains(&share), "{share}");
    }
}
