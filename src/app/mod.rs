//! The wiring: the only place that knows every floor. It starts them in the
//! order of their dependence and ends them in the reverse.

pub mod command_line;
pub mod demo;

mod edge;
mod inspect;
mod look;
mod origins;
mod process;
mod purge;
mod workers;

pub use edge::{Edge, StartError};
