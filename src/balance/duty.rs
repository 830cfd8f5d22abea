//! What an operator wants of a server, beside all that is found out about it.

use std::collections::HashMap;
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

/// So many orders for single servers are remembered while those are not there.
const MOST_ORDERS: usize = 1_024;

/// What an operator ordered, for servers that are found later too.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// By the place of an entry in the config.
    for_all: HashMap<usize, Duty>,
    /// The same, and the URL of one server.
    for_one: HashMap<(usize, String), Duty>,
}

impl Orders {
    /// An order for all servers of an entry, which is the last word.
    pub(super) fn give(&mut self, entry: usize, duty: Duty) {
        self.for_one.retain(|(of, _), _| *of != entry);
        self.for_all.insert(entry, duty);
    }

    /// An order for one of them.
    pub(super) fn give_one(&mut self, entry: usize, url: &str, duty: Duty) {
        // Forgotten are those that an operator never sees again, or gives once more.
        if self.for_one.len() >= MOST_ORDERS {
            self.for_one.clear();
        }
        self.for_one.insert((entry, url.to_owned()), duty);
    }

    /// What is wanted of a server of an entry.
    pub(super) fn of(&self, entry: usize, url: &str) -> Duty {
        let for_one = self.for_one.get(&(entry, url.to_owned()));
        for_one.or_else(|| self.for_all.get(&entry)).copied().unwrap_or_default()
    }

    /// Those for what has a `place` elsewhere, in that place.
    pub(super) fn moved(&self, place: impl Fn(usize) -> Option<usize>) -> Self {
        let for_all = self.for_all.iter().filter_map(|(entry, duty)| Some((place(*entry)?, *duty)));
        let for_one = self.for_one.iter();
        let for_one = for_one.filter_map(|((entry, url), duty)| Some(((place(*entry)?, url.clone()), *duty)));
        Self { for_all: for_all.collect(), for_one: for_one.collect() }
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

    #[test]
    fn the_last_order_counts() {
        let mut orders = Orders::default();
        assert_eq!(orders.of(0, "a"), Duty::Enabled);
        orders.give(0, Duty::Draining);
        orders.give_one(0, "a", Duty::Disabled);
        assert_eq!((orders.of(0, "a"), orders.of(0, "b")), (Duty::Disabled, Duty::Draining));
        assert_eq!(orders.of(1, "a"), Duty::Enabled, "that of another entry");
        orders.give(0, Duty::Enabled);
        assert_eq!(orders.of(0, "a"), Duty::Enabled);
    }

    #[test]
    fn orders_are_bounded() {
        let mut orders = Orders::default();
        for number in 0..2 * MOST_ORDERS {
            orders.give_one(0, &number.to_string(), Duty::Disabled);
        }
        assert!(orders.for_one.len() <= MOST_ORDERS);
    }
}
