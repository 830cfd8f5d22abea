//! A pool of origin servers: which one a request goes to, whether it goes to
//! another one after a failure, which servers are fit to be asked, and which ones
//! a name stands for. The decisions are pure functions of what is known and the
//! time; `pool`, `check` and `discovery` feed them. It never speaks to a server
//! itself, which is `upstream`'s.

mod affinity;
mod budget;
mod check;
mod discovery;
mod duty;
mod health;
mod latency;
#[doc(hidden)]
pub mod measuring;
mod member;
mod members;
mod outlier;
mod pick;
mod pool;
mod probation;
mod retry;
mod status;
mod sticky;
mod warmth;

pub use duty::Duty;
pub use pool::{BalanceError, Pool};
pub use status::{PoolStatus, ServerState, ServerStatus};
pub use sticky::{StickyKey, StickyKeyError};
