//! The side of the process that is taken over from.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::Listening;
use super::words::{Line, MOST_SOCKETS, Word};
use crate::cache::Cache;
use crate::certs::CertError;
use crate::control::Upgraded;

/// How long a successor may take until it asks for what it takes over, then until it
/// serves, and until it has the rest: the admin socket answers in half a minute.
const ASKS_WITHIN: Duration = Duration::from_secs(5);
const SERVES_WITHIN: Duration = Duration::from_secs(10);
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// What a process is told that is to take over.
pub(in crate::app) const TAKE_OVER: &str = "--take-over";

/// Why no other process took over.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum UpgradeError {
    #[error("only what `seawall run` started can be taken over from")]
    NotARun,
    #[error("the edge is draining: it is not taken over from")]
    Draining,
    #[error("a certificate is in memory only: the new process would not have it")]
    Unwritten(#[source] CertError),
    #[error("{} cannot be started", program.display())]
    NotStarted {
        program: OsString,
        #[source]
        source: io::Error,
    },
    #[error("the new process does not start: {0}")]
    Failed(String),
    #[error("the disk of the cache does not do in time what it has to")]
    Disk,
    #[error("the new process said nothing for {within:?}")]
    Silent { within: Duration },
    #[error("the new process ended before it served")]
    Ended,
    #[error("the new process cannot be talked with")]
    Line(#[from] io::Error),
}

/// How a process is started anew.
#[derive(Clone, Debug)]
pub(in crate::app) struct Program {
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// This program with its arguments, found by its name as it was: what is there
    /// under that name is started.
    pub(in crate::app) fn of_this_process() -> Option<Self> {
        let mut arguments = std::env::args_os();
        let name = arguments.next()?;
        Some(Self { name, arguments: arguments.filter(|argument| argument != TAKE_OVER).collect() })
    }

    fn start(&self) -> Result<(Line, Child), UpgradeError> {
        let (line, far) = Line::pair()?;
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).arg(TAKE_OVER).stdin(Stdio::from(far));
        let not_started = |source| UpgradeError::NotStarted { program: self.name.clone(), source };
        let child = command.spawn().map_err(not_started)?;
        Ok((line, child))
    }
}

/// Starts `program`, and leaves the disk tier of `cache`, `listening` and the name of the
/// admin socket to it. Returns once it serves; on an error it is gone, and this process
/// has everything back. To be run to its end.
pub(in crate::app) async fn hand_over(
    program: &Program,
    cache: &Arc<Cache>,
    listening: Vec<Listening>,
    admin_socket: PathBuf,
) -> Result<Upgraded, UpgradeError> {
    let (line, child) = program.start()?;
    let (line, mut child) = (Arc::new(line), Successor { child, serves: false });
    match hear(&line, ASKS_WITHIN).await? {
        Word::Take => {}
        other => return Err(refusal(other)),
    }
    if !cache.leave().await {
        return Err(UpgradeError::Disk);
    }
    match leave_sockets(&line, listening, admin_socket).await {
        Ok(version) => {
            child.serves = true;
            leave_rest(line).await;
            Ok(Upgraded { pid: child.child.id(), version })
        }
        Err(error) => {
            let cache = Arc::clone(cache);
            let taken_back = tokio::task::spawn_blocking(move || {
                drop(child);
                cache.take_back();
            });
            let _ = tokio::time::timeout(ENDS_WITHIN, taken_back).await;
            Err(error)
        }
    }
}

/// Passes the sockets on, and waits until the successor serves; its version.
async fn leave_sockets(
    line: &Arc<Line>,
    listening: Vec<Listening>,
    admin_socket: PathBuf,
) -> Result<String, UpgradeError> {
    let speaker = Arc::clone(line);
    let said = tokio::task::spawn_blocking(move || {
        for ((scheme, address), sockets) in &listening {
            for some in sockets.chunks(MOST_SOCKETS) {
                let sockets: Vec<_> = some.iter().map(AsFd::as_fd).collect();
                speaker.say(&Word::Sockets { scheme: *scheme, address: *address }, &sockets)?;
            }
        }
        speaker.say(&Word::All { admin_socket }, &[])
    });
    said.await.map_err(io::Error::other)??;
    match hear(line, SERVES_WITHIN).await? {
        Word::Serving { version } => Ok(version),
        other => Err(refusal(other)),
    }
}

/// Leaves the successor the rest, and waits until it has that. From here on it serves
/// whatever becomes of the words.
async fn leave_rest(line: Arc<Line>) {
    let said = tokio::task::spawn_blocking(move || {
        line.wait_at_most(ENDS_WITHIN)?;
        line.say(&Word::Yours, &[])?;
        line.hear()
    });
    if let Ok(Err(error)) = said.await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the new process serves, and says no more");
    }
}

async fn hear(line: &Arc<Line>, within: Duration) -> Result<Word, UpgradeError> {
    line.wait_at_most(within)?;
    let line = Arc::clone(line);
    let heard = tokio::task::spawn_blocking(move || line.hear()).await.map_err(io::Error::other)?;
    heard.map(|(word, _)| word).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => UpgradeError::Silent { within },
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => UpgradeError::Ended,
        _ => UpgradeError::Line(error),
    })
}

fn refusal(word: Word) -> UpgradeError {
    match word {
        Word::Failed { reason } => UpgradeError::Failed(reason),
        _ => UpgradeError::Line(io::ErrorKind::InvalidData.into()),
    }
}

/// The new process, which is ended when this is dropped before it serves.
struct Successor {
    child: Child,
    serves: bool,
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.serves {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
