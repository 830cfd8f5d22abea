//! Which hosts may have a certificate ordered because a client named them: those
//! that a server of the user's allows, and so many in a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::certs::acme::Transport;
use crate::certs::error::CertError;
use crate::config::model::{Frequency, OnDemand, Webhook};

/// The server has so long to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// So many questions are asked at a time,
const ASKED_AT_A_TIME: usize = 16;
/// and so many wait for that, of hosts without a certificate.
const MOST_WAITING: usize = 256;

/// When the orders of late were begun, of all configurations, the last one first.
pub(in crate::certs) type Begun = Mutex<VecDeque<Instant>>;

/// Asks, and counts.
#[derive(Debug)]
pub(super) struct Gate {
    ask: Webhook,
    transport: Arc<Transport>,
    turns: Semaphore,
    door: Semaphore,
    orders: Orders,
}

impl Gate {
    /// As the config says.
    pub(super) fn new(config: &OnDemand, transport: &Arc<Transport>, begun: &Arc<Begun>) -> Self {
        let orders = Orders { most: config.orders, begun: Arc::clone(begun) };
        Self {
            ask: config.ask.clone(),
            transport: Arc::clone(transport),
            turns: Semaphore::new(ASKED_AT_A_TIME),
            door: Semaphore::new(MOST_WAITING),
            orders,
        }
    }

    /// Asks whether `host` may have a certificate. Cancel safe.
    ///
    /// # Errors
    /// [`CertError::NotAllowed`] if it may not; [`CertError::Ask`] if that is not
    /// known, and then it may not either.
    pub(super) async fn ask(&self, host: &str) -> Result<(), CertError> {
        // INVARIANT: the semaphore is never closed.
        let _turn = self.turns.acquire().await.ok();
        match self.transport.asks(&self.ask, host, DEADLINE).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(CertError::NotAllowed { name: host.to_owned() }),
            Err(source) => Err(CertError::Ask { source }),
        }
    }

    /// The same for a host that any client may have made up. Cancel safe.
    ///
    /// # Errors
    /// As [`Gate::ask`], and [`CertError::Crowded`] if too many wait for that.
    pub(super) async fn ask_at_the_door(&self, host: &str) -> Result<(), CertError> {
        let _place = self.door.try_acquire().map_err(|_| CertError::Crowded)?;
        self.ask(host).await
    }

    /// Counts an order for another host.
    ///
    /// # Errors
    /// [`CertError::TooManyHosts`] if there were too many.
    pub(super) fn count_order(&self, now: Instant) -> Result<(), CertError> {
        self.orders.begin(now).map_err(|wait| CertError::TooManyHosts { wait })
    }
}

/// The orders of late, and how many there may be.
#[derive(Debug)]
struct Orders {
    most: Frequency,
    begun: Arc<Begun>,
}

impl Orders {
    /// Counts one, or says how long it has to wait.
    fn begin(&self, now: Instant) -> Result<(), Duration> {
        let most = usize::try_from(self.most.times).unwrap_or(usize::MAX);
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.truncate(most);
        let oldest = begun.get(most - 1).map(|oldest| now.saturating_duration_since(*oldest));
        if let Some(wait) = oldest.and_then(|since| self.most.within.checked_sub(since))
            && !wait.is_zero()
        {
            return Err(wait);
        }
        begun.push_front(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, SystemClock};

    #[test]
    fn so_many_may_begin_in_any_such_time() {
        let most = Frequency { times: 3, within: Duration::from_secs(60) };
        let (orders, start) = (Orders { most, begun: Arc::default() }, SystemClock.now());
        let begin = |second| orders.begin(start + Duration::from_secs(second));
        for second in [0, 10, 20] {
            assert_eq!(begin(second), Ok(()));
        }
        assert_eq!(begin(30), Err(Duration::from_secs(30)));
        assert_eq!(begin(60), Ok(()));
        assert_eq!(begin(61), Err(Duration::from_secs(9)));
        assert_eq!((begin(70), begin(80), begin(81)), (Ok(()), Ok(()), Err(Duration::from_secs(39))));
    }
}
