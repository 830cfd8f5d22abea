//! Connections that are all memory, for tests whose clock does not wait for
//! sockets: what is connected to at a path of a Unix socket is asked for here first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use tokio::io::DuplexStream;

type Dial = Box<dyn Fn() -> BoxFuture<'static, io::Result<DuplexStream>>>;

thread_local! {
    static LISTENERS: RefCell<HashMap<PathBuf, Dial>> = RefCell::default();
}

/// From now on `dial` opens the connections of this thread to `path`.
pub(crate) fn listen(path: &Path, dial: impl Fn() -> BoxFuture<'static, io::Result<DuplexStream>> + 'static) {
    LISTENERS.with_borrow_mut(|listeners| listeners.insert(path.to_owned(), Box::new(dial)));
}

/// A connection to whoever listens at `path` in memory; `None` if nobody does.
pub(super) fn connect(path: &Path) -> Option<BoxFuture<'static, io::Result<DuplexStream>>> {
    LISTENERS.with_borrow(|listeners| listeners.get(path).map(|dial| dial()))
}
