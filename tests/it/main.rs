//! The integration tests: one binary, a module a theme. What counts is what a
//! client sees: status, fields, content, Cache-Status.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test stops where something is not as it must be, says so, and spawns its own tasks"
)]

mod support;

mod acme;
mod acme_faults;
mod acme_name_server;
mod acme_renewal;
mod acme_server;
mod client_certificates;
mod clock;
mod command_line;
mod compression;
mod config;
mod connections;
mod crash;
mod disk;
mod end_to_end;
mod explain;
mod floors;
mod front;
mod keys;
mod memory;
mod on_demand;
mod origins;
mod preflight;
mod privileges;
mod process;
mod proxy_protocol;
mod purge;
mod reload;
mod resolve;
mod tls_policy;
mod upgrade;
