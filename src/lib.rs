//! Seawall, a caching edge proxy.
//!
//! The modules stand in the order of a request's way; each imports only what
//! stands below it. `ARCHITECTURE.md` names the floors and the laws that hold
//! between them, and a test reads every `use crate::` to keep them true.

pub mod app;
pub mod control;

pub mod listener;

pub mod tls;

pub mod front;

pub mod router;

pub mod cache;

pub mod balance;

pub mod upstream;

pub mod certs;
pub mod telemetry;

pub mod exchange;

pub mod config;

pub mod resolve;

pub mod policy;

pub mod fields;

pub mod base;
