//! One health check of one origin server, over a connection of its own.

use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::connect::{Address, ConnectError, Connected, connect};
use super::opening::Opened;
use super::server::OriginServer;
use super::upload::RequestContent;
use crate::config::model::HealthCheck;
use crate::exchange::{Body, FetchError, Host, Scheme};

/// How much of the answer to a check is read at most.
const MOST_CONTENT: usize = 64 << 10;

/// Why a health check failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The check could not be made.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The path or host of the check is none.
    #[error("the check is no HTTP request")]
    Request(#[source] http::Error),
    /// The answer was no HTTP response.
    #[error("no HTTP response")]
    Http(#[from] hyper::Error),
    /// The server lets nobody send a request.
    #[error("the server takes no requests on its connection")]
    NoStream,
    /// The status was none of those expected.
    #[error("status {0}")]
    Status(StatusCode),
}

impl OriginServer {
    /// Checks the server once, within `check.timeout`. Cancel safe.
    pub async fn probe(&self, check: &HealthCheck) -> Result<(), ProbeError> {
        match timeout(check.timeout, self.probe_untimed(check)).await {
            Ok(result) => result,
            Err(_) => Err(ProbeError::TimedOut(check.timeout)),
        }
    }

    async fn probe_untimed(&self, check: &HealthCheck) -> Result<(), ProbeError> {
        let asked = self.checked_host(check);
        let tls = match &self.tls {
            Some(tls) => {
                let host = HeaderValue::try_from(&asked).ok();
                let host = host.and_then(|host| Host::parse(&host, Scheme::Https).ok());
                let name = tls.server_name(host.as_ref(), self.address.name())?;
                Some((tls.connector(self.offer()), name))
            }
            None => None,
        };
        let header = self.introduction(None);
        let connected = connect(&self.address, &header, tls, check.timeout).await?;
        let Some(path) = &check.path else {
            self.learn(&connected);
            return Ok(());
        };
        let (head, content) = self.ask(connected, path, asked).await?.into_parts();
        let (least, most) = check.expect;
        if !(least..=most).contains(&head.status.as_u16()) {
            return Err(ProbeError::Status(head.status));
        }
        // Read so that the server sees no broken connection; what it is, and
        // whether it comes whole, does not matter.
        let _ = Limited::new(content, MOST_CONTENT).collect().await;
        Ok(())
    }

    async fn ask(
        &self,
        connected: Connected,
        path: &str,
        host: String,
    ) -> Result<http::Response<Incoming>, ProbeError> {
        let message = http::Request::get(path).header(USER_AGENT, "seawall-health-check");
        let content = RequestContent::new(Body::Empty, None);
        match self.speak(connected, None, None, self.offer()).await? {
            Opened::Alone(mut connection) => {
                let message = message.header(HOST, host).header(CONNECTION, "close");
                let message = message.body(content).map_err(ProbeError::Request)?;
                Ok(connection.sender.send_request(message).await?)
            }
            Opened::Multiplexed(connection) => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let message = message.uri(format!("{scheme}://{host}{path}"));
                let message = message.body(content).map_err(ProbeError::Request)?;
                let stream = connection.stream().ok_or(ProbeError::NoStream)?;
                Ok(stream.sender.clone().send_request(message).await?)
            }
        }
    }

    /// The `Host` of a check.
    fn checked_host(&self, check: &HealthCheck) -> String {
        if let Some(host) = &check.host {
            return host.clone();
        }
        let Address::Tcp(host, port) = &self.address else { return self.address.name().to_owned() };
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let name = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == default_port { name } else { format!("{name}:{port}") }
    }
}
