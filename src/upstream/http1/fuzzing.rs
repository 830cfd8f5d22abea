//! Responses as they are read from any bytes, without a connection.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};

use super::chunked::Found;
use super::content::Remaining;
use super::head::{HeadLimits, Heads};

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 8 };

/// What was read of the responses of one connection.
#[derive(Debug, Default, PartialEq)]
struct Read {
    heads: Vec<(StatusCode, HeaderMap)>,
    content: Vec<u8>,
    trailers: Vec<HeaderMap>,
    is_wrong: bool,
}

/// Reads `bytes` as the responses of a connection, and holds what is read to what the
/// caller relies on: it does not depend on how the bytes come.
pub fn responses(bytes: &[u8], part: usize, method: &Method) {
    let whole = read(bytes, bytes.len().max(1), method);
    assert_eq!(read(bytes, part.max(1), method), whole, "in parts of {part} bytes");
}

fn read(bytes: &[u8], part: usize, method: &Method) -> Read {
    let (mut read, mut came, mut remaining) = (Read::default(), BytesMut::new(), None);
    let mut heads = Heads::new(LIMITS);
    for part in bytes.chunks(part) {
        came.extend_from_slice(part);
        if read.take(&mut came, &mut heads, &mut remaining, method).is_none() {
            read.is_wrong = true;
            break;
        }
    }
    read
}

impl Read {
    /// Takes all that can be taken; `None` where something is wrong.
    fn take(
        &mut self,
        came: &mut BytesMut,
        heads: &mut Heads,
        open: &mut Option<Remaining>,
        method: &Method,
    ) -> Option<()> {
        loop {
            if let Some(remaining) = open {
                match remaining.take(came, LIMITS).ok()? {
                    Found::Data(data) => self.content.extend_from_slice(&data),
                    Found::Trailers(trailers) => self.trailers.push(trailers),
                    Found::End => *open = None,
                    Found::Nothing => return Some(()),
                }
            } else {
                let Some(head) = heads.read(came).ok()? else { return Some(()) };
                *open = Some(Remaining::of(&head, method).ok()?);
                self.heads.push((head.status, head.headers));
            }
        }
    }
}
