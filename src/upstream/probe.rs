//! One health check of one origin server, over a connection of its own.

use std::borrow::Cow;
use std::future::poll_fn;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, StatusCode};
use memchr::memmem;
use tokio::time::timeout;

use super::connect::{ConnectError, connect};
use super::content::Incoming;
use super::endpoint::Endpoint;
use super::failure::fetch_error;
use super::http1::Http1;
use super::opening::{Offer, Opened};
use super::server::OriginServer;
use super::upload::RequestContent;
use crate::config::model::{HealthCheck, OriginProtocol};
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
    /// The answer was no HTTP/2 response.
    #[error("no HTTP/2 response")]
    Http2(#[source] Box<h2::Error>),
    /// The server lets nobody send a request.
    #[error("the server takes no requests on its connection")]
    NoStream,
    /// The status was none of those expected.
    #[error("status {0}")]
    Status(StatusCode),
    /// The content has not the text that is expected.
    #[error("{0:?} is not in the content")]
    Text(String),
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
        let endpoint = self.checked_endpoint(check);
        let asked = self.checked_host(check, &endpoint);
        let offer = self.checked_offer(check);
        let tls = match &self.tls {
            Some(tls) => {
                let host = HeaderValue::try_from(&asked).ok();
                let host = host.and_then(|host| Host::parse(&host, Scheme::Https).ok());
                let name = tls.server_name(host.as_ref(), endpoint.name())?;
                Some((tls.connector(offer), name))
            }
            None => None,
        };
        let header = self.introduction(None);
        let connected = connect(&endpoint, &header, tls, check.timeout).await?;
        let Some(path) = &check.path else {
            if offer == Offer::Both {
                self.learn(&connected);
            }
            return Ok(());
        };
        let message = http::Request::get(path).header(USER_AGENT, "seawall-health-check");
        let content = RequestContent::new(Body::Empty, None);
        match self.speak(connected, None, None, offer).await? {
            Opened::Alone(mut connection) => {
                let message = message.header(HOST, asked).header(CONNECTION, "close");
                let message = message.body(content).map_err(ProbeError::Request)?;
                let answer = connection.http1.ask(message, None).await;
                let (head, receiving) =
                    answer.map_err(|failed| fetch_error(failed.error, connection.traffic.progress()))?;
                let incoming = Incoming::Http1(receiving);
                let judged = judge(head.status, incoming, Some(&mut connection.http1), check).await;
                connection.http1.close();
                judged
            }
            Opened::Multiplexed(connection) => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let message = message.uri(format!("{scheme}://{asked}{path}"));
                let message = message.body(content).map_err(ProbeError::Request)?;
                let mut stream = connection.stream().ok_or(ProbeError::NoStream)?;
                let answer = stream.ask(message, None).await;
                let (head, content, _) =
                    answer.map_err(|failed| ProbeError::Http2(Box::new(failed.error)))?;
                judge(head.status, content, None, check).await
            }
        }
    }

    fn checked_endpoint(&self, check: &HealthCheck) -> Cow<'_, Endpoint> {
        match check.port {
            Some(port) => Cow::Owned(self.endpoint.at_port(port)),
            None => Cow::Borrowed(&self.endpoint),
        }
    }

    /// What listens at another port says nothing of what this server agrees to.
    fn checked_offer(&self, check: &HealthCheck) -> Offer {
        match self.protocol {
            OriginProtocol::Negotiated if check.port.is_some() => Offer::Http1,
            _ => self.offer(),
        }
    }

    /// The `Host` of a check.
    fn checked_host(&self, check: &HealthCheck, endpoint: &Endpoint) -> String {
        if let Some(host) = &check.host {
            return host.clone();
        }
        let Endpoint::Tcp { host, address, .. } = endpoint else { return endpoint.name().to_owned() };
        let (port, default_port) = (address.port(), if self.tls.is_some() { 443 } else { 80 });
        let name = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if port == default_port { name } else { format!("{name}:{port}") }
    }
}

/// Whether an answer with `status` and `content` is what `check` expects.
async fn judge(
    status: StatusCode,
    content: Incoming,
    connection: Option<&mut Http1>,
    check: &HealthCheck,
) -> Result<(), ProbeError> {
    let (least, most) = check.expect;
    if !(least..=most).contains(&status.as_u16()) {
        return Err(ProbeError::Status(status));
    }
    // Read in any case, so that the server sees no broken connection.
    let content = beginning(content, connection).await;
    match &check.expect_text {
        Some(text) if memmem::find(&content, text.as_bytes()).is_none() => {
            Err(ProbeError::Text(text.clone()))
        }
        _ => Ok(()),
    }
}

/// The first bytes of `content`; whether it comes whole does not matter.
async fn beginning(mut content: Incoming, mut connection: Option<&mut Http1>) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < MOST_CONTENT
        && let Some(Ok(frame)) =
            poll_fn(|context| content.poll_frame(connection.as_deref_mut(), context)).await
    {
        read.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
    }
    read.truncate(MOST_CONTENT);
    read
}

#[cfg(test)]
mod tests;
