//! One server of a pool with all that is known of it. What changes with every
//! request is an atomic; locks are taken when something changes for the worse
//! or back.

mod succession;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use super::discovery::FoundServer;
use super::duty::{CurrentDuty, Duty};
use super::health::{Health, Outcome, Standing, Transition};
use super::latency::Latency;
use super::outlier::{Outlier, Totals};
use super::pick::{Candidate, Fitness};
use super::probation::{Phase, Probation};
use super::status::{ServerState, ServerStatus};
use super::sticky::Tie;
use super::warmth::{WARM, warmth};
use crate::config::model::{Ejection, OriginProtocol, PoolConfig};
use crate::telemetry::metrics::Counter;
use crate::upstream::OriginServer;

/// How often a server that is down is sent a live request.
const LIVE_PROBE_EVERY: Duration = Duration::from_secs(1);

/// It was there all the time.
const NEVER: u64 = u64::MAX;

/// One server of a pool.
#[derive(Debug)]
pub(super) struct Member {
    /// The place in the config of what it stands for.
    pub(super) entry: usize,
    /// Names it in logs.
    pub(super) label: Arc<str>,
    pub(super) origin: Arc<OriginServer>,
    /// What it is, however the config writes it.
    pub(super) url: String,
    pub(super) protocol: OriginProtocol,
    /// A number for its URL, the same in every process.
    pub(super) identity: u64,
    weight: AtomicU32,
    is_backup: AtomicBool,
    /// Cancelled once it belongs to the pool no more.
    departure: CancellationToken,
    /// What ties clients to it, in a sticky pool.
    pub(super) tie: Option<Tie>,
    latency: Latency,
    health: Mutex<Health>,
    /// The standing in `health`, to be read without the lock.
    standing: AtomicU8,
    outlier: Mutex<Outlier>,
    /// True if `outlier` has failures, which a success has to clear.
    has_failures: AtomicBool,
    pub(super) probation: Probation,
    pub(super) duty: CurrentDuty,
    /// Milliseconds of the pool's time; when it last came back, or `NEVER`.
    returned: AtomicU64,
    slow_start: Duration,
    /// Milliseconds of the pool's time; the next live request to a server that
    /// is down.
    next_live_probe: AtomicU64,
    requests: Counter,
    failures: Counter,
    last_error: Mutex<Option<String>>,
}

impl Member {
    /// A server nothing is known of, at the origin server `origin` of this `url`;
    /// without checks it counts as up. One that is `new` in a pool that has served
    /// without it, at the pool's time, starts slowly.
    pub(super) fn new(
        server: FoundServer,
        origin: Arc<OriginServer>,
        url: String,
        pool: &PoolConfig,
        tie: Option<Tie>,
        new: Option<Duration>,
    ) -> Self {
        let check = pool.health.as_ref();
        let mut health = check.map_or(Health::new(1, 1), |check| Health::new(check.rise, check.fall));
        if check.is_none() {
            health.observe(Outcome::Passed);
        }
        let standing = AtomicU8::new(encode(health.standing()));
        Self {
            entry: server.entry,
            label: server.label,
            protocol: server.protocol,
            origin,
            identity: xxh3_64(url.as_bytes()),
            url,
            weight: AtomicU32::new(server.weight),
            is_backup: AtomicBool::new(server.backup),
            departure: CancellationToken::new(),
            tie,
            latency: Latency::default(),
            health: Mutex::new(health),
            standing,
            outlier: Mutex::default(),
            has_failures: AtomicBool::new(false),
            probation: Probation::default(),
            duty: CurrentDuty::default(),
            returned: AtomicU64::new(new.map_or(NEVER, millis)),
            slow_start: pool.slow_start,
            next_live_probe: AtomicU64::new(0),
            requests: Counter::default(),
            failures: Counter::default(),
            last_error: Mutex::default(),
        }
    }

    /// True if it is this one.
    pub(super) fn is(&self, server: &FoundServer) -> bool {
        self.entry == server.entry && *self.origin.endpoint() == server.endpoint
    }

    /// Takes its share from what was found now.
    pub(super) fn share(&self, server: &FoundServer) {
        self.weight.store(server.weight, Relaxed);
        self.is_backup.store(server.backup, Relaxed);
    }

    /// It belongs to the pool no more: it ends what it has, and its connections are
    /// closed when they have nothing to do.
    pub(super) fn depart(&self) {
        self.departure.cancel();
        self.origin.close_idle();
    }

    /// Cancelled once it belongs to the pool no more.
    pub(super) fn departure(&self) -> &CancellationToken {
        &self.departure
    }

    fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// What a pick wants to know, at the pool's time `now`.
    pub(super) fn candidate(&self, tries: usize, now: Duration) -> Candidate {
        Candidate {
            fitness: self.fitness(now),
            is_backup: self.is_backup.load(Relaxed),
            tries,
            weight: self.weight(),
            warmth: self.warmth(now),
            room: self.origin.room(),
        }
    }

    fn warmth(&self, now: Duration) -> u32 {
        match self.returned.load(Relaxed) {
            NEVER => WARM,
            returned => warmth(now.saturating_sub(Duration::from_millis(returned)), self.slow_start),
        }
    }

    /// How fit it is to be asked.
    pub(super) fn fitness(&self, now: Duration) -> Fitness {
        let standing = self.standing();
        let is_ejected = self.is_ejected(now);
        match self.duty.get() {
            Duty::Disabled => Fitness::Withdrawn,
            _ if standing == Standing::Down => Fitness::Down,
            Duty::Draining if is_ejected => Fitness::Withdrawn,
            Duty::Draining => Fitness::Draining,
            Duty::Enabled if is_ejected => Fitness::Ejected,
            Duty::Enabled if standing == Standing::Unknown => Fitness::Unchecked,
            Duty::Enabled => Fitness::Fit,
        }
    }

    /// True if it is left out, whatever else is known of it.
    pub(super) fn is_ejected(&self, now: Duration) -> bool {
        match self.probation.phase(now) {
            Phase::Free => false,
            Phase::Ejected => true,
            Phase::Probation => self.probation.is_on_trial(),
        }
    }

    /// The time a request would cost here, by the requests under way.
    pub(super) fn load(&self, now: Duration) -> f64 {
        let in_flight = self.origin.in_flight() as f64 / f64::from(self.weight().max(1));
        (in_flight + 1.0) * self.latency.seconds(now)
    }

    /// What the health checks say.
    pub(super) fn standing(&self) -> Standing {
        decode(self.standing.load(Relaxed))
    }

    /// Takes an outcome for its health into account.
    pub(super) fn observe_health(&self, outcome: Outcome, now: Duration) -> Option<Transition> {
        let mut health = lock(&self.health);
        let transition = health.observe(outcome)?;
        if transition.from == Standing::Down {
            self.come_back(now);
        }
        self.standing.store(encode(transition.to), Relaxed);
        Some(transition)
    }

    /// A request was answered after `took`. True if that ends the probation, which
    /// only one that was a trial does: others may have been sent long before.
    pub(super) fn succeeded(&self, took: Duration, is_trial: bool, now: Duration) -> bool {
        self.requests.increment();
        if self.has_failures.load(Relaxed) {
            self.has_failures.store(false, Relaxed);
            lock(&self.outlier).succeeded();
        }
        let is_back = is_trial && self.probation.succeeded(now);
        if is_back {
            self.come_back(now);
        }
        self.latency.observe(took, now);
        is_back
    }

    /// Gives it this duty. One that an operator took out comes back slowly.
    pub(super) fn assign(&self, duty: Duty, now: Duration) {
        if duty == Duty::Enabled && self.duty.get() != Duty::Enabled {
            self.come_back(now);
        }
        self.duty.set(duty);
    }

    /// It begins anew, slowly.
    fn come_back(&self, now: Duration) {
        self.latency.forget();
        self.returned.store(millis(now), Relaxed);
    }

    /// A request failed. True if that was one too many by these rules; on
    /// probation a trial always is, and nothing else.
    pub(super) fn failed(
        &self,
        error: String,
        rules: Option<&Ejection>,
        is_trial: bool,
        now: Duration,
    ) -> bool {
        self.requests.increment();
        self.failures.increment();
        self.note_error(error);
        self.has_failures.store(true, Relaxed);
        let phase = self.probation.phase(now);
        if phase == Phase::Free {
            self.latency.observe_failure(now);
        }
        let Some(rules) = rules else { return false };
        let totals = Totals { requests: self.requests.value(), failures: self.failures.value() };
        match phase {
            Phase::Free => lock(&self.outlier).failed(now, totals, rules),
            Phase::Probation => is_trial,
            Phase::Ejected => false,
        }
    }

    /// Ejects it; says for how long.
    pub(super) fn eject(&self, rules: &Ejection, now: Duration) -> Duration {
        let length = lock(&self.outlier).eject(now, rules);
        self.leave_out(length, now);
        length
    }

    /// That is its penalty; its trial afterwards is not to wait for another one.
    fn leave_out(&self, length: Duration, now: Duration) {
        self.latency.forget();
        self.probation.eject(now + length);
    }

    /// Leaves it out so long, unless it is anyway. True if that is new.
    pub(super) fn pause(&self, length: Duration, now: Duration) -> bool {
        let is_new = self.probation.phase(now) != Phase::Ejected;
        if is_new {
            self.leave_out(length, now);
        }
        is_new
    }

    /// Remembers what went wrong last.
    pub(super) fn note_error(&self, error: String) {
        *lock(&self.last_error) = Some(error);
    }

    /// What went wrong last.
    pub(super) fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    /// True if it is this request's turn to see whether a server that is down
    /// answers again: one a second.
    pub(super) fn take_live_probe(&self, now: Duration) -> bool {
        let turn = self.next_live_probe.load(Relaxed);
        let next = millis(now + LIVE_PROBE_EVERY);
        millis(now) >= turn && self.next_live_probe.compare_exchange(turn, next, Relaxed, Relaxed).is_ok()
    }

    /// All of it for people to look at.
    pub(super) fn status(&self, now: Duration) -> ServerStatus {
        let state = match (self.duty.get(), self.standing(), self.probation.phase(now)) {
            (Duty::Disabled, ..) => ServerState::Disabled,
            (Duty::Draining, ..) => ServerState::Draining,
            (_, Standing::Down, _) => ServerState::Down,
            (_, _, Phase::Ejected) => ServerState::Ejected,
            (_, _, Phase::Probation) => ServerState::Probation,
            (_, Standing::Unknown, Phase::Free) => ServerState::Unknown,
            (_, Standing::Up, Phase::Free) => ServerState::Up,
        };
        ServerStatus {
            label: self.label.to_string(),
            state,
            is_down: self.standing() == Standing::Down,
            weight: self.weight(),
            backup: self.is_backup.load(Relaxed),
            in_flight: self.origin.in_flight(),
            tunnels: self.origin.tunnels(),
            latency_ms: (self.latency.last().as_secs_f64() * 1e6).round() / 1e3,
            requests: self.requests.value(),
            failures: self.failures.value(),
            last_error: self.last_error(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn encode(standing: Standing) -> u8 {
    standing as u8
}

fn decode(encoded: u8) -> Standing {
    [Standing::Up, Standing::Down]
        .into_iter()
        .find(|standing| encode(*standing) == encoded)
        .unwrap_or_default()
}
