//! What an operator wants of a server, beside all that is found out about it.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Whether a server is to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// It is.
    #[default]
    Enabled,
    /// For the sessions that it has, and for nothing new.
    Draining,
    /// It is not.
    Disabled,
}

/// The duty of one server, read with every request.
#[derive(Debug, Default)]
pub(super) struct CurrentDuty(AtomicU8);

impl CurrentDuty {
    /// What is wanted now.
    pub(super) fn get(&self) -> Duty {
        let encoded = self.0.load(Relaxed);
        [Duty::Draining, Duty::Disabled].into_iter().find(|duty| *duty as u8 == encoded).unwrap_or_default()
    }

    /// From now on this is.
    pub(super) fn set(&self, duty: Duty) {
        self.0.store(duty as u8, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_got() {
        let current = CurrentDuty::default();
        assert_eq!(current.get(), Duty::Enabled);
        for duty in [Duty::Draining, Duty::Disabled, Duty::Enabled] {
            current.set(duty);
            assert_eq!(current.get(), duty);
        }
    }
}
