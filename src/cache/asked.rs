//! What a client asked for, shared between the client's own future and the
//! fill that may outlive it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method};
use tokio::time::Instant;

use crate::exchange::{Body, ConnectionInfo, Interim, Origin, Protocol, Request, RequestId, Target};
use crate::policy::{Asks, CacheKey, CacheRules, KeyParts, RequestHead, write_key};

/// A request without content, with the rules it is answered by and the origin
/// that is asked where the cache has no answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) fields: Arc<HeaderMap>,
    asks: Asks,
    pub(super) rules: Arc<CacheRules>,
    pub(super) origin: Arc<dyn Origin>,
    client: IpAddr,
    trusted: bool,
    id: RequestId,
    protocol: Protocol,
    connection: Arc<ConnectionInfo>,
    session: Option<u64>,
    interim: Option<Interim>,
    pub(super) received: Instant,
    received_wall: SystemTime,
}

impl Asked {
    /// Takes a request whose content is empty.
    pub(super) fn new(mut req: Box<Request>, rules: &Arc<CacheRules>, origin: &Arc<dyn Origin>) -> Arc<Self> {
        origin.cleanse(&mut req.fields, req.trusted);
        Arc::new(Self {
            method: req.method,
            target: req.target,
            asks: Asks::of(&req.fields),
            fields: req.fields,
            rules: Arc::clone(rules),
            origin: Arc::clone(origin),
            client: req.client,
            trusted: req.trusted,
            id: req.id,
            protocol: req.protocol,
            connection: req.connection,
            session: req.session,
            interim: req.interim,
            received: req.received,
            received_wall: req.received_wall,
        })
    }

    /// What policy reads of it.
    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead::asking(&self.method, self.target.path(), &self.fields, self.asks)
    }

    /// The same as a request that can be sent.
    pub(super) fn request(&self) -> Box<Request> {
        Box::new(Request {
            method: self.method.clone(),
            target: self.target.clone(),
            fields: Arc::clone(&self.fields),
            body: Body::Empty,
            upgrade: None,
            client: self.client,
            trusted: self.trusted,
            id: self.id,
            protocol: self.protocol,
            connection: Arc::clone(&self.connection),
            session: self.session,
            interim: self.interim.clone(),
            received: self.received,
            received_wall: self.received_wall,
        })
    }
}

/// What policy reads of a request that is still whole.
pub(super) fn head(req: &Request) -> RequestHead<'_> {
    RequestHead::new(&req.method, req.target.path(), &req.fields)
}

/// What the key of a target is made of.
pub(super) fn key_parts(target: &Target) -> KeyParts<'_> {
    KeyParts {
        scheme: target.scheme.as_str(),
        host: target.host.as_str(),
        path: target.path(),
        query: target.query(),
    }
}

/// The key of another path and query under the same scheme and host.
pub(super) fn key_beside(target: &Target, path_and_query: &str) -> CacheKey {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut key = Vec::with_capacity(64);
    write_key(KeyParts { path, query, ..key_parts(target) }, &mut key);
    CacheKey::new(&key)
}
