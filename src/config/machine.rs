//! The machine a config is for: what the values called "auto" and the default
//! paths follow from. The one place that looks at the environment.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};

const GIB: u64 = 1 << 30;

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
            memory: memory(),
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            open_files: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            state_dir: state_dir(|name| std::env::var(name).ok(), geteuid().is_root()),
            system_state_dir: state_dir(|name| std::env::var(name).ok(), true),
            runtime_dir: first_path(std::env::var("RUNTIME_DIRECTORY").ok()),
        }
    }

    /// The memory tier of the cache: an eighth, 64 MiB to 1 GiB.
    pub(crate) fn cache_memory(&self) -> u64 {
        (self.memory / 8).clamp(64 << 20, GIB)
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

fn memory() -> u64 {
    let machine =
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text)).unwrap_or(GIB);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup_limit(&groups, |path| fs::read_to_string(path).ok()).map_or(machine, |limit| limit.min(machine))
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of the process's cgroup and those around it, of either version.
fn cgroup_limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let inside = Path::new(root).join(group.trim_start_matches('/'));
        let around = inside.ancestors().take_while(|path| path.starts_with(root));
        around.filter_map(|path| read(&path.join(file))?.trim().parse().ok()).collect::<Vec<u64>>()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
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
    fn the_narrowest_cgroup_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("1048576\n".to_owned()),
            "/sys/fs/cgroup/memory/c/memory.limit_in_bytes" => Some("4096\n".to_owned()),
            _ => None,
        };
        assert_eq!(cgroup_limit("0::/a/b\n", read), Some(1_048_576));
        assert_eq!(cgroup_limit("4:cpu,memory:/c\n0::/a\n", read), Some(4096));
        assert_eq!(cgroup_limit("garbage\n", read), None);
        assert_eq!(total_memory("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
    }

    #[test]
    fn automatic_values_stay_within_their_bounds() {
        let mut machine = Machine::detect();
        machine.open_files = 1024;
        assert_eq!(machine.connections(), 460);
        machine.open_files = u64::MAX;
        assert_eq!(machine.connections(), 65_536);
        machine.memory = 4 * GIB;
        assert_eq!(machine.cache_memory(), GIB / 2);
        machine.memory = 1;
        assert_eq!(machine.cache_memory(), 64 << 20);
    }
}
