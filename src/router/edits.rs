//! What a route changes on a request on its way to the origin servers. It stands
//! below the cache, so that a stored response costs none of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName};

use crate::config::model::{FieldEdits, Route, Site};
use crate::exchange::{FetchError, Origin, Request, Response};
use crate::fields::client_cert::CLIENT_CERT_FIELDS;
use crate::fields::{forwarding, hop_by_hop};
use crate::telemetry::Metrics;

/// An origin that is asked with edited requests.
#[derive(Debug)]
pub(super) struct Edited {
    origin: Arc<dyn Origin>,
    /// What clients may not write, but is passed on here.
    kept: Vec<HeaderName>,
    route: Arc<Route>,
    metrics: Arc<Metrics>,
}

impl Edited {
    pub(super) fn new(
        origin: Arc<dyn Origin>,
        site: &Arc<Site>,
        route: &Arc<Route>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let (route, metrics) = (Arc::clone(route), Arc::clone(metrics));
        Self { origin, kept: kept(site), route, metrics }
    }
}

impl Origin for Edited {
    fn cleanse(&self, fields: &mut Arc<HeaderMap>, is_trusted_proxy: bool) {
        // Most requests carry none, and are copied for none.
        if forwarding::untrusted(fields, &self.kept, is_trusted_proxy).next().is_some() {
            let dropped = forwarding::drop_untrusted(Arc::make_mut(fields), &self.kept, is_trusted_proxy);
            self.metrics.fields_dropped.add(dropped as u64);
        }
        if hop_by_hop::takes_any(fields) {
            hop_by_hop::remove(Arc::make_mut(fields));
        }
    }

    fn fetch(
        self: Arc<Self>,
        mut req: Box<Request>,
    ) -> BoxFuture<'static, Result<Box<Response>, FetchError>> {
        self.cleanse(&mut req.fields, req.trusted);
        if !self.route.request_fields.is_empty() {
            let fields = Arc::make_mut(&mut req.fields);
            // Before any edit, so that no client's Connection takes away a field
            // that the route sets. Without edits it is done once, on sending.
            hop_by_hop::remove(fields);
            apply(&self.route.request_fields, fields);
            // Nor does what a route takes away or sets come back behind the content.
            req.body = std::mem::take(&mut req.body).without_trailers();
        }
        Arc::clone(&self.origin).fetch(req)
    }
}

/// The trust fields that a site passes on all the same: those it lists, and those
/// that the edge writes itself where it knows its clients.
pub(super) fn kept(site: &Site) -> Vec<HeaderName> {
    let own = site.client_auth.iter().flat_map(|_| CLIENT_CERT_FIELDS);
    site.forward_fields.iter().cloned().chain(own).collect()
}

/// Applies `edits` to `fields`: removals first.
pub(super) fn apply(edits: &FieldEdits, fields: &mut HeaderMap) {
    for name in &edits.remove {
        fields.remove(name);
    }
    for (name, value) in &edits.set {
        fields.insert(name, value.clone());
    }
}
