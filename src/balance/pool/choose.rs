//! Which server of a pool is asked: puts together what the strategies of
//! `pick` want to know. It decides nothing itself.

use std::sync::PoisonError;
use std::time::Duration;

use super::Pool;
use http::HeaderValue;
use smallvec::SmallVec;

use crate::balance::affinity;
use crate::balance::duty::Duty;
use crate::balance::member::Member;
use crate::balance::pick::{
    Candidate, Fitness, ServerIndex, least_connections, of_session, power_of_two, rendezvous,
};
use crate::balance::probation::{Phase, Trial};
use crate::base::random_below;
use crate::config::model::Balance;
use crate::exchange::{Request, Scheme};

/// What a request says about who is to answer it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// It belongs where the others with this key go.
    key: Option<u64>,
    /// Its client has a session with the server of this tag.
    session: Option<u64>,
    scheme: Scheme,
}

/// A server that is to be asked.
pub(super) struct Picked<'a> {
    pub(super) index: ServerIndex,
    pub(super) member: &'a Member,
    /// Held until it is known what came of the request.
    pub(super) trial: Option<Trial<'a>>,
}

impl Wish {
    /// The cookie for a client that was not tied to `member` before.
    pub(super) fn tie(&self, member: &Member) -> Option<HeaderValue> {
        let tie = member.tie.as_ref().filter(|tie| self.session != Some(tie.tag))?;
        Some(tie.cookie(self.scheme))
    }
}

impl Pool {
    /// What `req` wishes, as far as this pool heeds it.
    pub(super) fn wish(&self, req: &Request) -> Wish {
        let key = match &self.config.balance {
            Balance::Hash(by) => affinity::key(by, req),
            _ => None,
        };
        Wish { key, session: req.session, scheme: req.target.scheme }
    }

    /// The server to ask, of those not in `tried` if there is one.
    pub(super) fn pick(&self, wish: Wish, tried: &[ServerIndex], now: Duration) -> Option<Picked<'_>> {
        loop {
            // Judged once: the ranks of the best would change between two looks.
            let candidates: SmallVec<[Candidate; 8]> = self
                .members
                .iter()
                .enumerate()
                .map(|(index, each)| each.candidate(tried.contains(&index), now))
                .collect();
            let picked = self.pick_of(candidates.iter().copied(), wish, now);
            let index = picked.or_else(|| self.pick_though_down(tried, now))?;
            let (member, fitness) = (self.members.get(index)?, candidates.get(index)?.fitness);
            let is_fit = matches!(fitness, Fitness::Fit | Fitness::Unchecked | Fitness::Draining);
            if !is_fit || member.probation.phase(now) != Phase::Probation {
                return Some(Picked { index, member, trial: None });
            }
            // Another request that was faster makes this server unfit.
            if let Some(trial) = member.probation.take_trial() {
                return Some(Picked { index, member, trial: Some(trial) });
            }
        }
    }

    fn pick_of(
        &self,
        candidates: impl Iterator<Item = Candidate> + Clone,
        wish: Wish,
        now: Duration,
    ) -> Option<ServerIndex> {
        let of = |index: ServerIndex| self.members.get(index);
        let load = |index| of(index).map_or(f64::MAX, |member| member.load(now));
        let in_flight = |index| of(index).map_or(usize::MAX, |member| member.origin.in_flight());
        let identity = |index| of(index).map_or(0, |member| member.identity);
        let has_session = |index| {
            let tie = of(index).and_then(|member| member.tie.as_ref());
            tie.is_some_and(|tie| wish.session == Some(tie.tag))
        };
        match (&self.config.balance, wish.key) {
            (Balance::RoundRobin, _) => {
                self.turns.lock().unwrap_or_else(PoisonError::into_inner).pick(candidates)
            }
            (Balance::LeastConnections, _) => least_connections(candidates, in_flight, random_below),
            (Balance::Hash(_), Some(key)) => rendezvous(candidates, key, identity, in_flight),
            (Balance::Sticky(_), _) => of_session(candidates.clone(), has_session)
                .or_else(|| power_of_two(candidates, load, random_below)),
            (Balance::PowerOfTwo | Balance::Hash(_), _) => power_of_two(candidates, load, random_below),
        }
    }

    /// With every server down, lets a live request a second and server through.
    fn pick_though_down(&self, tried: &[ServerIndex], now: Duration) -> Option<ServerIndex> {
        if !self.config.panic {
            return None;
        }
        let mut members = self.members.iter().enumerate();
        members
            .find(|(index, member)| {
                let is_wanted = member.duty.get() == Duty::Enabled && !tried.contains(index);
                is_wanted && member.take_live_probe(now)
            })
            .map(|(index, _)| index)
    }
}
