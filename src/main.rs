//! The `seawall` command.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// A request that is passed through takes and gives back buffers of kilobytes,
/// on which the system's allocator spends a tenth of the request.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    seawall::app::command_line::run()
}
