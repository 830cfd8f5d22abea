//! The servers of a pool at one time. Each try of a request takes the list as it is;
//! a change makes a new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::discovery::FoundServer;
use super::member::Member;
use super::pick::{RoundRobin, ServerIndex};

/// A list of servers, in the order of the config.
#[derive(Debug)]
pub(super) struct Members {
    all: Box<[Arc<Member>]>,
    turns: Mutex<RoundRobin>,
}

/// What becomes of a list.
#[derive(Debug)]
pub(super) struct Succession {
    pub(super) all: Vec<Arc<Member>>,
    /// Those that are new in it.
    pub(super) come: Vec<Arc<Member>>,
    /// Those that are no longer in it.
    pub(super) gone: Vec<Arc<Member>>,
}

impl Members {
    /// These.
    pub(super) fn new(all: Vec<Arc<Member>>) -> Self {
        let turns = Mutex::new(RoundRobin::new(all.len()));
        Self { all: all.into(), turns }
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Arc<Member>> {
        self.all.iter()
    }

    /// One of them.
    pub(super) fn get(&self, index: ServerIndex) -> Option<&Arc<Member>> {
        self.all.get(index)
    }

    /// True if there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whose turn it is.
    pub(super) fn turns(&self) -> MutexGuard<'_, RoundRobin> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of them when `found` is all that `entry` stands for: who is there
    /// already stays as it is but for its share, and the others are made by `recruit`.
    pub(super) fn succeeded_by<E>(
        &self,
        entry: usize,
        found: Vec<FoundServer>,
        mut recruit: impl FnMut(FoundServer) -> Result<Arc<Member>, E>,
    ) -> Result<Succession, E> {
        let others = |member: &&Arc<Member>| member.entry != entry;
        let mut all: Vec<_> = self.iter().filter(others).map(Arc::clone).collect();
        let place = all.partition_point(|member| member.entry < entry);
        let (mut theirs, mut come) = (Vec::new(), Vec::new());
        for server in found {
            let known = self.iter().find(|member| member.is(&server));
            theirs.push(match known {
                Some(member) => {
                    member.share(&server);
                    Arc::clone(member)
                }
                None => {
                    let member = recruit(server)?;
                    come.push(Arc::clone(&member));
                    member
                }
            });
        }
        let is_gone = |member: &&Arc<Member>| {
            member.entry == entry && !theirs.iter().any(|other| Arc::ptr_eq(other, member))
        };
        let gone = self.iter().filter(is_gone).map(Arc::clone).collect();
        all.splice(place..place, theirs);
        Ok(Succession { all, come, gone })
    }
}
