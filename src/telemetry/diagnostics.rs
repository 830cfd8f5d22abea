//! Where `tracing` events of the program go: standard error, as text. The
//! traffic is not told here but in the access log.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Used where neither the environment nor the config has a usable filter.
const FALLBACK: &str = "info";

/// Sends diagnostics to standard error, filtered by `RUST_LOG` if that is set
/// and else by `level`, such as `info` or `seawall=debug,info`. Only the first
/// call has an effect.
pub fn init(level: &str) {
    let written = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.trim().is_empty());
    let written = written.as_deref().unwrap_or(level);
    let (filter, error) = match EnvFilter::try_new(written) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(FALLBACK), Some(error)),
    };
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would be printed to standard error, which panics when that is closed.
        .log_internal_errors(false)
        .try_init();
    if let (Ok(()), Some(error)) = (started, error) {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, filter = written, "the filter of the diagnostics is wrong, using {FALLBACK}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn may_be_set_up_twice_and_with_nonsense() {
        super::init("error");
        super::init("==,no level");
    }
}
