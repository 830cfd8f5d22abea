//! What holds for every strategy, and what for each of them.

use proptest::prelude::*;

use super::*;
use crate::balance::warmth::WARM;
use crate::base::random_below;

fn candidate() -> impl Strategy<Value = Candidate> {
    let fitness = prop_oneof![
        Just(Fitness::Fit),
        Just(Fitness::Unchecked),
        Just(Fitness::Ejected),
        Just(Fitness::Down),
        Just(Fitness::Draining),
        Just(Fitness::Withdrawn),
    ];
    let room = prop_oneof![Just(Room::Free), Just(Room::Queue), Just(Room::None)];
    (fitness, any::<bool>(), 0..3_usize, 1..20u32, 10..=WARM, room).prop_map(
        |(fitness, is_backup, tries, weight, warmth, room)| Candidate {
            fitness,
            is_backup,
            tries,
            weight,
            warmth,
            room,
        },
    )
}

/// True if nothing is known against it.
fn may_serve(server: &Candidate) -> bool {
    matches!(server.fitness, Fitness::Fit | Fitness::Unchecked)
}

/// What every strategy picks.
fn all(candidates: &[Candidate]) -> [Option<ServerIndex>; 4] {
    let load = |index| f64::from(u32::try_from(index).unwrap());
    let list = candidates.iter().copied();
    [
        power_of_two(list.clone(), load, random_below),
        RoundRobin::new(candidates.len()).pick(list.clone()),
        least_connections(list.clone(), |index| index, random_below),
        rendezvous(list, 7, |index| index as u64, |index| index),
    ]
}

/// The share of the picks that is more than 3 % of all off a server's weight.
pub(super) fn shares_are_off(
    weights: &[u32],
    picks: u32,
    mut pick: impl FnMut() -> Option<ServerIndex>,
) -> Option<(ServerIndex, f64)> {
    let mut counts = vec![0u32; weights.len()];
    for _ in 0..picks {
        counts[pick().unwrap()] += 1;
    }
    let total: u32 = weights.iter().sum();
    let share = |(index, count): (ServerIndex, &u32)| (index, f64::from(*count) / f64::from(picks));
    let is_off = |(index, share): &(ServerIndex, f64)| {
        (share - f64::from(weights[*index]) / f64::from(total)).abs() > 0.03
    };
    counts.iter().enumerate().map(share).find(is_off)
}

proptest! {
    #[test]
    fn the_ejected_are_picked_only_when_nobody_else_is_left_and_others_never(
        candidates in prop::collection::vec(candidate(), 0..8),
    ) {
        let has = |test: fn(&Candidate) -> bool| candidates.iter().any(test);
        for picked in all(&candidates) {
            let Some(picked) = picked.map(|index| candidates[index]) else {
                prop_assert!(!has(|server| may_serve(server) || server.fitness == Fitness::Ejected));
                continue;
            };
            prop_assert!(may_serve(&picked) || picked.fitness == Fitness::Ejected);
            if picked.fitness == Fitness::Ejected {
                prop_assert!(!has(|server| may_serve(server) && server.tries < 2));
            }
            if picked.tries > 0 {
                prop_assert!(!has(|server| may_serve(server) && server.tries == 0));
            }
            if picked.tries > 1 {
                prop_assert!(!has(|server| server.fitness == Fitness::Ejected && server.tries == 0));
            }
            if may_serve(&picked) && picked.is_backup && picked.tries == 0 {
                let is_better =
                    |server: &Candidate| may_serve(server) && server.tries == 0 && !server.is_backup;
                prop_assert!(!has(is_better));
            }
        }
    }

    #[test]
    fn who_has_no_room_is_passed_over_but_never_for_a_lower_rank(
        candidates in prop::collection::vec(candidate(), 1..8),
    ) {
        for picked in all(&candidates) {
            let Some(picked) = picked.map(|index| candidates[index]) else { continue };
            let is_like = |server: &&Candidate| {
                server.fitness == picked.fitness && server.tries == picked.tries
            };
            let alike = || candidates.iter().filter(is_like);
            let roomiest = alike().filter(|it| it.is_backup == picked.is_backup).map(|it| it.room).min();
            let is_primary_by_preference = may_serve(&picked) && picked.tries == 0;
            if is_primary_by_preference {
                prop_assert_eq!(Some(picked.room), roomiest);
                prop_assert!(!picked.is_backup || alike().all(|server| server.is_backup));
            } else {
                prop_assert_eq!(Some(picked.room), alike().map(|server| server.room).min());
            }
        }
    }

    #[test]
    fn the_unchecked_come_after_those_of_their_rank_that_are_up(
        candidates in prop::collection::vec(candidate(), 1..8),
    ) {
        for picked in all(&candidates).into_iter().flatten().map(|index| candidates[index]) {
            let is_better = |server: &Candidate| {
                server.fitness == Fitness::Fit && server.tries == 0 && server.is_backup == picked.is_backup
            };
            let is_unchecked = picked.fitness == Fitness::Unchecked && picked.tries == 0;
            prop_assert!(!is_unchecked || !candidates.iter().any(is_better));
        }
    }

    #[test]
    fn a_session_is_followed_to_servers_that_work_only(
        candidates in prop::collection::vec(candidate(), 1..8),
        home in any::<prop::sample::Index>(),
    ) {
        let home = home.index(candidates.len());
        let picked = of_session(candidates.iter().copied(), |index| index == home);
        let Candidate { fitness, tries, room, .. } = candidates[home];
        let works = matches!(fitness, Fitness::Fit | Fitness::Unchecked | Fitness::Draining);
        let is_followed = works && tries == 0 && room != Room::None;
        prop_assert_eq!(picked, is_followed.then_some(home));
    }

    #[test]
    fn idle_pools_are_shared_by_weight(weights in prop::collection::vec(1..20u32, 1..8)) {
        let list = weights.iter().map(|weight| Candidate { weight: *weight, ..FIT });
        let two = || power_of_two(list.clone(), |_| 1.0, random_below);
        prop_assert_eq!(shares_are_off(&weights, 10_000, two), None);
        let least = || least_connections(list.clone(), |_| 0, random_below);
        prop_assert_eq!(shares_are_off(&weights, 10_000, least), None);
    }

    #[test]
    fn round_robin_keeps_to_the_weights(weights in prop::collection::vec(1..20u32, 1..8)) {
        let list = weights.iter().map(|weight| Candidate { weight: *weight, ..FIT });
        let mut turns = RoundRobin::new(weights.len());
        prop_assert_eq!(shares_are_off(&weights, 10_000, || turns.pick(list.clone())), None);
    }
}

pub(super) const FIT: Candidate = Candidate {
    fitness: Fitness::Fit,
    is_backup: false,
    tries: 0,
    weight: 1,
    warmth: WARM,
    room: Room::Free,
};

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

#[test]
fn who_is_back_gets_little_though_it_has_no_load() {
    let picks = |servers: usize, warmth: u32| {
        let mut list = vec![FIT; servers];
        list[0].warmth = warmth;
        let load = |index| if index == 0 { 0.0 } else { 1.0 };
        let picks = (0..10_000).filter_map(|_| power_of_two(list.iter().copied(), load, random_below));
        picks.filter(|index| *index == 0).count()
    };
    assert!((700..1_300).contains(&picks(2, 10)));
    assert!(picks(5, 10) < 600);
    assert_eq!(picks(2, WARM), 10_000);
}

#[test]
fn among_the_cold_the_less_loaded_is_taken() {
    let list = [Candidate { warmth: 10, ..FIT }; 2];
    for _ in 0..100 {
        let picked = power_of_two(list.into_iter(), |index| [2.0, 1.0][index], random_below);
        assert_eq!(picked, Some(1));
    }
}

#[test]
fn turns_and_idle_pools_are_shared_by_warmth() {
    let list = [Candidate { warmth: 25, ..FIT }, FIT];
    let mut turns = RoundRobin::new(2);
    let in_turn = shares_are_off(&[1, 4], 10_000, || turns.pick(list.into_iter()));
    assert_eq!(in_turn, None);
    let idle = || least_connections(list.into_iter(), |_| 0, random_below);
    assert_eq!(shares_are_off(&[1, 4], 10_000, idle), None);
}
