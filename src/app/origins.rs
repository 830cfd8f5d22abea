//! `seawall origins`: the origin servers of a running edge, and what its
//! operator wants of them.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::command_line::{self, CommandError, Shown, ask_with, print};
use crate::control::show;

/// What is to be shown, or done.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Origins {
    #[command(flatten)]
    shown: Shown,
    #[command(subcommand)]
    what: Option<Order>,
}

const EXAMPLES: &str = "\
Examples:
  seawall origins
  seawall origins drain 10.0.0.1:8080               before it is stopped
  seawall origins enable 10.0.0.1:8080 --pool app";

#[derive(Debug, Subcommand)]
enum Order {
    /// Send a server nothing new: only what belongs to sessions that it has.
    Drain(Server),
    /// Send a server nothing.
    Disable(Server),
    /// Send a server requests again.
    Enable(Server),
}

#[derive(Debug, Args)]
struct Server {
    /// The server, as the config writes it, which means all that are found under a
    /// name; or as http://ADDRESS:PORT, which means one.
    server: String,
    /// In this pool only.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
}

/// Shows the servers, or has one taken out or back.
pub(super) fn run(origins: &Origins) -> Result<(), CommandError> {
    let (path, server) = match &origins.what {
        None => return command_line::show(&origins.shown, "/v1/origins", show::origins),
        Some(Order::Drain(server)) => ("/v1/origins/drain", server),
        Some(Order::Disable(server)) => ("/v1/origins/disable", server),
        Some(Order::Enable(server)) => ("/v1/origins/enable", server),
    };
    let order = json!({ "server": server.server, "pool": server.pool }).to_string();
    let answer = ask_with(&origins.shown.running, Method::POST, path, order.into())?;
    match origins.shown.json {
        true => print(&answer),
        false => print(&show::assigned(&serde_json::from_str(&answer)?)),
    }
}
