//! Clients that ask without a pause, over HTTP/1.1 and HTTP/2, on connections that
//! are kept and on new ones. Any answer but 200 fails the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use http::header::CONNECTION;
use tokio::task::JoinHandle;

use super::client::{Alpn, Client};
use super::{eventually, within};

/// How long the edge is to keep connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As long as their client does.
    Always,
    /// Until it says that it does not, between two answers.
    UntilTold,
}

/// The clients.
pub(crate) struct Load {
    answered: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Has twelve clients ask for `/` of `site.test`.
    pub(crate) fn begin(https: SocketAddr, ca: &Path, kept: Kept) -> Self {
        let (answered, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let client = |(alpn, keeps): (Alpn, bool)| {
            let (answered, enough) = (Arc::clone(&answered), Arc::clone(&enough));
            let asking = Asking { https, ca: ca.to_owned(), alpn, kept };
            tokio::spawn(async move {
                let mut client = asking.connect().await;
                while !enough.load(SeqCst) {
                    if !keeps {
                        client = asking.connect().await;
                    }
                    client = asking.ask(client).await;
                    answered.fetch_add(1, SeqCst);
                }
            })
        };
        let kinds = [(Alpn::H1, true), (Alpn::H1, false), (Alpn::H2, true), (Alpn::H2, false)];
        let clients = kinds.into_iter().cycle().take(12).map(client).collect();
        Self { answered, enough, clients }
    }

    /// Waits for so many more answers.
    pub(crate) async fn goes_on(&self, more: usize) {
        let before = self.answered.load(SeqCst);
        let reached = || (self.answered.load(SeqCst) >= before + more).then_some(());
        eventually("answers under load", reached).await;
    }

    /// All that was asked was answered.
    pub(crate) async fn ends_well(self) {
        self.enough.store(true, SeqCst);
        for client in self.clients {
            within("a client", client).await.unwrap();
        }
    }
}

/// How one client asks.
struct Asking {
    https: SocketAddr,
    ca: PathBuf,
    alpn: Alpn,
    kept: Kept,
}

impl Asking {
    async fn connect(&self) -> Client {
        Client::connect(self.https, &self.ca, "site.test", self.alpn).await
    }

    /// Asks once; what to ask on next.
    async fn ask(&self, mut client: Client) -> Client {
        let answer = match client.get_of("site.test", "/").await {
            // A GOAWAY can cross the request, which was not taken then (RFC 9113 s6.8).
            Err(_) if self.kept == Kept::UntilTold && self.alpn == Alpn::H2 => {
                client = self.connect().await;
                client.get_of("site.test", "/").await.unwrap()
            }
            answer => answer.unwrap(),
        };
        assert_eq!(answer.status(), 200);
        if answer.headers().get(CONNECTION).is_some_and(|option| option == "close") {
            assert_eq!(self.kept, Kept::UntilTold);
            return self.connect().await;
        }
        client
    }
}
