//! What the process may do: it becomes the user of the config, keeps nothing of root but
//! the right to take low ports, leaves no memory dump and gets no further rights. All
//! of it before there is a second thread, as each thread has its own.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};
use rustix::process::{Resource, Rlimit, geteuid, setrlimit};
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
    if geteuid().as_raw() == user.uid.as_raw() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(PrivilegeError::NotRoot(name.to_owned()));
    }
    if fs::read_dir("/proc/self/task").map_err(PrivilegeError::System)?.count() != 1 {
        return Err(PrivilegeError::Threads);
    }
    for path in directories(config) {
        let failed = |source| PrivilegeError::Directory { path: path.clone(), user: name.to_owned(), source };
        make(&path, user.uid, user.gid).map_err(failed)?;
    }
    keep_low_ports(|| {
        let name = std::ffi::CString::new(name).map_err(|_| nix::Error::EINVAL)?;
        setgroups(&nix::unistd::getgrouplist(&name, user.gid)?)?;
        setgid(user.gid)?;
        setuid(user.uid)
    })
    .map_err(PrivilegeError::System)
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

/// Makes a directory that is not there, for a user. One that is there stays as it is.
fn make(path: &Path, user: Uid, group: Gid) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.try_exists()? {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent)?;
    }
    DirBuilder::new().mode(0o700).create(path)?;
    std::os::unix::fs::chown(path, Some(user.as_raw()), Some(group.as_raw()))
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
