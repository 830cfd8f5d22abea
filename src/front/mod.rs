//! From connections to requests: speaks HTTP/1.1 and HTTP/2 with clients, brings
//! each request into normal form, hands it to the handler and sends what comes
//! back. It never decides what the answer is.
//!
//! A request goes through the files in this order: `connection` (the bytes, which
//! `paced` tells `pace` and `framing` of, and which are `lent` to hyper or go to
//! `http2`, while what ends it waits `beside`), `service` (one exchange), `normalize`
//! and `identity` (what is asked, by whom), the handler, `respond` (what is sent),
//! `observe` (what is recorded).

mod beside;
mod challenge;
mod connection;
mod content;
mod framing;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod http2;
mod identity;
mod interim;
mod lent;
mod normalize;
mod observe;
mod pace;
mod paced;
mod respond;
mod room;
mod service;
mod sync;
mod tunnel;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::{Clock, Tasks};
use crate::certs::Certificates;
use crate::config::model::{Config, Limits};
use crate::exchange::Handler;
use crate::telemetry::Telemetry;

/// The protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionProtocol {
    /// HTTP/1.0 and HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// How one configuration has requests served.
pub struct Serving {
    handler: Arc<dyn Handler>,
    certificates: Arc<Certificates>,
    limits: Arc<Limits>,
    trusted_proxies: Vec<IpNet>,
}

impl Serving {
    /// As `config` says, by `handler`; challenges are answered with what
    /// `certificates` wait for.
    pub fn new(config: &Config, handler: Arc<dyn Handler>, certificates: Arc<Certificates>) -> Self {
        Self {
            handler,
            certificates,
            limits: Arc::new(config.limits.clone()),
            trusted_proxies: config.listen.trusted_proxies.clone(),
        }
    }
}

/// What every connection shares.
pub struct Front {
    serving: ArcSwap<Serving>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    draining: CancellationToken,
    /// The same, to be looked at for every request: the token locks what all cores share.
    is_draining: AtomicBool,
    is_out_of_memory: AtomicBool,
    /// Who waits while memory is short, is to go.
    crowded_out: Notify,
}

impl Front {
    /// A front that serves so, by `tasks` that a drain waits for.
    pub fn new(serving: Serving, telemetry: Arc<Telemetry>, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self {
            serving: ArcSwap::from_pointee(serving),
            telemetry,
            clock,
            tasks,
            draining: CancellationToken::new(),
            is_draining: AtomicBool::new(false),
            is_out_of_memory: AtomicBool::new(false),
            crowded_out: Notify::new(),
        }
    }

    /// Has every request from now on served so, on connections that are there too.
    /// These keep the limits of connections that they came under.
    pub fn serve_so(&self, serving: Serving) {
        self.serving.store(Arc::new(serving));
    }

    /// Has every connection end once the requests on it are answered.
    pub fn drain(&self) {
        self.is_draining.store(true, Relaxed);
        self.draining.cancel();
    }

    /// What is cancelled when a drain begins.
    pub fn draining(&self) -> CancellationToken {
        self.draining.child_token()
    }

    /// True once a drain has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// Has every request refused, or served again: there is too little memory, or
    /// enough.
    pub fn refuse_for_memory(&self, is_out_of_memory: bool) {
        self.is_out_of_memory.store(is_out_of_memory, Relaxed);
    }

    /// Ends the connections on which nothing goes on, and those that are not read
    /// because memory is short: of a client that is gone nothing else is seen.
    pub fn end_who_waits(&self) {
        self.crowded_out.notify_waiters();
    }

    /// True while there is too little memory for another request.
    pub fn is_out_of_memory(&self) -> bool {
        self.is_out_of_memory.load(Relaxed)
    }

    fn serving(&self) -> Guard<Arc<Serving>> {
        self.serving.load()
    }

    /// The clock of its deadlines.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What clients may use up.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.serving().limits)
    }

    /// What is told about the traffic.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Runs connections' tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("limits", &self.limits()).finish_non_exhaustive()
    }
}
