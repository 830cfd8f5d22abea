//! The worker threads: each has a runtime of its own and a socket of its own for
//! every address, so that a connection never changes threads.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::front::Front;
use crate::listener::{Bound, ConnectionLimits, Listener, Transport};
use crate::tls::Tls;

/// What the workers listen on.
pub(super) struct Sockets {
    pub(super) http: Vec<Bound>,
    pub(super) https: Vec<Bound>,
    pub(super) tls: Arc<Tls>,
    /// Networks whose connections begin with a PROXY header.
    pub(super) proxies: Arc<[IpNet]>,
}

/// The running workers.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    end: CancellationToken,
}

/// Starts `count` workers.
pub(super) fn start(
    count: usize,
    sockets: Sockets,
    front: &Arc<Front>,
    limits: &Arc<ConnectionLimits>,
) -> Result<Workers, StartError> {
    let mut shares: Vec<Vec<(TcpListener, Transport)>> = (0..count).map(|_| Vec::new()).collect();
    let tls = Transport::Tls(sockets.tls);
    for (bound, transport) in [(sockets.http, Transport::Cleartext), (sockets.https, tls)] {
        for bound in bound {
            for (share, socket) in shares.iter_mut().zip(bound.listen()?) {
                share.push((socket, transport.clone()));
            }
        }
    }
    let mut workers = Workers { threads: Vec::new(), end: CancellationToken::new() };
    for (index, share) in shares.into_iter().enumerate() {
        let worker = Worker {
            share,
            front: Arc::clone(front),
            limits: Arc::clone(limits),
            proxies: Arc::clone(&sockets.proxies),
            end: workers.end.clone(),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
        let thread = std::thread::Builder::new().name(format!("worker-{index}"));
        workers.threads.push(thread.spawn(move || worker.run(&runtime)).map_err(StartError::Worker)?);
    }
    Ok(workers)
}

impl Workers {
    /// Ends every worker, whatever it does.
    pub(super) fn stop(&self) {
        self.end.cancel();
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Worker {
    share: Vec<(TcpListener, Transport)>,
    front: Arc<Front>,
    limits: Arc<ConnectionLimits>,
    proxies: Arc<[IpNet]>,
    end: CancellationToken,
}

impl Worker {
    fn run(self, runtime: &tokio::runtime::Runtime) {
        runtime.block_on(async {
            for (socket, transport) in self.share {
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let (front, limits) = (Arc::clone(&self.front), Arc::clone(&self.limits));
                        let proxies = Arc::clone(&self.proxies);
                        let listener = Listener { socket, transport, front, limits, proxies };
                        self.front.tasks().spawn(listener.run());
                    }
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "a socket cannot be used");
                    }
                }
            }
            self.end.cancelled().await;
        });
    }
}
