//! Which addresses are listened on: those of the configuration in force. What is
//! listened on by two configurations in turn, or by two processes, is never closed in
//! between.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::succession::{Inheritance, Listening, Scheme, Written};
use super::workers::Workers;
use crate::config::model::Listen;
use crate::listener::{self, BindError, Bound, Transport};
use crate::tls::Tls;

/// The addresses that are listened on.
pub(super) struct Sockets {
    open: Vec<Open>,
    tls: Arc<ArcSwap<Tls>>,
    draining: CancellationToken,
}

/// An address that is listened on.
struct Open {
    written: Written,
    end: CancellationToken,
    /// Further handles of its sockets, for a process that takes over.
    sockets: Vec<TcpListener>,
}

/// Addresses that are bound, and not listened on yet.
pub(super) struct Unopened(Vec<(Written, Bound)>);

/// The same with sockets for every worker.
pub(super) struct Opened(Vec<Ready>);

struct Ready {
    written: Written,
    sockets: Vec<TcpListener>,
    /// The same once more.
    held: Vec<TcpListener>,
}

impl Sockets {
    /// None yet; all are closed when a drain begins.
    pub(super) fn new(tls: Arc<ArcSwap<Tls>>, draining: CancellationToken) -> Self {
        Self { open: Vec::new(), tls, draining }
    }

    /// Binds every address of `listen` for so many workers, but for those that are
    /// inherited.
    pub(super) fn bind(
        listen: &Listen,
        workers: usize,
        inherited: &mut Inheritance,
    ) -> Result<Unopened, BindError> {
        let open: Vec<Written> = inherited.addresses().collect();
        let bind = |written: Written| {
            let bound = match inherited.remove(written) {
                Some(sockets) => Bound::over(written.1, sockets, workers)?,
                None => bind_beside(&open, written.1, workers)?,
            };
            Ok((written, bound))
        };
        written(listen).map(bind).collect::<Result<_, _>>().map(Unopened)
    }

    /// Binds those addresses of `listen` that are not listened on.
    pub(super) fn bind_new(&self, listen: &Listen, workers: usize) -> Result<Unopened, BindError> {
        let open: Vec<Written> = self.open.iter().map(|open| open.written).collect();
        let new = written(listen).filter(|written| !open.contains(written));
        let bind = |written: Written| Ok((written, bind_beside(&open, written.1, workers)?));
        new.map(bind).collect::<Result<_, _>>().map(Unopened)
    }

    /// Has `workers` take connections on them.
    pub(super) fn listen(&mut self, opened: Opened, workers: &Workers) {
        for Ready { written, sockets, held } in opened.0 {
            let end = self.draining.child_token();
            let transport = match written.0 {
                Scheme::Https => Transport::Tls(Arc::clone(&self.tls)),
                Scheme::Http | Scheme::Metrics => Transport::Cleartext,
            };
            workers.listen(sockets, &transport, &end);
            self.open.push(Open { written, end, sockets: held });
        }
    }

    /// Closes those that `listen` has not.
    pub(super) fn close_all_but(&mut self, listen: &Listen) {
        let wanted: Vec<Written> = written(listen).collect();
        self.open.retain(|open| {
            let stays = wanted.contains(&open.written);
            if !stays {
                open.end.cancel();
            }
            stays
        });
    }

    /// Further handles of all, for a process that takes over.
    pub(super) fn handles(&self) -> io::Result<Vec<Listening>> {
        self.open.iter().map(|open| Ok((open.written, again(&open.sockets)?))).collect()
    }

    /// Keeps none, now that a drain has begun.
    pub(super) fn let_go(&mut self) {
        self.open.clear();
    }
}

impl Unopened {
    /// Where cleartext, and where TLS will come in.
    pub(super) fn addresses(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let of = |wanted| {
            let those = self.0.iter().filter(move |((scheme, _), _)| *scheme == wanted);
            those.map(|(_, bound)| bound.address).collect()
        };
        (of(Scheme::Http), of(Scheme::Https))
    }

    /// Lets connections in, which wait until a worker takes them.
    pub(super) fn listen(self) -> Result<Opened, BindError> {
        let listen = |(written, bound): (Written, Bound)| {
            let address = bound.address;
            let sockets = bound.listen()?;
            let held = again(&sockets).map_err(|source| BindError { address, source })?;
            Ok(Ready { written, sockets, held })
        };
        self.0.into_iter().map(listen).collect::<Result<_, _>>().map(Opened)
    }
}

fn again(sockets: &[TcpListener]) -> io::Result<Vec<TcpListener>> {
    sockets.iter().map(TcpListener::try_clone).collect()
}

fn written(listen: &Listen) -> impl Iterator<Item = Written> {
    let http = listen.http.iter().map(|address| (Scheme::Http, *address));
    http.chain(listen.https.iter().map(|address| (Scheme::Https, *address)))
}

/// Binds `address`, which those that are `open` already are not in the way of, whether
/// they stay or not.
fn bind_beside(open: &[Written], address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    let is_over = open.iter().any(|(_, other)| listener::overlap(*other, address));
    let bind = if is_over { listener::bind_over } else { listener::bind };
    bind(address, workers)
}
