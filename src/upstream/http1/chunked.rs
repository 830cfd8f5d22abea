//! The chunked transfer coding of a response, taken off (RFC 9112 s7.1). Pure.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use httparse::{EMPTY_HEADER, Status};

use super::Http1Error;
use super::content::take_data;
use super::head::{HeadLimits, field_map, length_of_head};

/// Bytes that the lines before the chunks of a response may have on top of their sizes.
const MOST_EXTENSIONS: usize = 16 << 10;

/// The longest size of a chunk, with the end of its line.
const LONGEST_SIZE: usize = 18;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    End,
}

/// Content in chunks.
#[derive(Debug)]
pub(super) struct Chunked {
    at: At,
    extensions: usize,
}

/// What was found next.
#[derive(Debug)]
pub(super) enum Found {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The end of the content.
    End,
    /// More has to come.
    Nothing,
}

impl Chunked {
    /// At its beginning.
    pub(super) fn new() -> Self {
        Self { at: At::Size, extensions: 0 }
    }

    /// True if nothing is left.
    pub(super) fn is_ended(&self) -> bool {
        self.at == At::End
    }

    /// Takes what is next from the beginning of what `came`.
    pub(super) fn take(&mut self, came: &mut BytesMut, limits: HeadLimits) -> Result<Found, Http1Error> {
        while self.pass_frame(came)? {}
        match self.at {
            At::Chunk(left) if !came.is_empty() => {
                let length = usize::try_from(left).map_or(came.len(), |left| left.min(came.len()));
                let data = take_data(came, length);
                self.at = match left - length as u64 {
                    0 => At::ChunkEnd,
                    left => At::Chunk(left),
                };
                // So that the end is seen with the last data. What is wrong is found again.
                while matches!(self.pass_frame(came), Ok(true)) {}
                Ok(Found::Data(data))
            }
            At::Trailers => self.trailers(came, limits),
            At::End => Ok(Found::End),
            At::Size | At::Chunk(_) | At::ChunkEnd => Ok(Found::Nothing),
        }
    }

    /// Passes a part of what frames the chunks, if all of that came.
    fn pass_frame(&mut self, came: &mut BytesMut) -> Result<bool, Http1Error> {
        let (length, next) = match self.at {
            At::Size => match size(came)? {
                None if came.len() > LONGEST_SIZE + MOST_EXTENSIONS => return Err(TOO_LONG),
                None => return Ok(false),
                Some((length, size)) => {
                    self.extensions += length.saturating_sub(LONGEST_SIZE);
                    if self.extensions > MOST_EXTENSIONS {
                        return Err(TOO_LONG);
                    }
                    (length, if size == 0 { At::Trailers } else { At::Chunk(size) })
                }
            },
            At::ChunkEnd => match came[..] {
                [b'\r', b'\n', ..] => (2, At::Size),
                [] | [b'\r'] => return Ok(false),
                _ => return Err(Http1Error::Malformed("a chunk longer than its size")),
            },
            At::Trailers if came.starts_with(b"\r\n") => (2, At::End),
            At::Trailers | At::Chunk(_) | At::End => return Ok(false),
        };
        came.advance(length);
        self.at = next;
        Ok(true)
    }

    /// Takes the trailer section, which is not empty, once it came.
    fn trailers(&mut self, came: &mut BytesMut, limits: HeadLimits) -> Result<Found, Http1Error> {
        let length = length_of_head(came);
        if length.unwrap_or(came.len()) > limits.bytes {
            return Err(Http1Error::TooLarge);
        }
        let Some(length) = length else { return Ok(Found::Nothing) };
        let bytes = came.split_to(length).freeze();
        let mut fields = vec![EMPTY_HEADER; limits.fields];
        let trailers = match httparse::parse_headers(&bytes, &mut fields)? {
            Status::Complete((parsed, fields)) if parsed == length => field_map(fields, &bytes)?,
            _ => return Err(Http1Error::Malformed("trailers that are no fields")),
        };
        self.at = At::End;
        Ok(Found::Trailers(trailers))
    }
}

const TOO_LONG: Http1Error = Http1Error::Malformed("chunk extensions that are too long");

/// The length of the line at the beginning of `bytes`, and the size of the chunk behind it;
/// `None` if more of it has to come.
fn size(bytes: &[u8]) -> Result<Option<(usize, u64)>, Http1Error> {
    const NO_SIZE: Http1Error = Http1Error::Malformed("a chunk without a size");
    if bytes.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return Err(NO_SIZE);
    }
    let end = memchr::memchr(b'\n', bytes);
    match httparse::parse_chunk_size(bytes).map_err(|_| NO_SIZE)? {
        // What one recipient takes for the end of the line is the end for all.
        Status::Complete((length, size)) if end == Some(length - 1) => Ok(Some((length, size))),
        Status::Partial if end.is_none() => Ok(None),
        _ => Err(NO_SIZE),
    }
}
