//! What `seawall demo` adds to `seawall run`: a site to look at, origin servers
//! that serve it, the configuration for them, and what to tell the user.

mod answer;
mod files;
pub mod origins;
mod run;
mod text;
mod websocket;

pub(in crate::app) use run::run;
pub use text::{banner, config_text};
