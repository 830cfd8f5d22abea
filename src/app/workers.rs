//! The worker threads: each has a runtime of its own and a socket of its own for
//! every address, so that a connection never changes threads.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::front::Front;
use crate::listener::{ConnectionLimits, Listener, Transport};

/// The running workers.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// What each is to listen on next.
    shares: Vec<UnboundedSender<Share>>,
    end: CancellationToken,
}

/// A socket for one worker.
struct Share {
    socket: TcpListener,
    transport: Transport,
    /// Cancelled when no more connections are taken there.
    end: CancellationToken,
}

impl Workers {
    /// Starts `count` workers, which listen on nothing yet.
    pub(super) fn start(
        count: usize,
        front: &Arc<Front>,
        limits: &Arc<ConnectionLimits>,
    ) -> Result<Self, StartError> {
        let mut workers = Self { threads: Vec::new(), shares: Vec::new(), end: CancellationToken::new() };
        for index in 0..count {
            let (sender, shares) = unbounded_channel();
            let worker = Worker {
                shares,
                front: Arc::clone(front),
                limits: Arc::clone(limits),
                end: workers.end.clone(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(StartError::Worker)?;
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            workers.threads.push(thread.spawn(move || worker.run(&runtime)).map_err(StartError::Worker)?);
            workers.shares.push(sender);
        }
        Ok(workers)
    }

    /// Has each worker take connections from one of `sockets`, or more, until `end`.
    pub(super) fn listen(&self, sockets: Vec<TcpListener>, transport: &Transport, end: &CancellationToken) {
        for (worker, socket) in self.shares.iter().cycle().zip(sockets) {
            // A worker that has ended takes no connections.
            let _ = worker.send(Share { socket, transport: transport.clone(), end: end.clone() });
        }
    }

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
    shares: UnboundedReceiver<Share>,
    front: Arc<Front>,
    limits: Arc<ConnectionLimits>,
    end: CancellationToken,
}

impl Worker {
    fn run(mut self, runtime: &tokio::runtime::Runtime) {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    () = self.end.cancelled() => return,
                    Some(share) = self.shares.recv() => self.listen(share),
                }
            }
        });
    }

    fn listen(&self, share: Share) {
        match tokio::net::TcpListener::from_std(share.socket) {
            Ok(socket) => {
                let (front, limits) = (Arc::clone(&self.front), Arc::clone(&self.limits));
                let listener = Listener { socket, transport: share.transport, front, limits, end: share.end };
                self.front.tasks().spawn(listener.run());
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a socket cannot be used");
            }
        }
    }
}
