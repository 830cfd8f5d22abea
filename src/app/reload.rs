//! When the configuration is read anew, and what is said of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::edge::{Live, ReloadError};
use crate::base::FileMark;
use crate::config::{ChangeKind, Changes};

/// How often the file is looked at.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// Has the configuration of `edge` read anew whenever what this gives is notified, and
/// each time that `file` has changed, until the background tasks are stopped.
pub(super) fn start(edge: &Arc<Live>, file: Option<PathBuf>) -> Arc<Notify> {
    let asked = Arc::new(Notify::new());
    let tasks = &edge.ground.background;
    let (live, is_asked) = (Arc::clone(edge), Arc::clone(&asked));
    tasks.spawn_until_stopped(async move { whenever_asked(&live, &is_asked).await });
    if let Some(file) = file {
        let live = Arc::clone(edge);
        tasks.spawn_until_stopped(async move { whenever_changed(&live, file).await });
    }
    asked
}

/// Reads the configuration of `edge` anew, and says in log and metrics what came of
/// it.
pub(super) async fn now(edge: &Live) -> Result<Changes, ReloadError> {
    let metrics = &edge.telemetry.metrics;
    let reloaded = edge.reload().await;
    match &reloaded {
        Ok(changes) => {
            metrics.reloads.increment();
            let generation = edge.generation().number;
            tracing::info!(generation, changes = %summary(changes), "the config was read anew");
            for warning in &changes.warnings {
                tracing::warn!("{warning}");
            }
            if !changes.after_restart.is_empty() {
                let keys = changes.after_restart.join(", ");
                tracing::warn!(%keys, "some of the config only counts from the next start on");
            }
        }
        Err(error) => {
            metrics.reloads_failed.increment();
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "the config is not taken; the one in force stays");
        }
    }
    reloaded
}

/// Reads it anew each time it is `asked` for; however often that is while it is being
/// read, once more.
async fn whenever_asked(edge: &Live, asked: &Notify) {
    loop {
        asked.notified().await;
        // What came of it has been said.
        let _ = now(edge).await;
    }
}

/// Reads it anew each time the file has changed.
async fn whenever_changed(edge: &Live, file: PathBuf) {
    let mut known = edge.generation().mark;
    let mut before = known;
    loop {
        tokio::time::sleep(LOOKED_AT).await;
        let found = FileMark::of(&file);
        // Once it rests: an editor may still be writing.
        if found != known && found == before && found.is_some() {
            known = found;
            // It may have been asked for already.
            if found != edge.generation().mark {
                // What came of it has been said.
                let _ = now(edge).await;
            }
        }
        before = found;
    }
}

fn summary(changes: &Changes) -> String {
    if changes.reloaded.is_empty() {
        return "none".to_owned();
    }
    let sign = |kind| match kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Changed => '~',
    };
    let one = |change: &crate::config::Change| format!("{}{}", sign(change.kind), change.what);
    changes.reloaded.iter().map(one).collect::<Vec<_>>().join(", ")
}
