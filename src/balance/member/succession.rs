//! What a server of a new pool takes over from the same server of the pool before, so
//! that a reload forgets nothing that is known of it. Both go by the same time.

use super::{AtomicBool, Member, Mutex, Relaxed, lock};
use crate::balance::health::Health;

impl Member {
    /// The same, knowing what `before` does; without `ejections` it is not left out for
    /// what it failed there.
    pub(in crate::balance) fn succeeding(self, before: &Self, ejections: bool) -> Self {
        let health = Health::succeeding(&lock(&self.health), &lock(&before.health));
        self.standing.store(health.standing() as u8, Relaxed);
        self.latency.take_over(&before.latency);
        self.duty.set(before.duty.get());
        self.returned.store(before.returned.load(Relaxed), Relaxed);
        self.next_live_probe.store(before.next_live_probe.load(Relaxed), Relaxed);
        self.requests.add(before.requests.value());
        self.failures.add(before.failures.value());
        let (outlier, has_failures) = if ejections {
            self.probation.take_over(&before.probation);
            (lock(&before.outlier).clone(), before.has_failures.load(Relaxed))
        } else {
            Default::default()
        };
        Self {
            health: Mutex::new(health),
            outlier: Mutex::new(outlier),
            has_failures: AtomicBool::new(has_failures),
            last_error: Mutex::new(before.last_error()),
            ..self
        }
    }
}
