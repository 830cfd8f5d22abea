//! The machine a config is for: what the values called "auto" and the default
//! paths follow from. The one place that looks at the environment.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use rustix::process::{Resource, geteuid, getrlimit};

use crate::base::Memory;

/// What the machine gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of memory: of the machine or, where that is less, of the cgroup.
    pub memory: u64,
    /// Cores this process may use.
    pub cores: NonZeroUsize,
    /// How many files the process may open at most (the hard `RLIMIT_NOFILE`).
    pub open_files: u64,
    /// Where state is kept if the config does not say.
    pub state_dir: PathBuf,
    /// The same for a process that is started as root.
    pub system_state_dir: PathBuf,
    /// Where sockets are made, if a service manager gave such a place.
    pub runtime_dir: Option<PathBuf>,
}

impl Machine {
    /// Looks at the machine this process runs on.
    pub fn detect() -> Self {
        Self {
            memory: Memory::detect().limit(),
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            open_files: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            state_dir: state_dir(|name| std::env::var(name).ok(), geteuid().is_root()),
            system_state_dir: state_dir(|name| std::env::var(name).ok(), true),
            runtime_dir: first_path(std::env::var("RUNTIME_DIRECTORY").ok()),
        }
    }

    /// Client connections: at most 65536 and 45 % of the files, since a miss
    /// needs a second one towards an origin server.
    pub(crate) fn connections(&self) -> usize {
        let share = u128::from(self.open_files) * 45 / 100;
        usize::try_from(share.clamp(16, 65_536)).unwrap_or(65_536)
    }
}

fn state_dir(variable: impl Fn(&str) -> Option<String>, is_root: bool) -> PathBuf {
    if let Some(path) = first_path(variable("STATE_DIRECTORY")) {
        return path;
    }
    let home = first_path(variable("XDG_STATE_HOME"))
        .or_else(|| first_path(variable("HOME")).map(|home| home.join(".local/state")));
    match home {
        Some(home) if !is_root => home.join("seawall"),
        _ => PathBuf::from("/var/lib/seawall"),
    }
}

/// systemd separates several directories by colons; the first is the main one.
fn first_path(list: Option<String>) -> Option<PathBuf> {
    let first = list?.split(':').next().map(PathBuf::from)?;
    first.is_absolute().then_some(first)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn state(variables: &[(&str, &str)], is_root: bool) -> PathBuf {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        state_dir(find, is_root)
    }

    #[test]
    fn state_is_kept_where_the_service_manager_says() {
        let home = ("HOME", "/home/ann");
        assert_eq!(state(&[home], false), Path::new("/home/ann/.local/state/seawall"));
        assert_eq!(state(&[home, ("XDG_STATE_HOME", "/s")], false), Path::new("/s/seawall"));
        assert_eq!(state(&[home], true), Path::new("/var/lib/seawall"));
        assert_eq!(state(&[home, ("STATE_DIRECTORY", "/a:/b")], false), Path::new("/a"));
        assert_eq!(state(&[("HOME", "")], false), Path::new("/var/lib/seawall"));
    }

    #[test]
    fn automatic_values_stay_within_their_bounds() {
        let mut machine = Machine::detect();
        machine.open_files = 1024;
        assert_eq!(machine.connections(), 460);
        machine.open_files = u64::MAX;
        assert_eq!(machine.connections(), 65_536);
    }
}
