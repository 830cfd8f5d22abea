//! The `seawall` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    seawall::app::command_line::run()
}
