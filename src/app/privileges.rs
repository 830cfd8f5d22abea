//! What the process may do: it becomes the user of the config, keeps nothing of root but
//! the right to take low ports, leaves no memory dump and gets no further rights. All
//! of it before there is a second thread, as each thread has its own.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{User, setgid, setgroups, setuid};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Resource, Rlimit, geteuid, getuid, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

use crate::config::Config;
use crate::config::model::AccessLogTarget;

/// Takes ports below 1024.
const LOW_PORTS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// The process does not become what it is to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivilegeError {
    #[error("the machine has no user {0}, as `user` wants")]
    NoSuchUser(String),
    #[error("`user` is to be another one than root")]
    Root,
    #[error("only root can become the user {0}: start it as root, or take `user` out")]
    NotRoot(String),
    #[error("there are threads already that would stay root")]
    Threads,
    #[error("{} cannot be made for the user {user}", path.display())]
    Directory {
        path: PathBuf,
        user: String,
        #[source]
        source: io::Error,
    },
    #[error("the rights of the process cannot be changed")]
    System(#[source] io::Error),
}

/// Gives up what the process does not need. To be called before there is any other
/// thread.
pub(super) fn give_up(config: &Config) -> Result<(), PrivilegeError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|errno| PrivilegeError::System(errno.into()))?;
    if let Some(user) = &config.user {
        become_user(user, config)?;
    }
    set_no_new_privs(true).map_err(|errno| PrivilegeError::System(errno.into()))
}

fn become_user(name: &str, config: &Config) -> Result<(), PrivilegeError> {
    let system = |errno: nix::Error| PrivilegeError::System(errno.into());
    let no_such_user = || PrivilegeError::NoSuchUser(name.to_owned());
    let user = User::from_name(name).map_err(system)?.ok_or_else(no_such_user)?;
    if user.uid.is_root() {
        return Err(PrivilegeError::Root);
    }
    if [geteuid(), getuid()].iter().all(|uid| uid.as_raw() == user.uid.as_raw()) {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(PrivilegeError::NotRoot(name.to_owned()));
    }
    if fs::read_dir("/proc/self/task").map_err(PrivilegeError::System)?.count() != 1 {
        return Err(PrivilegeError::Threads);
    }
    let directories = directories(config);
    let failed = |path: &Path, source| PrivilegeError::Directory {
        path: path.to_owned(),
        user: name.to_owned(),
        source,
    };
    for path in &directories {
        give_outermost(path, &user).map_err(|source| failed(path, source))?;
    }
    keep_low_ports(|| {
        let name = std::ffi::CString::new(name).map_err(|_| nix::Error::EINVAL)?;
        setgroups(&nix::unistd::getgrouplist(&name, user.gid)?)?;
        setgid(user.gid)?;
        setuid(user.uid)
    })
    .map_err(PrivilegeError::System)?;
    // What is below is made by the user, who could lead root elsewhere.
    for path in &directories {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| failed(path, source))?;
    }
    Ok(())
}

/// Where the process writes.
fn directories(config: &Config) -> Vec<PathBuf> {
    let mut all = vec![config.state_dir.clone()];
    all.extend(config.admin.socket.parent().map(Path::to_owned));
    if let AccessLogTarget::File(path) = &config.log.access {
        all.extend(path.parent().map(Path::to_owned));
    }
    all.extend(config.cache.disk.iter().map(|disk| disk.path.clone()));
    all
}

/// Of the directories of a path that are not there makes the first, for a user, unless it
/// is in one of that user's. One that is there stays as it is.
fn give_outermost(path: &Path, user: &User) -> io::Result<()> {
    let is_there = |path: &Path| path.as_os_str().is_empty() || path.exists();
    let Some(first) = path.ancestors().take_while(|path| !is_there(path)).last() else { return Ok(()) };
    let parent = first.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if parent.metadata()?.uid() == user.uid.as_raw() {
        return Ok(());
    }
    DirBuilder::new().mode(0o700).create(first)?;
    let made = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(CWD, first, made, Mode::empty())?;
    std::os::unix::fs::fchown(made, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
}

/// Changes the user, and keeps of the rights of root that to low ports, also for the
/// programs that are started from here.
fn keep_low_ports(change: impl FnOnce() -> Result<(), nix::Error>) -> io::Result<()> {
    let kept = capabilities(None)?.permitted & LOW_PORTS;
    set_keep_capabilities(true)?;
    change()?;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
    if !kept.is_empty() {
        configure_capability_in_ambient_set(kept, true)?;
    }
    Ok(set_keep_capabilities(false)?)
}
