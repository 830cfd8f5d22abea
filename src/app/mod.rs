//! The wiring: the only place that knows every floor. It starts them in the
//! order of their dependence and ends them in the reverse.

pub mod command_line;
pub mod demo;

mod edge;
mod generation;
mod inspect;
mod look;
mod memory;
mod origins;
mod privileges;
mod process;
mod purge;
mod reload;
mod service_manager;
mod sockets;
mod succession;
mod upgrade;
mod workers;

pub use edge::{Edge, ReloadError, StartError};
