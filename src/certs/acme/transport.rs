//! HTTPS to an ACME server: what instant-acme asks goes out with a deadline,
//! what comes back is bounded, and `Retry-After` is remembered. What servers of
//! the user's are told goes out here, too.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::base::{Clock, provider};
use crate::certs::error::CertError;
use crate::certs::renewal::MOST_ASKED_FOR;
use crate::certs::roots;
use crate::config::model::{Secret, Webhook};

/// For a request and the whole of its response.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(30);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// The content of a response has at most so many bytes.
const LARGEST_RESPONSE: usize = 1 << 20;

/// The content of what a webhook answers is read so far, and for so long.
const LARGEST_ANSWER: usize = 1 << 16;

const END_DEADLINE: Duration = Duration::from_secs(1);

/// So many connections for questions are kept, each for so long.
const MOST_IDLE: usize = 16;
const IDLE_AT_MOST: Duration = Duration::from_secs(30);

/// Answers to who asks, or how often, and not to what.
const NOT_OF_THE_HOST: [StatusCode; 4] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
];

const PRODUCT: &str = concat!("seawall/", env!("CARGO_PKG_VERSION"));

/// Opens connections to ACME servers, and to servers of the user's.
#[derive(Debug)]
pub(in crate::certs) struct Transport {
    tls: ClientConfig,
    /// Questions come in crowds, so that their connections are used again.
    asking: WebhookClient,
    clock: Arc<dyn Clock>,
}

type WebhookClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How long the server asked to be left alone when it last refused something.
#[derive(Clone, Debug, Default)]
pub(super) struct RetryAfter(Arc<Mutex<Option<Duration>>>);

/// What a server calls itself in CAA records (RFC 8555 s7.1.1), as its
/// directory said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Identities(Arc<Mutex<Vec<String>>>);

/// What is read of a directory.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    #[serde(rename = "newOrder")]
    _new_order: IgnoredAny,
    #[serde(default)]
    meta: DirectoryMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DirectoryMeta {
    #[serde(default)]
    caa_identities: Vec<String>,
}

impl Transport {
    /// Trusts the roots of the system (the built-in ones where it has none) and
    /// those in `further_roots`.
    pub(in crate::certs) fn new(
        further_roots: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CertError> {
        let mut roots = roots::of_system();
        if let Some(file) = further_roots {
            roots.roots.extend(roots::trust_roots(file)?.roots);
        }
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(CertError::Transport)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let asking = webhook_client(&tls);
        Ok(Self { tls, asking, clock })
    }

    /// Sends JSON to a webhook, or to what is at `path` under it, and waits for the
    /// answer no longer than `deadline`. Anything but success is an error.
    pub(in crate::certs) async fn post(
        &self,
        Webhook { url, token }: &Webhook,
        path: &str,
        content: String,
        deadline: Duration,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let req = Request::post(format!("{url}{path}")).header(CONTENT_TYPE, "application/json");
        // A request that is not to be lost has a connection of its own.
        let client = webhook_client(&self.tls);
        let status = status(&client, req, token.as_ref(), content, deadline).await?;
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}").into()) }
    }

    /// Asks a webhook by GET about a host: true for a success, false where it
    /// refuses; an error of its own is none of these, nor is one that says nothing of
    /// the host.
    pub(in crate::certs) async fn asks(
        &self,
        Webhook { url, token }: &Webhook,
        host: &str,
        deadline: Duration,
    ) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        let joint = if url.contains('?') { '&' } else { '?' };
        let req = Request::get(format!("{url}{joint}domain={host}"));
        let status = status(&self.asking, req, token.as_ref(), String::new(), deadline).await?;
        if status.is_server_error() || NOT_OF_THE_HOST.contains(&status) {
            return Err(format!("it answered {status}").into());
        }
        Ok(status.is_success())
    }

    /// A client that notes in `retry_after` how long it was asked to wait, and what
    /// the directory calls the server.
    pub(super) fn client(&self, retry_after: &RetryAfter, identities: &Identities) -> Box<dyn HttpClient> {
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_only()
            .enable_http1()
            .wrap_connector(tcp());
        Box::new(AcmeClient {
            http: Client::builder(TokioExecutor::new()).build(https),
            retry_after: retry_after.clone(),
            identities: identities.clone(),
            clock: Arc::clone(&self.clock),
        })
    }
}

/// For webhooks, each of which has a client only as long as it is asked, or all
/// the time.
fn webhook_client(tls: &ClientConfig) -> WebhookClient {
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
    let connector = tls.https_or_http().enable_http1().wrap_connector(tcp());
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_AT_MOST).pool_max_idle_per_host(MOST_IDLE);
    client.build(connector)
}

/// What a webhook answers.
async fn status(
    client: &WebhookClient,
    mut req: http::request::Builder,
    token: Option<&Secret>,
    content: String,
    deadline: Duration,
) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    if let Some(token) = token {
        let mut credentials = HeaderValue::from_bytes(&[b"Bearer ", token.bytes()].concat())?;
        credentials.set_sensitive(true);
        req = req.header(AUTHORIZATION, credentials);
    }
    let req = req.header(USER_AGENT, PRODUCT).body(Full::from(content))?;
    let (head, body) = tokio::time::timeout(deadline, client.request(req)).await??.into_parts();
    // Only after its end the connection can be used again.
    let end = Limited::new(body, LARGEST_ANSWER).collect();
    let _nobody_reads_it = tokio::time::timeout(END_DEADLINE, end).await;
    Ok(head.status)
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_DEADLINE));
    tcp
}

impl RetryAfter {
    /// What was asked for last.
    pub(super) fn asked(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, asked: Option<Duration>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}

impl Identities {
    /// What is known; nothing before the directory was read.
    pub(super) fn known(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, content: &[u8]) {
        if let Ok(Directory { meta, .. }) = serde_json::from_slice(content) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = meta.caa_identities;
        }
    }
}

struct AcmeClient {
    http: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    retry_after: RetryAfter,
    identities: Identities,
    clock: Arc<dyn Clock>,
}

type Exchange = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for AcmeClient {
    fn request(&self, mut req: Request<BodyWrapper<Bytes>>) -> Exchange {
        name_product(req.headers_mut());
        let identities = (req.method() == Method::GET).then(|| self.identities.clone());
        let exchange = self.http.request(req);
        let (retry_after, clock) = (self.retry_after.clone(), Arc::clone(&self.clock));
        Box::pin(async move {
            retry_after.note(None);
            let whole = async { read_whole(exchange.await.map_err(other)?).await };
            let mut res = tokio::time::timeout(EXCHANGE_DEADLINE, whole).await.map_err(other)??;
            bound_retry_after(res.headers_mut(), clock.wall());
            // A `Retry-After` on a success is about polling, and instant-acme's.
            if !res.status().is_success() {
                retry_after.note(wait_asked_for(res.headers(), clock.wall()));
            }
            // Of what is got by GET, only a directory looks like one.
            if let Some(identities) = identities.filter(|_| res.status().is_success()) {
                identities.note(res.body());
            }
            let (parts, content) = res.into_parts();
            Ok(BytesResponse { parts, body: Box::new(content) })
        })
    }
}

async fn read_whole(res: Response<Incoming>) -> Result<Response<Bytes>, Error> {
    let (parts, body) = res.into_parts();
    let content = Limited::new(body, LARGEST_RESPONSE).collect().await.map_err(Error::Other)?;
    Ok(Response::from_parts(parts, content.to_bytes()))
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

/// Puts our name before the library's (RFC 8555 s6.1).
fn name_product(fields: &mut HeaderMap) {
    let library = fields.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(product) = HeaderValue::from_str(format!("{PRODUCT} {library}").trim_end()) {
        fields.insert(USER_AGENT, product);
    }
}

/// Reads what is read here of an answer whose content or field is `bytes`.
#[cfg(fuzzing)]
pub(in crate::certs) fn fuzzing(bytes: &[u8]) {
    Identities::default().note(bytes);
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let fields = [(RETRY_AFTER, value)].into_iter().collect();
        let _ = wait_asked_for(&fields, SystemTime::UNIX_EPOCH);
    }
}

/// instant-acme adds what it reads to the time of day, and panics where no time is so
/// late.
fn bound_retry_after(fields: &mut HeaderMap, now: SystemTime) {
    if wait_asked_for(fields, now).is_some_and(|wait| wait > MOST_ASKED_FOR) {
        fields.insert(RETRY_AFTER, MOST_ASKED_FOR.as_secs().into());
    }
}

/// `Retry-After` in both of its forms (RFC 9110 s10.2.3).
fn wait_asked_for(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(value).ok()?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 22 Nov 2026 10:01:00 GMT", Some(60)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", None),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let fields = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(wait_asked_for(&fields, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn no_retry_after_is_later_than_a_week() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        for (value, bounded) in [
            ("604800", "604800"),
            ("604801", "604800"),
            ("18446744073709551615", "604800"),
            ("Fri, 31 Dec 9999 23:59:59 GMT", "604800"),
            ("Sun, 22 Nov 2026 10:01:00 GMT", "Sun, 22 Nov 2026 10:01:00 GMT"),
        ] {
            let mut fields = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            bound_retry_after(&mut fields, now);
            assert_eq!(fields[RETRY_AFTER], bounded, "{value:?}");
        }
    }
}
