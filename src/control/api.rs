//! The paths of the admin socket. Every one of them is under `/v1`.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::server::{Answer, content, refusal, wrong_method};
use super::{Inspect, Lifecycle, ReloadRefused, duty, look, purge};
use crate::balance::Duty;
use crate::telemetry::prometheus;

/// Answers on the admin socket.
pub(super) struct AdminApi {
    inspect: Arc<dyn Inspect>,
    lifecycle: Arc<dyn Lifecycle>,
}

impl AdminApi {
    pub(super) fn new(inspect: Arc<dyn Inspect>, lifecycle: Arc<dyn Lifecycle>) -> Self {
        Self { inspect, lifecycle }
    }

    async fn resource(&self, resource: Resource, content_of_req: &[u8]) -> Response<Full<Bytes>> {
        match resource {
            Resource::Status => as_json(&self.inspect.status()),
            Resource::Config => content("application/toml", self.inspect.config_text()),
            Resource::Metrics => content(prometheus::CONTENT_TYPE, self.inspect.metrics_text()),
            Resource::Origins => as_json(&self.inspect.origins()),
            Resource::Assign(duty) => duty::answer(&*self.lifecycle, duty, content_of_req),
            Resource::Certificates => as_json(&self.inspect.certificates()),
            Resource::Renew => self.renew(content_of_req),
            Resource::Plan => {
                self.inspect.plan().map_or_else(|why| not_taken(&why), |changes| as_json(&changes))
            }
            Resource::Reload => {
                let reloaded = self.lifecycle.reload().await;
                reloaded.map_or_else(|why| not_taken(&why), |reloaded| as_json(&reloaded))
            }
            Resource::Upgrade => match self.lifecycle.upgrade().await {
                Ok(upgraded) => as_json(&upgraded),
                Err(why) => refusal(StatusCode::CONFLICT, &why.0),
            },
            Resource::Drain => self.drain(),
            Resource::Purge => purge::answer(&self.inspect.router(), content_of_req).await,
            Resource::Explain => look::explain(&self.inspect.router(), content_of_req).await,
            Resource::CacheList => look::list(&self.inspect.router(), content_of_req).await,
            Resource::CacheShow => look::show(&self.inspect.router(), content_of_req).await,
            Resource::CacheStat => as_json(&self.inspect.router().cache().stat()),
        }
    }

    fn renew(&self, content_of_req: &[u8]) -> Response<Full<Bytes>> {
        let Ok(Renew { name }) = serde_json::from_slice(content_of_req) else {
            return refusal(StatusCode::BAD_REQUEST, "the content is to be {\"name\": \"example.com\"}");
        };
        match self.lifecycle.renew_certificates(&name.to_ascii_lowercase()) {
            0 => refusal(StatusCode::NOT_FOUND, "no certificate that is renewed here has this name"),
            renewed => {
                let mut res = as_json(&json!({ "renewing": renewed }));
                *res.status_mut() = StatusCode::ACCEPTED;
                res
            }
        }
    }

    fn drain(&self) -> Response<Full<Bytes>> {
        tracing::info!("a graceful stop was asked for on the admin socket");
        self.lifecycle.drain();
        let mut res = as_json(&json!({ "draining": true }));
        *res.status_mut() = StatusCode::ACCEPTED;
        res
    }
}

impl Answer for AdminApi {
    fn answer(&self, req: Request<Bytes>) -> BoxFuture<'_, Response<Full<Bytes>>> {
        async move {
            match Resource::at(req.uri().path()) {
                None => refusal(StatusCode::NOT_FOUND, "nothing is at this path"),
                Some(resource) if *req.method() != resource.method() => wrong_method(&resource.method()),
                Some(resource) => self.resource(resource, req.body()).await,
            }
        }
        .boxed()
    }
}

#[derive(Clone, Copy)]
enum Resource {
    Status,
    Config,
    Metrics,
    Origins,
    Assign(Duty),
    Certificates,
    Renew,
    Plan,
    Reload,
    Upgrade,
    Drain,
    Purge,
    Explain,
    CacheList,
    CacheShow,
    CacheStat,
}

/// The content of a request to renew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    name: String,
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/v1/")? {
            "status" => Self::Status,
            "config" => Self::Config,
            "metrics" => Self::Metrics,
            "origins" => Self::Origins,
            "origins/drain" => Self::Assign(Duty::Draining),
            "origins/disable" => Self::Assign(Duty::Disabled),
            "origins/enable" => Self::Assign(Duty::Enabled),
            "certificates" => Self::Certificates,
            "certificates/renew" => Self::Renew,
            "plan" => Self::Plan,
            "reload" => Self::Reload,
            "upgrade" => Self::Upgrade,
            "drain" => Self::Drain,
            "purge" => Self::Purge,
            "explain" => Self::Explain,
            "cache/list" => Self::CacheList,
            "cache/show" => Self::CacheShow,
            "cache/stat" => Self::CacheStat,
            _ => return None,
        })
    }

    fn method(self) -> Method {
        match self {
            Self::Assign(_)
            | Self::Renew
            | Self::Reload
            | Self::Upgrade
            | Self::Drain
            | Self::Purge
            | Self::Explain
            | Self::CacheList
            | Self::CacheShow => Method::POST,
            Self::Status
            | Self::Config
            | Self::Metrics
            | Self::Origins
            | Self::Certificates
            | Self::Plan
            | Self::CacheStat => Method::GET,
        }
    }
}

/// The configuration in the file is none that could be in force (RFC 9110 s15.5.21).
fn not_taken(why: &ReloadRefused) -> Response<Full<Bytes>> {
    refusal(StatusCode::UNPROCESSABLE_ENTITY, &why.0)
}

/// An answer as JSON.
pub(super) fn as_json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(text) => content("application/json", text),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "an answer has no JSON form");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the answer has no JSON form")
        }
    }
}
