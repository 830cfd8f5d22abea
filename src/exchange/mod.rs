//! The vocabulary of an exchange: a request in normal form, the response to
//! it, what can go wrong between them, and the record that is kept of both.
//! It decides nothing and does no I/O of its own.

mod body;
mod error;
mod handler;
mod interim;
mod limited;
mod record;
mod request;
mod response;
mod stream_content;
mod tunnel;
mod without_trailers;

pub use body::{Body, BodyError};
pub use error::{Failure, FetchError, RequestProgress};
pub use handler::{Answer, Handler, Handling, Origin};
pub use interim::{Interim, InterimClient};
pub use record::{ExchangeEnd, ExchangeRecord, Protocol, SiteNumber};
pub use request::{
    ClientCertificate, ConnectionInfo, Host, InvalidHost, Request, RequestId, Scheme, Target, TlsClient,
    TlsSession,
};
pub use response::{Facts, Response};
pub use stream_content::StreamContent;
pub use tunnel::{OpenEnd, Tunnel};
