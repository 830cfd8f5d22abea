//! The side of the process that takes over.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Listening;
use super::words::{Line, Word, Written};

/// How long the predecessor may take for each word: it writes down what its disk
/// tier has.
const PREDECESSOR_ANSWERS_WITHIN: Duration = Duration::from_secs(25);

/// Bytes of a reason that are told.
const LONGEST_REASON: usize = 2000;

/// Why this process does not take over.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum TakeOverError {
    #[error("nothing is there to take over from: `seawall upgrade` starts a process so")]
    NoPredecessor(#[source] io::Error),
    #[error("the process to take over from does not answer")]
    Silent(#[source] io::Error),
    #[error("the process to take over from says what is not understood")]
    NotUnderstood,
}

/// The process that is taken over from.
#[derive(Debug)]
pub(in crate::app) struct Predecessor(Line);

/// What is taken over.
#[derive(Debug, Default)]
pub(in crate::app) struct Inheritance {
    /// Sockets that listen, with the addresses by which the config of the predecessor calls
    /// them.
    listening: Vec<Listening>,
    /// The name of its admin socket.
    admin_socket: Option<PathBuf>,
}

impl Predecessor {
    /// Who is at the other end of the standard input.
    pub(in crate::app) fn on_standard_input() -> Result<Self, TakeOverError> {
        let line = || {
            let line = Line::of(io::stdin().as_fd().try_clone_to_owned()?)?;
            line.wait_at_most(PREDECESSOR_ANSWERS_WITHIN)?;
            Ok(Self(line))
        };
        line().map_err(TakeOverError::NoPredecessor)
    }

    /// Takes what is there to take over. Blocks.
    pub(in crate::app) fn take(&self) -> Result<Inheritance, TakeOverError> {
        self.0.say(&Word::Take, &[]).map_err(TakeOverError::Silent)?;
        let mut taken = Inheritance::default();
        loop {
            let (word, sockets) = self.0.hear().map_err(TakeOverError::Silent)?;
            match word {
                Word::Sockets { scheme, address } => {
                    taken.add((scheme, address), sockets.into_iter().map(TcpListener::from));
                }
                Word::All { admin_socket } => {
                    taken.admin_socket = Some(admin_socket);
                    return Ok(taken);
                }
                _ => return Err(TakeOverError::NotUnderstood),
            }
        }
    }

    /// Says that this process serves, and has it take `rest` once the other one has heard
    /// that: from then on that one ends. Who is gone leaves everything. Blocks.
    pub(in crate::app) fn serving(&self, rest: impl FnOnce()) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let heard = self.0.say(&Word::Serving { version }, &[]).and_then(|()| self.0.hear());
        if let Err(error) = heard {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the process that was taken over from is gone");
        }
        rest();
        // It ends whether it hears this or not.
        let _ = self.0.say(&Word::Complete, &[]);
    }

    /// Says why this process does not start: the other one goes on.
    pub(in crate::app) fn failed(&self, mut reason: String) {
        // A word has an end, and each character may take six bytes in it.
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        // It goes on as well if it hears nothing.
        let _ = self.0.say(&Word::Failed { reason }, &[]);
    }
}

impl Inheritance {
    fn add(&mut self, written: Written, sockets: impl Iterator<Item = TcpListener>) {
        // More of the same may not have gone with one word.
        match self.listening.last_mut().filter(|(other, _)| *other == written) {
            Some((_, others)) => others.extend(sockets),
            None => self.listening.push((written, sockets.collect())),
        }
    }

    /// The addresses of what has not been taken.
    pub(in crate::app) fn addresses(&self) -> impl Iterator<Item = Written> {
        self.listening.iter().map(|(written, _)| *written)
    }

    /// True if the admin socket of the predecessor has this name.
    pub(in crate::app) fn has_admin_socket(&self, name: &Path) -> bool {
        self.admin_socket.as_deref() == Some(name)
    }

    /// Takes the sockets that listen on an address, as the config writes it.
    pub(in crate::app) fn remove(&mut self, written: Written) -> Option<Vec<TcpListener>> {
        let at = self.listening.iter().position(|(other, _)| *other == written)?;
        Some(self.listening.swap_remove(at).1)
    }
}
