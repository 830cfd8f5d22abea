//! The `seawall` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request that is passed through takes and gives back buffers of kilobytes,
/// on which the system's allocator spends a tenth of the request.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    seawall::app::command_line::run()
}
