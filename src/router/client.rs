//! Sites that ask their clients for certificates: whose requests they take, and
//! what origin servers are told of who sent them. What a certificate is worth was
//! decided in the handshake.

use std::sync::Arc;

use crate::config::model::Site;
use crate::exchange::{Failure, Request};
use crate::fields::client_cert::{CLIENT_CERT, CLIENT_CERT_FIELDS, CLIENT_CERT_SUBJECT};

/// Sees to it that `req` came over a connection on which the client was held to
/// what this `site` asks for, and not another one or nobody (RFC 9110
/// s15.5.20); says in its fields who that is (RFC 9440), in place of what the
/// client wrote there. From here on they are credentials, to the cache, too.
pub(super) fn identify(req: &mut Request, site: &Site) -> Result<(), Failure> {
    if site.client_auth.is_none() {
        return Ok(());
    }
    let connection = Arc::clone(&req.connection);
    let client = connection.tls.as_ref().and_then(|session| session.client.as_ref());
    let client = client.filter(|client| client.site == site.name).ok_or(Failure::Misdirected)?;
    let fields = Arc::make_mut(&mut req.fields);
    for name in CLIENT_CERT_FIELDS {
        fields.remove(name);
    }
    if let Some(certificate) = &client.certificate {
        fields.insert(CLIENT_CERT, certificate.encoded.clone());
        fields.insert(CLIENT_CERT_SUBJECT, certificate.subject.clone());
    }
    Ok(())
}
