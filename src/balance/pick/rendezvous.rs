//! Consistent hashing with bounded load: every server draws lots for a key, and
//! the highest lot of those that are not too busy takes the request (weighted
//! rendezvous hashing). A server that leaves loses its own keys and moves no
//! other one; one that comes takes its share from all alike.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Candidate, ServerIndex, eligible};

/// So much of the average load is a server given, in quarters.
const BOUND_IN_QUARTERS: usize = 5;

/// So few requests under way never are too many: less than what two browsers
/// ask for at once would scatter the keys of a quiet pool.
const LIGHT: usize = 16;

/// Takes the server that `key` belongs to. `identity` tells a number that stays
/// the same for a server, whoever its neighbours are; `in_flight` the requests
/// under way.
pub(in crate::balance) fn rendezvous(
    candidates: impl Iterator<Item = Candidate> + Clone,
    key: u64,
    identity: impl Fn(ServerIndex) -> u64,
    in_flight: impl Fn(ServerIndex) -> usize,
) -> Option<ServerIndex> {
    let eligible = eligible(candidates);
    let (mut weights, mut requests) = (0, 0);
    for (index, candidate) in eligible.clone() {
        weights += candidate.share();
        requests = in_flight(index).saturating_add(requests);
    }
    let (mut first, mut best) = (Highest::default(), Highest::default());
    for (index, candidate) in eligible {
        let weight = candidate.share();
        let lot = lot(key, identity(index), weight);
        first.take(index, lot);
        if in_flight(index) < bound(requests, weight, weights) {
            best.take(index, lot);
        }
    }
    // All are below their bounds together, but counts change between two looks.
    best.index().or(first.index())
}

/// How many requests under way are too many for a server of this `weight`,
/// where all servers together have `requests` and `weights`.
fn bound(requests: usize, weight: usize, weights: usize) -> usize {
    let quarters = requests.saturating_add(1).saturating_mul(weight).saturating_mul(BOUND_IN_QUARTERS);
    quarters.div_ceil(weights.max(1).saturating_mul(4)).max(LIGHT)
}

/// What a server draws for a key. The highest of several is one's own with a
/// chance that is one's share of the weights.
fn lot(key: u64, identity: u64, weight: usize) -> f64 {
    let hash = xxh3_64_with_seed(&key.to_le_bytes(), identity);
    // Of the open unit interval: neither end has a logarithm that is any use.
    let drawn = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    weight as f64 / -drawn.ln()
}

#[derive(Default)]
struct Highest(Option<(ServerIndex, f64)>);

impl Highest {
    fn take(&mut self, index: ServerIndex, lot: f64) {
        if self.0.is_none_or(|(_, highest)| lot > highest) {
            self.0 = Some((index, lot));
        }
    }

    fn index(&self) -> Option<ServerIndex> {
        self.0.map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Fitness;
    use super::super::tests::{FIT, shares_are_off};
    use super::*;

    const KEYS: u64 = 20_000;

    fn identity(index: ServerIndex) -> u64 {
        xxhash_rust::xxh3::xxh3_64(format!("http://10.0.0.{index}:80").as_bytes())
    }

    /// Keys as they come out of a hash.
    fn key(number: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
    }

    fn idle(servers: &[Candidate], number: u64) -> ServerIndex {
        rendezvous(servers.iter().copied(), key(number), identity, |_| 0).unwrap()
    }

    fn servers(weights: &[u32]) -> Vec<Candidate> {
        weights.iter().map(|weight| Candidate { weight: *weight, ..FIT }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn keys_are_shared_by_weight(weights in prop::collection::vec(1..20u32, 1..8)) {
            let servers = servers(&weights);
            let mut keys = 0..KEYS;
            let pick = || keys.next().map(|number| idle(&servers, number));
            prop_assert_eq!(shares_are_off(&weights, 20_000, pick), None);
        }

        #[test]
        fn a_server_that_leaves_or_comes_moves_only_its_own_keys(
            weights in prop::collection::vec(1..20u32, 2..8),
            which in any::<prop::sample::Index>(),
            fitness in prop_oneof![Just(Fitness::Ejected), Just(Fitness::Down)],
        ) {
            let whole = servers(&weights);
            let gone = which.index(weights.len());
            let mut left = whole.clone();
            left[gone].fitness = fitness;
            let mut moved = 0;
            for number in 0..KEYS {
                let (before, after) = (idle(&whole, number), idle(&left, number));
                if before == gone {
                    moved += 1;
                    prop_assert_ne!(after, gone);
                } else {
                    prop_assert_eq!(before, after);
                }
            }
            let share = f64::from(weights[gone]) / f64::from(weights.iter().sum::<u32>());
            prop_assert!(f64::from(moved) / KEYS as f64 <= share + 0.03);
        }

        #[test]
        fn no_server_gets_more_than_its_bound(
            weights in prop::collection::vec(1..20u32, 1..8),
            hot in 1..4u64,
        ) {
            let servers = servers(&weights);
            let sum: u32 = weights.iter().sum();
            let mut in_flight = vec![0usize; weights.len()];
            for number in 0..2_000 {
                let key = key(number % hot);
                let picked = rendezvous(servers.iter().copied(), key, identity, |index| in_flight[index]);
                in_flight[picked.unwrap()] += 1;
            }
            for (in_flight, weight) in in_flight.iter().zip(&weights) {
                let fair = 2_000.0 * f64::from(*weight) / f64::from(sum);
                prop_assert!(*in_flight as f64 <= (1.25 * fair).ceil().max(LIGHT as f64));
            }
        }
    }

    #[test]
    fn a_quiet_pool_keeps_its_keys_together() {
        let servers = servers(&[1; 10]);
        let home = idle(&servers, 7);
        let busy = |index| if index == home { LIGHT - 1 } else { 0 };
        assert_eq!(rendezvous(servers.iter().copied(), key(7), identity, busy), Some(home));
        let busier = |index| if index == home { LIGHT } else { 0 };
        assert_ne!(rendezvous(servers.iter().copied(), key(7), identity, busier), Some(home));
    }

    #[test]
    fn a_cold_server_gets_back_some_of_its_own_keys() {
        let whole = servers(&[1; 4]);
        let mut cold = whole.clone();
        cold[0].warmth = 50;
        let mut back = 0;
        for number in 0..KEYS {
            let (warm, now) = (idle(&whole, number), idle(&cold, number));
            assert!(now == warm || warm == 0);
            back += u32::from(now == 0);
        }
        let share = f64::from(back) / KEYS as f64;
        assert!((share - 0.5 / 3.5).abs() < 0.03, "{share}");
    }

    #[test]
    fn the_order_of_the_config_does_not_matter() {
        let whole = servers(&[1, 1, 1]);
        for number in 0..1_000 {
            let turned = rendezvous(whole.iter().copied(), key(number), |i| identity(2 - i), |_| 0);
            assert_eq!(turned, Some(2 - idle(&whole, number)));
        }
    }
}
