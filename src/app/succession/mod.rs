//! How one process takes over from another one that serves, as an upgrade of the
//! program needs it: no connection is refused and no answer is cut in between.
//!
//! The running process (`predecessor`) starts the program anew, with the arguments it
//! was started with, and talks with it over a socket that is its standard input
//! (`words`). The new one (`successor`) reads the config, then takes the disk tier of
//! the cache and the listening sockets, starts as any process does, and says that it
//! serves. Only then the old one stops to take connections, finishes its exchanges and
//! ends. Until then the old one serves, and goes on if the new one fails.

mod predecessor;
mod successor;
mod words;

use std::net::TcpListener;

pub(super) use predecessor::{Program, UpgradeError, hand_over};
pub(super) use successor::{Inheritance, Predecessor};
pub(super) use words::{Scheme, Written};

/// Sockets that listen on an address.
pub(super) type Listening = (Written, Vec<TcpListener>);
