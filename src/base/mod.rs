//! The ground every floor stands on: time, tasks, chance, waiting longer after
//! each failure, and numbers as text. It knows nothing of HTTP.

mod backoff;
mod clock;
pub mod numbers;
mod random;
mod tasks;

pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SystemClock};
pub use random::{random_below, random_id, random_unit};
pub use tasks::Tasks;
