//! The ground every floor stands on: time, tasks, chance, waiting longer after
//! each failure, numbers and errors as text, memory, sockets, cryptography, and files
//! that are replaced. It knows nothing of HTTP.

mod allocation;
mod backoff;
mod clock;
mod cryptography;
mod file_mark;
mod memory;
pub mod numbers;
mod random;
mod socket;
mod story;
mod tasks;

pub use allocation::allocated;
pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SystemClock};
pub use cryptography::{FULL_FRAGMENT, MAX_FRAGMENT_SIZE, SENT_AT_ONCE, provider};
pub use file_mark::FileMark;
pub use memory::{Memory, MemoryUse};
pub use random::{random_below, random_id, random_unit};
pub use socket::Socket;
pub use story::story;
pub use tasks::Tasks;
