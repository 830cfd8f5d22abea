//! How a pool takes the place of another one in a reload: what is known of a server
//! stays known, and where it is spoken to as before, its connections and all bounds of
//! them go on.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::Pool;
use crate::balance::discovery::FoundServer;
use crate::balance::member::Member;
use crate::base::FileMark;
use crate::config::model::{OriginTls, PoolConfig};
use crate::upstream::OriginServer;

/// What a pool finds that takes the place of another one.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    members: Vec<Arc<Member>>,
    /// True if servers are spoken to as they were there.
    with_connections: bool,
}

impl Legacy {
    /// What a pool of `config`, whose files are these, finds in `before`.
    pub(super) fn of(before: &Pool, config: &PoolConfig, files: &[Option<FileMark>]) -> Self {
        let with_connections = before.config.is_spoken_alike(config) && *before.files == *files;
        Self { members: before.members().iter().map(Arc::clone).collect(), with_connections }
    }

    /// The member that `server` was, whose `url` this is. Given once, so that of two at
    /// one address each has its own connections; what is known of an address holds under
    /// another name, too.
    pub(super) fn take(&mut self, url: &str, server: &FoundServer) -> Option<Arc<Member>> {
        let mut there = self.members.iter().enumerate().filter(|(_, member)| member.url == url);
        match there.clone().find(|(_, member)| *member.origin.endpoint() == server.endpoint) {
            Some((index, _)) => Some(self.members.remove(index)),
            None => there.next().map(|(_, member)| Arc::clone(member)),
        }
    }

    /// The origin server of `member`, if it may be gone on with as `server`.
    pub(super) fn origin(&self, member: &Member, server: &FoundServer) -> Option<Arc<OriginServer>> {
        let is_same = member.protocol == server.protocol && *member.origin.endpoint() == server.endpoint;
        let is_alike = self.with_connections && is_same;
        is_alike.then(|| Arc::clone(&member.origin))
    }
}

/// The files that TLS to origin servers is made of, as they are now.
pub(super) fn files(tls: &OriginTls) -> Vec<Option<FileMark>> {
    let identity = tls.identity.as_ref().map(|pair| [&pair.cert, &pair.key]);
    let paths = tls.ca.iter().chain(identity.into_iter().flatten());
    paths.map(PathBuf::as_path).map(FileMark::of).collect()
}

impl Pool {
    /// True if one that is made for `config` now would be the same.
    pub fn is_of(&self, config: &PoolConfig) -> bool {
        *self.config == *config && self.files == files(&config.tls)
    }

    /// Has what an operator wanted of the servers of `before` hold for those that are
    /// found later, too.
    pub(super) fn take_over_orders(&self, before: &Self) {
        let place = |entry: usize| {
            let known = before.config.servers.get(entry)?.url();
            self.config.servers.iter().position(|server| server.url() == known)
        };
        self.roster().take_over(&before.roster(), place);
    }

    /// Gives its place to the pool `after`, or to nobody: it checks and looks up nothing
    /// any more, ends what is under way, and has those connections closed that `after`
    /// does not go on with.
    pub fn retire(&self, after: Option<&Self>) {
        self.retirement.cancel();
        let kept = after.map(Self::members);
        let is_kept = |member: &Member| {
            kept.as_ref()
                .is_some_and(|kept| kept.iter().any(|other| Arc::ptr_eq(&other.origin, &member.origin)))
        };
        for member in self.members.load().iter() {
            member.departure().cancel();
            if !is_kept(member) {
                member.origin.close_idle();
            }
        }
    }

    pub(super) fn legacy(&self) -> std::sync::MutexGuard<'_, Legacy> {
        self.legacy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
