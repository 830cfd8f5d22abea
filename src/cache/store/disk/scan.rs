//! What is done behind everything else: finding out at the start what is in
//! the directory, and deleting what a purge set aside. Requests do not wait
//! for it: a leaf that one asks for is read then.

use std::sync::{Arc, Weak};

use super::Disk;
use super::name::{LEAVES, Leaf};

/// Reads the directory on a thread of its own, which ends with the tier.
pub(super) fn begin(disk: &Arc<Disk>) {
    let disk = Arc::downgrade(disk);
    start("disk-scan", move || {
        sweep_now(&disk);
        for leaf in 0..LEAVES {
            let Some(disk) = disk.upgrade() else { return };
            let _ = disk.read_leaf(Leaf(leaf));
        }
        if let Some(disk) = disk.upgrade() {
            let usage = disk.usage();
            tracing::info!(objects = usage.objects, bytes = usage.bytes, "the disk cache was read");
        }
    });
}

/// Deletes on a thread of its own what was set aside.
pub(super) fn sweep(disk: &Arc<Disk>) {
    let disk = Arc::downgrade(disk);
    start("disk-sweep", move || sweep_now(&disk));
}

fn sweep_now(disk: &Weak<Disk>) {
    if let Some(disk) = disk.upgrade()
        && let Err(error) = disk.directory.sweep()
    {
        disk.writing.failed(&error);
    }
}

/// Runs `work` on a thread of its own; false if there can be none.
pub(in crate::cache::store) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    if let Err(error) = &started {
        tracing::warn!(%error, "a thread of the disk cache cannot be started");
    }
    started.is_ok()
}
