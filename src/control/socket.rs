//! The admin socket in the file system: for its owner only, one process at a
//! time. It keeps others out by its mode; no other check follows.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use super::api::AdminApi;
use super::{ControlError, Inspect, Lifecycle, server};
use crate::base::Tasks;

const OWNER_ONLY: u32 = 0o600;
const BACKLOG: i32 = 64;

/// The listening admin socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    file: OwnFile,
}

impl AdminSocket {
    /// Makes the socket with mode 0600, and its directory with mode 0700 where
    /// there is none. A socket that a dead process left is replaced.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Bind { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        }
        let address = SockAddr::unix(path).map_err(failed)?;
        match occupant(path, &address).map_err(failed)? {
            Occupant::None => {}
            Occupant::Dead => std::fs::remove_file(path).map_err(failed)?,
            Occupant::Alive => return Err(ControlError::InUse { path: path.to_owned() }),
            Occupant::NotASocket => return Err(ControlError::NotASocket { path: path.to_owned() }),
        }
        let listener = listen(path, &address).map_err(failed)?;
        let file = OwnFile::of(path).map_err(failed)?;
        Ok(Self { listener, file })
    }

    /// The same beside the socket of a process that is taken over from, until
    /// [`AdminSocket::take_name`].
    pub fn bind_beside(path: &Path) -> Result<Self, ControlError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".next");
        Self::bind(Path::new(&name))
    }

    /// Takes the name `path` from that process, or whoever has it meanwhile.
    pub fn take_name(&mut self, path: &Path) -> Result<(), ControlError> {
        let failed = |source| ControlError::Bind { path: path.to_owned(), source };
        std::fs::rename(&self.file.path, path).map_err(failed)?;
        path.clone_into(&mut self.file.path);
        Ok(())
    }

    /// Answers until the tasks are stopped, from a runtime with I/O and time.
    pub async fn serve(
        self,
        inspect: Arc<dyn Inspect>,
        lifecycle: Arc<dyn Lifecycle>,
        tasks: Tasks,
    ) -> Result<(), ControlError> {
        let Self { listener, file } = self;
        let listener = tokio::net::UnixListener::from_std(listener)
            .map_err(|source| ControlError::Bind { path: file.path.clone(), source })?;
        server::serve(listener, Arc::new(AdminApi::new(inspect, lifecycle)), tasks).await;
        Ok(())
    }
}

/// What has the name of the socket.
enum Occupant {
    None,
    Dead,
    Alive,
    NotASocket,
}

fn occupant(path: &Path, address: &SockAddr) -> io::Result<Occupant> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::None),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => return Ok(Occupant::NotASocket),
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A live socket with a full backlog says so instead of making us wait.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Ok(()) => Ok(Occupant::Alive),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Occupant::Alive),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Occupant::Dead),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupant::None),
        Err(error) => Err(error),
    }
}

fn listen(path: &Path, address: &SockAddr) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the file the mode of the unbound socket, so that there is no
    // moment in which others could connect. Elsewhere the second call counts.
    fchmod(&socket, Mode::from_raw_mode(OWNER_ONLY))?;
    socket.bind(address)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(OWNER_ONLY))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A file that is removed in the end, unless another one took its name.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, path = %self.path.display(), "the admin socket cannot be removed");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn socket_and_directory_are_for_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/seawall/admin.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        let error = AdminSocket::bind(&path).unwrap_err();
        let expected =
            format!("another seawall runs already: it answers on the admin socket {}", path.display());
        assert_eq!(error.to_string(), expected);
        assert!(path.exists());
        drop(first);
    }

    #[test]
    fn a_dead_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        // The standard listener leaves its file behind.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = AdminSocket::bind(&path).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(socket);
    }

    #[test]
    fn a_file_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(AdminSocket::bind(&path), Err(ControlError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_successor_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        std::fs::rename(&path, directory.path().join("old.sock")).unwrap();
        let second = AdminSocket::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
    }

    #[test]
    fn a_name_goes_from_one_to_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let before = AdminSocket::bind(&path).unwrap();
        let mut after = AdminSocket::bind_beside(&path).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        before.listener.accept().unwrap();
        after.take_name(&path).unwrap();
        drop(before);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        after.listener.accept().unwrap();
        assert_eq!((mode(&path), directory.path().read_dir().unwrap().count()), (0o600, 1));
        drop(after);
        assert!(!path.exists());
    }

    #[test]
    fn a_name_too_long_for_a_socket_is_an_error() {
        let path = Path::new("/tmp").join("x".repeat(200));
        assert!(matches!(AdminSocket::bind(&path), Err(ControlError::Bind { .. })));
    }
}
