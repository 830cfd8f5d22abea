//! Heads of messages in HTTP/1.1: that of a request as bytes (RFC 9112 s3), and bytes as
//! that of a response (s4). Pure.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, request};
use httparse::{Header, ParserConfig, Status};

use super::Http1Error;
use crate::fields::list::tokens;
use crate::fields::section;

/// Fields for which there is space without asking for memory.
const USUAL_FIELDS: usize = 100;

/// A field takes about so many bytes.
const USUAL_FIELD: usize = 48;

/// What first comes of a head is read, and what comes behind that as long as it is no more
/// than so many bytes: what is no HTTP at all is told from a server that takes its time.
const EARLY: usize = 4 << 10;

/// So many fields a response gets on its way.
const ADDED: usize = 1;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

/// The bytes of the head of a request.
pub(super) fn write(head: &request::Parts) -> Vec<u8> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut bytes = Vec::with_capacity(target.len() + USUAL_FIELD * (head.headers.len() + 1));
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    section::write(&head.headers, &mut bytes);
    bytes
}

/// Reads the heads of responses, one after the other.
#[derive(Debug)]
pub(super) struct Heads {
    pub(super) limits: HeadLimits,
    /// In so many bytes the one that is coming does not end.
    searched: usize,
}

impl Heads {
    /// Before the first one.
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { limits, searched: 0 }
    }

    /// Takes the next one from the beginning of what `came`; `None` if more of it has to
    /// come. Fails as soon as that cannot help any more.
    pub(super) fn read(&mut self, came: &mut BytesMut) -> Result<Option<Parts>, Http1Error> {
        let limits = self.limits;
        // The end is no longer than this, and may have come in part.
        let from = self.searched.saturating_sub(3);
        let is_first = self.searched == 0;
        let Some(length) = length_of_head(came.get(from..).unwrap_or_default()) else {
            self.searched = came.len();
            return match came.len() {
                0 => Ok(None),
                length if length > limits.bytes => Err(Http1Error::TooLarge),
                length if is_first || length <= EARLY => {
                    with_fields(came, limits, |_, _| Ok(())).map(|_| None)
                }
                _ => Ok(None),
            };
        };
        let length = from + length;
        self.searched = 0;
        if length > limits.bytes {
            return Err(Http1Error::TooLarge);
        }
        let bytes = came.split_to(length).freeze();
        let head = with_fields(&bytes, limits, |status, fields| parts(status, fields, &bytes))?;
        head.ok_or(Http1Error::Malformed("an empty line in the place of a head")).map(Some)
    }
}

/// Bytes up to the first empty line.
pub(super) fn length_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|end| match bytes.get(end + 1..)? {
        [b'\n', ..] => Some(end + 2),
        [b'\r', b'\n', ..] => Some(end + 3),
        _ => None,
    })
}

/// What `make` makes of the status line and the fields in `bytes`; `None` where these are
/// only the beginning of a head.
fn with_fields<T>(
    bytes: &[u8],
    limits: HeadLimits,
    make: impl FnOnce((u8, u16), &[Header<'_>]) -> Result<T, Http1Error>,
) -> Result<Option<T>, Http1Error> {
    let mut usual = [const { MaybeUninit::<Header<'_>>::uninit() }; USUAL_FIELDS];
    let mut more = Vec::new();
    let space = match usual.get_mut(..limits.fields) {
        Some(space) => space,
        None => {
            more.resize_with(limits.fields, MaybeUninit::uninit);
            &mut more[..]
        }
    };
    let mut head = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut head, bytes, space) {
        Ok(Status::Complete(length)) if length < bytes.len() => {
            Err(Http1Error::Malformed("a head that ends in two places"))
        }
        Ok(Status::Complete(_)) => {
            let (Some(version), Some(code)) = (head.version, head.code) else { return Ok(None) };
            make((version, code), head.headers).map(Some)
        }
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The head whose fields were found in `bytes`, of which their values are parts.
fn parts((version, code): (u8, u16), fields: &[Header<'_>], bytes: &Bytes) -> Result<Parts, Http1Error> {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::from_u16(code).map_err(|_| Http1Error::Malformed("no status code"))?;
    head.version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    head.headers = field_map(fields, bytes)?;
    Ok(head)
}

/// The fields that were found in `bytes`.
pub(super) fn field_map(fields: &[Header<'_>], bytes: &Bytes) -> Result<HeaderMap, Http1Error> {
    const BAD: Http1Error = Http1Error::Malformed("a field that is none");
    let mut map = HeaderMap::with_capacity(fields.len() + ADDED);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BAD)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).map_err(|_| BAD)?;
        map.append(name, value);
    }
    Ok(map)
}

/// True if the connection takes no further request (RFC 9112 s9.3).
pub(super) fn closes(fields: &HeaderMap) -> bool {
    let mut options = fields.get_all(CONNECTION).iter().flat_map(tokens);
    options.any(|option| option.eq_ignore_ascii_case(b"close"))
}
