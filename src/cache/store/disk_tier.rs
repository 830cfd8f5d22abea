//! The disk tier for as long as this process has it: where there is none, and while
//! another process has it, there is only memory.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::SLICE;
use super::disk::{Disk, Ground};
use super::generations::Generations;
use crate::base::{Clock, Tasks};
use crate::config::model::{CacheConfig, DiskConfig};
use crate::telemetry::Metrics;

/// What waits to be written to the disk may hold this part of the memory tier's
/// size besides it.
const QUEUE_PART: u64 = 4;

/// So many slices can wait at least.
const SLICES_QUEUED: u64 = 4;

/// The disk tier, if there is one, and what it works with.
#[derive(Debug)]
pub(super) struct DiskTier {
    disk: ArcSwapOption<Disk>,
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
    ) -> Self {
        let tier = Self {
            disk: ArcSwapOption::empty(),
            config: config.disk.clone(),
            queue: (config.memory / QUEUE_PART).max(SLICES_QUEUED * SLICE),
            generations: Arc::clone(generations),
            clock: Arc::clone(clock),
            tasks: tasks.clone(),
            metrics: Arc::clone(metrics),
        };
        tier.take();
        tier
    }

    /// Takes it, if no other process has it. Blocks on the disk.
    pub(super) fn take(&self) {
        let Some(config) = &self.config else { return };
        let ground = Ground {
            generations: &self.generations,
            queue: self.queue,
            clock: &self.clock,
            tasks: &self.tasks,
            metrics: &self.metrics,
        };
        self.disk.store(Disk::open(config, &ground));
    }

    /// Leaves it to another process. False, and it stays, if it does not do in time what
    /// it has to.
    pub(super) async fn leave(&self) -> bool {
        let Some(disk) = self.disk.swap(None) else { return true };
        let is_left = disk.leave().await;
        if !is_left {
            self.disk.store(Some(disk));
        }
        is_left
    }

    /// The tier, if this process has it now.
    pub(super) fn get(&self) -> Option<Arc<Disk>> {
        // Where there can be none, nothing is looked at that others write.
        self.config.as_ref()?;
        self.disk.load_full()
    }
}
