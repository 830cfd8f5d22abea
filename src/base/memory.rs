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
    /// Bytes.
    limit: u64,
    /// The group that sets the limit.
    group: Option<Group>,
}

/// A control group with a limit, of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    directory: PathBuf,
    files: &'static Files,
}

/// What the files of a group are called, and in the last of them the lines of
/// what can be given back at any time.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    root: &'static str,
    limit: &'static str,
    usage: &'static str,
    reclaimable: [&'static str; 2],
}

static VERSION_1: Files = Files {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_active_file ", "total_inactive_file "],
};

static VERSION_2: Files = Files {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: ["active_file ", "inactive_file "],
};

impl Memory {
    /// Looks at the machine and the groups this process is in.
    pub fn detect() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(GIB);
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        match narrowest(&groups, |path| fs::read_to_string(path).ok()) {
            Some((limit, group)) if limit < machine => Self { limit, group: Some(group) },
            _ => Self { limit: machine, group: None },
        }
    }

    /// Has the allocator give back to the system what is not in use, in a thread of
    /// its own: what one thread took and another gave back, else stays with the
    /// first until that takes some again.
    pub fn give_back_unused() {
        if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
            tracing::warn!(%error, "memory that is not in use is given back late");
        }
    }

    /// Bytes there are for this process, and others in its group.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes in use that cannot be given back: by this process or, if that is more,
    /// by its whole group, in which sockets and other processes count.
    pub fn used(&self) -> u64 {
        let own = fs::read_to_string("/proc/self/statm").ok().and_then(|text| anonymous(&text)).unwrap_or(0);
        let read = |path: &Path| fs::read_to_string(path).ok();
        own.max(self.group.as_ref().and_then(|group| group.used(read)).unwrap_or(0))
    }
}

impl Group {
    fn used(&self, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
        let usage: u64 = read(&self.directory.join(self.files.usage))?.trim().parse().ok()?;
        let statistics = read(&self.directory.join("memory.stat")).unwrap_or_default();
        let reclaimable = statistics.lines().filter_map(|line| {
            let bytes = self.files.reclaimable.iter().find_map(|name| line.strip_prefix(name))?;
            bytes.parse::<u64>().ok()
        });
        Some(usage.saturating_sub(reclaimable.sum()))
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

/// The least limit of the process's groups and those around them, and whose it is.
fn narrowest(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<(u64, Group)> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let files = match controllers {
            "" => &VERSION_2,
            list if list.split(',').any(|name| name == "memory") => &VERSION_1,
            _ => return Vec::new(),
        };
        let inside = Path::new(files.root).join(group.trim_start_matches('/'));
        let around = inside.ancestors().take_while(|path| path.starts_with(files.root));
        let limited = around.filter_map(|path| {
            let limit = read(&path.join(files.limit))?.trim().parse().ok()?;
            Some((limit, Group { directory: path.to_owned(), files }))
        });
        limited.collect()
    });
    limits.min_by_key(|(limit, _): &(u64, Group)| *limit)
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
        let of = |groups| narrowest(groups, read).map(|(limit, group)| (limit, group.directory));
        assert_eq!(of("0::/a/b\n"), Some((1_048_576, PathBuf::from("/sys/fs/cgroup/a"))));
        assert_eq!(of("4:cpu,memory:/c\n0::/a\n"), Some((4096, PathBuf::from("/sys/fs/cgroup/memory/c"))));
        assert_eq!(of("garbage\n"), None);
    }

    #[test]
    fn what_files_take_in_a_group_can_be_given_back() {
        for (files, usage) in [(&VERSION_1, "memory.usage_in_bytes"), (&VERSION_2, "memory.current")] {
            let group = Group { directory: "/group".into(), files };
            let [active, inactive] = files.reclaimable;
            let used = group.used(|path| match path.to_str()?.strip_prefix("/group/")? {
                "memory.stat" => Some(format!("cache 9\n{active}100\n{inactive}20\nanon 7\n")),
                name => (name == usage).then(|| "1000\n".to_owned()),
            });
            assert_eq!(used, Some(880));
            assert_eq!(group.used(|_| None), None);
        }
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
        assert!(memory.used() > 0 && memory.used() < memory.limit());
    }
}
