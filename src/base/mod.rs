//! The ground every floor stands on: time, tasks, chance and waiting longer
//! after each failure. It knows nothing of HTTP.

mod backoff;
mod clock;
mod random;
mod tasks;

pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SystemClock};
pub use random::{random_below, random_id, random_unit};
pub use tasks::Tasks;
