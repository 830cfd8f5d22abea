//! Whether a server is up, from its health checks. Pure: outcomes in,
//! transitions out.

use std::fmt;

/// What health checks say of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// No check has ended yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl Standing {
    /// As it is written in logs.
    fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is learned of a server's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A check passed.
    Passed,
    /// A check failed.
    Failed,
    /// A request that was sent while the server was down was answered.
    Served,
}

/// A change of standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) from: Standing,
    pub(super) to: Standing,
}

/// The health of one server.
#[derive(Debug)]
pub(super) struct Health {
    standing: Standing,
    /// Outcomes in a row that speak against the standing.
    against: u32,
    was_up: bool,
    rise: u32,
    fall: u32,
}

impl Health {
    /// Of a server that has not been checked. `rise` passes in a row bring it
    /// up again after `fall` failures in a row took it down.
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self { standing: Standing::Unknown, against: 0, was_up: false, rise, fall }
    }

    /// `new` with what `before` came to; where nothing is checked any more, that the
    /// server is up.
    pub(super) fn succeeding(new: &Self, before: &Self) -> Self {
        let standing = if new.standing == Standing::Up { Standing::Up } else { before.standing };
        Self { standing, against: 0, was_up: before.was_up || standing == Standing::Up, ..*new }
    }

    /// Takes an outcome into account. A server that was never up comes up with
    /// its first pass, and is down from its first failure on; a request that
    /// was served is proof enough at any time.
    pub(super) fn observe(&mut self, outcome: Outcome) -> Option<Transition> {
        let (towards, needed) = match (self.standing, outcome) {
            (Standing::Up, Outcome::Failed) => (Standing::Down, self.fall),
            (Standing::Down, Outcome::Passed) if self.was_up => (Standing::Up, self.rise),
            (Standing::Unknown, Outcome::Failed) => (Standing::Down, 1),
            (Standing::Unknown | Standing::Down, Outcome::Passed | Outcome::Served) => (Standing::Up, 1),
            (Standing::Up, Outcome::Passed | Outcome::Served) | (Standing::Down, Outcome::Failed) => {
                self.against = 0;
                return None;
            }
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        let transition = Transition { from: self.standing, to: towards };
        self.standing = towards;
        self.against = 0;
        self.was_up |= towards == Standing::Up;
        Some(transition)
    }

    /// What the outcomes so far say.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Failed, Passed, Served};
    use super::*;

    fn standings(outcomes: &[Outcome]) -> Vec<Standing> {
        let mut health = Health::new(2, 3);
        outcomes
            .iter()
            .map(|outcome| {
                let before = health.standing();
                let transition = health.observe(*outcome);
                assert_eq!(transition.is_some(), before != health.standing());
                health.standing()
            })
            .collect()
    }

    #[test]
    fn one_pass_makes_a_new_server_up() {
        assert_eq!(standings(&[Passed]), [Standing::Up]);
        assert_eq!(standings(&[Failed, Failed, Passed]).last(), Some(&Standing::Up));
    }

    #[test]
    fn fall_failures_in_a_row_take_it_down() {
        let up_down = standings(&[Passed, Failed, Failed, Passed, Failed, Failed, Failed]);
        assert!(up_down[..6].iter().all(|standing| *standing == Standing::Up));
        assert_eq!(up_down[6], Standing::Down);
    }

    #[test]
    fn rise_passes_in_a_row_bring_it_back() {
        let back = standings(&[Passed, Failed, Failed, Failed, Passed, Failed, Passed, Passed]);
        assert_eq!(back[3..], [Standing::Down, Standing::Down, Standing::Down, Standing::Down, Standing::Up]);
    }

    #[test]
    fn a_served_request_brings_it_back_at_once() {
        assert_eq!(standings(&[Passed, Failed, Failed, Failed, Served]).last(), Some(&Standing::Up));
    }
}
