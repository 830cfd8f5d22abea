//! How much memory there is for this process, and how much is in use: what the
//! kernel says in `/proc` and in control groups. It decides nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::param::page_size;

/// Assumed of a machine that does not say.
const GIB: u64 = 1 << 30;

/// The memory of this process: all of the machine's or, where that is less, what
/// its control groups leave it.
#[derive(Clone, Debug)]
pub struct Memory {
    machine: u64,
    /// The group that leaves it the least.
    group: Option<Group>,
}

/// Memory in use, and how much may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes in use that cannot be given back.
    pub used: u64,
    /// Bytes that may be in use.
    pub limit: u64,
}

/// A control group with a limit, of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    limit: u64,
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Memory {
    /// Looks at the machine and the groups this process is in.
    pub fn detect() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(GIB);
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let group = narrowest(&groups, |path| fs::read_to_string(path).ok());
        Self { machine, group: group.filter(|group| group.limit < machine) }
    }

    /// Bytes there are for this process, and others in its group.
    pub fn limit(&self) -> u64 {
        self.group.as_ref().map_or(self.machine, |group| group.limit)
    }

    /// What this process uses of the `most` bytes that it may or, where that is nearer to
    /// its end, what its group uses, in which other processes count. Blocks on files of
    /// the kernel, which are in memory.
    pub fn in_use(&self, most: u64) -> MemoryUse {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let used = read(Path::new("/proc/self/statm")).and_then(|text| anonymous(&text)).unwrap_or(0);
        let own = MemoryUse { used, limit: most };
        let of_group = self.group.as_ref().and_then(|group| group.in_use(read));
        of_group.filter(|group| group.is_nearer_to_its_end_than(own)).unwrap_or(own)
    }
}

impl MemoryUse {
    fn is_nearer_to_its_end_than(self, other: Self) -> bool {
        u128::from(self.used) * u128::from(other.limit) > u128::from(other.used) * u128::from(self.limit)
    }
}

impl Version {
    fn root(self) -> &'static str {
        match self {
            Self::One => "/sys/fs/cgroup/memory",
            Self::Two => "/sys/fs/cgroup",
        }
    }

    fn limit_file(self) -> &'static str {
        match self {
            Self::One => "memory.limit_in_bytes",
            Self::Two => "memory.max",
        }
    }
}

impl Group {
    /// Without what the system has back whenever it likes: pages of files, and what it
    /// remembers of directories.
    fn in_use(&self, read: impl Fn(&Path) -> Option<String>) -> Option<MemoryUse> {
        let statistics = read(&self.directory.join("memory.stat"))?;
        let sum_of = |names: &[&str]| -> u64 {
            let pairs = statistics.lines().filter_map(|line| line.split_once(' '));
            pairs
                .filter(|(name, _)| names.contains(name))
                .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
                .sum()
        };
        let used = match self.version {
            Version::One => {
                let sockets = read(&self.directory.join("memory.kmem.tcp.usage_in_bytes"));
                let sockets = sockets.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
                sum_of(&["total_rss", "total_shmem"]) + sockets
            }
            Version::Two => {
                let usage: u64 = read(&self.directory.join("memory.current"))?.trim().parse().ok()?;
                usage.saturating_sub(sum_of(&["active_file", "inactive_file", "slab_reclaimable"]))
            }
        };
        Some(MemoryUse { used, limit: self.limit })
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is resident and of no file, in bytes.
fn anonymous(statm: &str) -> Option<u64> {
    let mut pages = statm.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    resident.saturating_sub(shared).checked_mul(page_size() as u64)
}

/// Of the process's groups and those around them the one with the least limit.
fn narrowest(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<Group> {
    let limited = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let version = match controllers {
            "" => Version::Two,
            list if list.split(',').any(|name| name == "memory") => Version::One,
            _ => return Vec::new(),
        };
        let inside = Path::new(version.root()).join(group.trim_start_matches('/'));
        let around = inside.ancestors().take_while(|path| path.starts_with(version.root()));
        let limited = around.filter_map(|path| {
            let limit = read(&path.join(version.limit_file()))?.trim().parse().ok()?;
            Some(Group { limit, directory: path.to_owned(), version })
        });
        limited.collect()
    });
    limited.min_by_key(|group| group.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_group_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("1048576\n".to_owned()),
            "/sys/fs/cgroup/memory/c/memory.limit_in_bytes" => Some("4096\n".to_owned()),
            _ => None,
        };
        let of = |groups| narrowest(groups, read).map(|group| (group.limit, group.directory));
        assert_eq!(of("0::/a/b\n"), Some((1_048_576, PathBuf::from("/sys/fs/cgroup/a"))));
        assert_eq!(of("4:cpu,memory:/c\n0::/a\n"), Some((4096, PathBuf::from("/sys/fs/cgroup/memory/c"))));
        assert_eq!(of("garbage\n"), None);
    }

    #[test]
    fn what_the_system_has_back_at_any_time_does_not_count() {
        let read = |path: &Path| match path.to_str()?.strip_prefix("/group/")? {
            "memory.stat" => Some(
                "cache 9\nactive_file 100\ninactive_file 20\nslab_reclaimable 3\nanon 7\n\
                 rss 1\ntotal_rss 40\ntotal_shmem 2\n"
                    .to_owned(),
            ),
            "memory.current" => Some("1000\n".to_owned()),
            "memory.kmem.tcp.usage_in_bytes" => Some("500\n".to_owned()),
            _ => None,
        };
        for (version, used) in [(Version::One, 542), (Version::Two, 877)] {
            let group = Group { limit: 5000, directory: "/group".into(), version };
            assert_eq!(group.in_use(read), Some(MemoryUse { used, limit: 5000 }));
            assert_eq!(group.in_use(|_| None), None);
        }
    }

    #[test]
    fn what_is_nearer_to_its_end_is_told() {
        let (half, tenth) = (MemoryUse { used: 1, limit: 2 }, MemoryUse { used: 100, limit: 1000 });
        assert!(half.is_nearer_to_its_end_than(tenth) && !tenth.is_nearer_to_its_end_than(half));
        assert!(!half.is_nearer_to_its_end_than(half));
    }

    #[test]
    fn numbers_of_the_kernel_are_read_as_it_writes_them() {
        assert_eq!(total("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(anonymous("5000 300 100 20 0 900 0\n"), Some(200 * page_size() as u64));
        assert_eq!((total("MemFree: 1 kB"), anonymous("5000 x")), (None, None));
    }

    #[test]
    fn this_process_uses_some_of_it() {
        let memory = Memory::detect();
        let MemoryUse { used, limit } = memory.in_use(memory.limit());
        assert!(used > 0 && used < limit && limit <= memory.limit());
    }
}
