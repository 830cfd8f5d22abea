//! The disk tier for as long as this process has it: where there is none, while another
//! process has it, and until it can be used, there is only memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::SLICE;
use super::disk::{Disk, Ground, start_thread};
use super::generations::Generations;
use crate::base::{Clock, Tasks};
use crate::config::model::{CacheConfig, DiskConfig};
use crate::telemetry::Metrics;

/// What waits to be written to the disk may hold this part of the memory tier's
/// size besides it.
const QUEUE_PART: u64 = 4;

/// So many slices can wait at least.
const SLICES_QUEUED: u64 = 4;

/// How often one that cannot be used is tried again, and that told.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The disk tier, if there is one, and what it works with.
#[derive(Debug)]
pub(super) struct DiskTier {
    disk: ArcSwapOption<Disk>,
    /// True once this process has left it to another one.
    is_left: Mutex<bool>,
    config: Option<DiskConfig>,
    /// Bytes that may wait to be written.
    queue: u64,
    generations: Arc<Generations>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl DiskTier {
    /// What was left on the disk.
    pub(super) fn open(
        config: &CacheConfig,
        generations: &Arc<Generations>,
        clock: &Arc<dyn Clock>,
        tasks: &Tasks,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        let tier = Arc::new(Self {
            disk: ArcSwapOption::empty(),
            is_left: Mutex::new(false),
            config: config.disk.clone(),
            queue: (config.memory / QUEUE_PART).max(SLICES_QUEUED * SLICE),
            generations: Arc::clone(generations),
            clock: Arc::clone(clock),
            tasks: tasks.clone(),
            metrics: Arc::clone(metrics),
        });
        tier.take();
        tier
    }

    /// Takes it with what is in it, if no other process has it; where that fails it is
    /// tried again behind the requests. Blocks on the disk.
    pub(super) fn take(self: &Arc<Self>) {
        let Some(config) = &self.config else { return };
        *self.is_left() = false;
        let disk = self.open_disk(config);
        let is_there = disk.is_some();
        self.disk.store(disk);
        if !is_there {
            self.try_again();
        }
    }

    /// Tries it on a thread of its own until it can be used or is not wanted any more.
    fn try_again(self: &Arc<Self>) {
        let left = Arc::downgrade(self);
        start_thread("disk-open", move || {
            loop {
                std::thread::sleep(TRY_AGAIN);
                let Some(tier) = left.upgrade() else { return };
                if tier.take_late() {
                    return;
                }
            }
        });
    }

    /// Takes it without what is in it: of what was purged meanwhile it does not know. False
    /// if it has to be tried once more.
    fn take_late(&self) -> bool {
        let Some(config) = &self.config else { return true };
        if *self.is_left() || self.disk.load().is_some() {
            return true;
        }
        let Some(disk) = self.open_disk(config) else { return false };
        match disk.clear() {
            Ok(removed) => tracing::info!(removed, "the disk cache can be used now, and begins anew"),
            // Told by the tier.
            Err(_) => return false,
        }
        let is_left = self.is_left();
        if !*is_left {
            self.disk.store(Some(disk));
        }
        true
    }

    fn open_disk(&self, config: &DiskConfig) -> Option<Arc<Disk>> {
        let ground = Ground {
            generations: &self.generations,
            queue: self.queue,
            clock: &self.clock,
            tasks: &self.tasks,
            metrics: &self.metrics,
        };
        Disk::open(config, &ground)
    }

    /// Leaves it to another process. False, and it stays, if it does not do in time what
    /// it has to.
    pub(super) async fn leave(&self) -> bool {
        let disk = {
            let mut is_left = self.is_left();
            *is_left = true;
            self.disk.swap(None)
        };
        let Some(disk) = disk else { return true };
        let is_left = disk.leave().await;
        if !is_left {
            *self.is_left() = false;
            self.disk.store(Some(disk));
        }
        is_left
    }

    fn is_left(&self) -> MutexGuard<'_, bool> {
        self.is_left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tier, if this process has it now.
    pub(super) fn get(&self) -> Option<Arc<Disk>> {
        // Where there can be none, nothing is looked at that others write.
        self.config.as_ref()?;
        self.disk.load_full()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::SystemTime;

    use tempfile::TempDir;

    use super::*;
    use crate::base::ManualClock;
    use crate::policy::SURROGATE_KEY;

    fn tier(path: &Path) -> Arc<DiskTier> {
        let disk = Some(DiskConfig { path: path.to_owned(), size: 1 << 30 });
        let config = CacheConfig { disk, ..CacheConfig::in_memory(1 << 20, 1 << 20) };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
        let generations = Arc::new(Generations::new(SURROGATE_KEY));
        DiskTier::open(&config, &generations, &clock, &Tasks::new(), &Arc::default())
    }

    #[tokio::test]
    async fn one_that_could_not_be_used_is_tried_again_and_begins_anew() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("cache");
        drop(tier(&path));
        let record = path.join("records/000/0");
        fs::create_dir_all(record.parent().unwrap()).unwrap();
        fs::write(&record, "of an earlier process").unwrap();
        let aside = directory.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        fs::write(&path, "not a directory").unwrap();

        let tier = tier(&path);
        assert!(!tier.take_late() && tier.get().is_none());
        assert_eq!(tier.metrics.disk_errors.value(), 2);
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert!(tier.take_late() && tier.get().is_some());
        assert!(!record.exists());
        // Left to another process, it is not taken again.
        assert!(tier.leave().await && tier.take_late());
        assert!(tier.get().is_none());
        tier.take();
        assert!(tier.get().is_some());
        // Nor is it taken twice.
        assert!(tier.take_late());
        assert_eq!(tier.metrics.disk_errors.value(), 2);
    }
}
