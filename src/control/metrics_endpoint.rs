//! `admin.metrics`: where Prometheus reads. It serves `GET /metrics` and
//! nothing else, so that nothing but numbers is ever on TCP.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::server::{self, Answer, content, refusal, wrong_method};
use super::{ControlError, Inspect};
use crate::base::Tasks;
use crate::telemetry::prometheus;

/// The listening endpoint.
#[derive(Debug)]
pub struct MetricsEndpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsEndpoint {
    /// Listens on `address`; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> Result<Self, ControlError> {
        TcpListener::bind(address)
            .and_then(Self::over)
            .map_err(|source| ControlError::Metrics { address, source })
    }

    /// Goes on with a socket that listens.
    pub fn over(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// Its socket once more, for a process that takes over.
    pub fn handle(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the tasks are stopped, from a runtime with I/O and time.
    pub async fn serve(self, inspect: Arc<dyn Inspect>, tasks: Tasks) -> Result<(), ControlError> {
        let Self { listener, address } = self;
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|source| ControlError::Metrics { address, source })?;
        server::serve(listener, Arc::new(MetricsPage(inspect)), tasks).await;
        Ok(())
    }
}

struct MetricsPage(Arc<dyn Inspect>);

impl Answer for MetricsPage {
    fn answer(&self, req: Request<Bytes>) -> BoxFuture<'_, Response<Full<Bytes>>> {
        let answer = match (req.uri().path(), req.method()) {
            ("/metrics", &Method::GET) => content(prometheus::CONTENT_TYPE, self.0.metrics_text()),
            ("/metrics", _) => wrong_method(&Method::GET),
            _ => refusal(StatusCode::NOT_FOUND, "only /metrics is here"),
        };
        std::future::ready(answer).boxed()
    }
}
