//! The server with the fewest requests under way, measured by its weight.

use super::{Candidate, ServerIndex, eligible};

/// Takes the server with the fewest requests `in_flight` for its weight; among
/// equals chance draws by weight, so that an idle pool is shared out, too.
/// `chance` gives a number below its argument.
pub(in crate::balance) fn least_connections(
    candidates: impl Iterator<Item = Candidate> + Clone,
    in_flight: impl Fn(ServerIndex) -> usize,
    mut chance: impl FnMut(usize) -> usize,
) -> Option<ServerIndex> {
    let mut best: Option<Best> = None;
    for (index, candidate) in eligible(candidates) {
        let weight = candidate.share();
        // Asked once: it changes while others are looked at.
        let in_flight = in_flight(index);
        let order = best.as_ref().map(|best| {
            let one = in_flight.saturating_mul(best.weight);
            one.cmp(&best.in_flight.saturating_mul(weight))
        });
        match (order, &mut best) {
            (Some(std::cmp::Ordering::Greater), _) => {}
            (Some(std::cmp::Ordering::Equal), Some(best)) => {
                best.equals += weight;
                if chance(best.equals) < weight {
                    best.index = index;
                }
            }
            _ => best = Some(Best { index, in_flight, weight, equals: weight }),
        }
    }
    best.map(|best| best.index)
}

/// The best seen so far.
struct Best {
    index: ServerIndex,
    /// Of the first of all that are equally good.
    in_flight: usize,
    weight: usize,
    /// The weights of all that are equally good.
    equals: usize,
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FIT, shares_are_off};
    use super::*;
    use crate::base::random_below;

    #[test]
    fn the_fewest_for_the_weight_is_taken() {
        for (in_flight, weights, taken) in
            [([1, 0, 2], [1, 1, 1], 1), ([5, 2, 9], [3, 1, 5], 0), ([0, 3, 1], [1, 9, 1], 0)]
        {
            let list = weights.map(|weight| Candidate { weight, ..FIT });
            let picked = least_connections(list.into_iter(), |index| in_flight[index], random_below);
            assert_eq!(picked, Some(taken), "{in_flight:?} {weights:?}");
        }
    }

    #[test]
    fn an_idle_pool_is_shared_by_weight() {
        let weights = [5, 2, 1, 12];
        let list = weights.map(|weight| Candidate { weight, ..FIT });
        let pick = || least_connections(list.into_iter(), |_| 0, random_below);
        assert_eq!(shares_are_off(&weights, 20_000, pick), None);
    }

    #[test]
    fn a_busy_pool_is_filled_by_weight() {
        let weights = [1, 2, 3];
        let list = weights.map(|weight| Candidate { weight, ..FIT });
        let mut in_flight = [0; 3];
        for _ in 0..600 {
            let picked = least_connections(list.into_iter(), |index| in_flight[index], random_below);
            in_flight[picked.unwrap()] += 1;
        }
        assert_eq!(in_flight, [100, 200, 300]);
    }
}
