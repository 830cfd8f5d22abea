//! Which server of a pool is asked: puts together what the strategies of
//! `pick` want to know. It decides nothing itself.

use std::sync::Arc;
use std::time::Duration;

use super::Pool;
use http::HeaderValue;
use smallvec::SmallVec;

use crate::balance::affinity;
use crate::balance::duty::Duty;
use crate::balance::member::Member;
use crate::balance::members::Members;
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
    pub(super) member: &'a Arc<Member>,
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

    /// The server to ask: one in `tried` only if it `may_repeat`, and rather one that is not.
    pub(super) fn pick<'a>(
        &self,
        members: &'a Members,
        wish: Wish,
        tried: &[Arc<Member>],
        may_repeat: bool,
        now: Duration,
    ) -> Option<Picked<'a>> {
        let candidate = |each: &Arc<Member>| {
            let candidate = each.candidate(tries(tried, each), now);
            let is_out = candidate.tries > 0 && !may_repeat;
            if is_out { Candidate { fitness: Fitness::Withdrawn, ..candidate } } else { candidate }
        };
        loop {
            // Judged once: the ranks of the best would change between two looks.
            let candidates: SmallVec<[Candidate; 8]> = members.iter().map(candidate).collect();
            let picked = self.pick_of(members, candidates.iter().copied(), wish, now);
            let index = picked.or_else(|| self.pick_though_down(members, tried, now))?;
            let (member, fitness) = (members.get(index)?, candidates.get(index)?.fitness);
            let is_fit = matches!(fitness, Fitness::Fit | Fitness::Unchecked | Fitness::Draining);
            if !is_fit || member.probation.phase(now) != Phase::Probation {
                return Some(Picked { member, trial: None });
            }
            // Another request that was faster makes this server unfit.
            if let Some(trial) = member.probation.take_trial() {
                return Some(Picked { member, trial: Some(trial) });
            }
        }
    }

    fn pick_of(
        &self,
        members: &Members,
        candidates: impl Iterator<Item = Candidate> + Clone,
        wish: Wish,
        now: Duration,
    ) -> Option<ServerIndex> {
        let of = |index: ServerIndex| members.get(index);
        let load = |index| of(index).map_or(f64::MAX, |member| member.load(now));
        let in_flight = |index| of(index).map_or(usize::MAX, |member| member.origin.in_flight());
        let connections = |index| {
            let tunnels = of(index).map_or(0, |member| member.origin.tunnels());
            in_flight(index).saturating_add(tunnels)
        };
        let identity = |index| of(index).map_or(0, |member| member.identity);
        let has_session = |index| {
            let tie = of(index).and_then(|member| member.tie.as_ref());
            tie.is_some_and(|tie| wish.session == Some(tie.tag))
        };
        match (&self.config.balance, wish.key) {
            (Balance::RoundRobin, _) => members.turns().pick(candidates),
            (Balance::LeastConnections, _) => least_connections(candidates, connections, random_below),
            (Balance::Hash(_), Some(key)) => rendezvous(candidates, key, identity, in_flight),
            (Balance::Sticky(_), _) => of_session(candidates.clone(), has_session)
                .or_else(|| power_of_two(candidates, load, random_below)),
            (Balance::PowerOfTwo | Balance::Hash(_), _) => power_of_two(candidates, load, random_below),
        }
    }

    /// With every server down, lets a live request a second and server through.
    fn pick_though_down(
        &self,
        members: &Members,
        tried: &[Arc<Member>],
        now: Duration,
    ) -> Option<ServerIndex> {
        if !self.config.panic {
            return None;
        }
        let mut members = members.iter().enumerate();
        members
            .find(|(_, member)| {
                let is_wanted = member.duty.get() == Duty::Enabled && tries(tried, member) == 0;
                is_wanted && member.take_live_probe(now)
            })
            .map(|(index, _)| index)
    }
}

fn tries(tried: &[Arc<Member>], member: &Arc<Member>) -> usize {
    tried.iter().filter(|other| Arc::ptr_eq(other, member)).count()
}
