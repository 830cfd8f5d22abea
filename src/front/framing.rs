//! Reads along with the HTTP/1 parser: where each request ends and the next
//! begins (RFC 9112 s6, s7.1), byte by byte and without mercy. So it sees what
//! the parser mends or lets through without a word, and another recipient
//! might read in another way. It keeps no more than a line. Pure.

use crate::exchange::Failure;

/// The longest line before a chunk, extensions included.
const LONGEST_CHUNK_LINE: usize = 256;
/// The longest line of a trailer section.
const LONGEST_TRAILER: usize = 8 << 10;
/// A larger chunk is larger than any limit of content.
const LARGEST_CHUNK: u64 = 1 << 50;

/// The requests of one connection, as their bytes come.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    /// The part of a line that has come.
    line: Vec<u8>,
    longest_head_line: usize,
    /// Of the head that is coming.
    length: Option<u64>,
    is_chunked: bool,
    /// Requests whose heads have come and that are not served yet.
    waiting: usize,
    /// What is wrong with the last of them.
    fault: Option<Failure>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    RequestLine,
    Field,
    /// So many bytes, then the next request.
    Content(u64),
    ChunkLine,
    /// So many bytes of a chunk, then its end.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    /// What follows a fault.
    Lost,
    /// What follows a change of protocols.
    Tunnel,
}

impl Framing {
    /// At the beginning of a connection. The lines of heads have at most
    /// `longest_head_line` bytes.
    pub(super) fn new(longest_head_line: usize) -> Self {
        Self {
            at: At::RequestLine,
            line: Vec::new(),
            longest_head_line,
            length: None,
            is_chunked: false,
            waiting: 0,
            fault: None,
        }
    }

    /// Follows `bytes`. Fails if they break the content of a request that is
    /// being served; what is wrong with later ones is kept until their turn.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.at {
                At::Content(left) => self.at = skip(&mut bytes, left, At::Content, At::RequestLine),
                At::Chunk(left) => self.at = skip(&mut bytes, left, At::Chunk, At::ChunkEnd),
                At::Lost | At::Tunnel => return Ok(()),
                _ => {
                    if let Err(fault) = self.read_line(&mut bytes) {
                        return self.refuse(fault);
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins to serve the next request, unless something is wrong with as much
    /// of it as has come.
    pub(super) fn serve(&mut self) -> Result<(), Failure> {
        const UNSEEN: Failure = Failure::BadRequest("a head that can be read in two ways");
        self.waiting = self.waiting.checked_sub(1).ok_or(UNSEEN)?;
        if self.waiting > 0 {
            return Ok(());
        }
        self.fault.take().map_or(Ok(()), Err)
    }

    /// What follows is no HTTP.
    pub(super) fn change_protocol(&mut self) {
        self.at = At::Tunnel;
        self.line = Vec::new();
    }

    /// True if the client may be in the middle of sending a request.
    pub(super) fn is_amid_request(&self) -> bool {
        match self.at {
            At::RequestLine => !self.line.is_empty() || self.waiting > 0,
            At::Tunnel => false,
            _ => true,
        }
    }

    /// True if the content of the request that is being served is still coming.
    pub(super) fn is_amid_content(&self) -> bool {
        let is_content =
            matches!(self.at, At::Content(_) | At::ChunkLine | At::Chunk(_) | At::ChunkEnd | At::Trailer);
        is_content && self.waiting == 0
    }

    fn refuse(&mut self, fault: Failure) -> Result<(), Failure> {
        let in_head = matches!(self.at, At::RequestLine | At::Field);
        self.at = At::Lost;
        self.line = Vec::new();
        self.waiting += usize::from(in_head);
        if self.waiting == 0 {
            return Err(fault);
        }
        self.fault = Some(fault);
        Ok(())
    }

    /// Takes a line from `bytes`, or what there is of it.
    fn read_line(&mut self, bytes: &mut &[u8]) -> Result<(), Failure> {
        let end = memchr::memchr(b'\n', bytes);
        let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        *bytes = rest;
        self.check_line_length(part.len())?;
        if end.is_none() {
            self.line.extend_from_slice(part);
            return Ok(());
        }
        let mut line = std::mem::take(&mut self.line);
        let whole = if line.is_empty() {
            part
        } else {
            line.extend_from_slice(part);
            &line
        };
        self.at = self.after(&whole[..whole.len() - 1])?;
        Ok(())
    }

    fn check_line_length(&self, more: usize) -> Result<(), Failure> {
        let (longest, fault) = match self.at {
            At::RequestLine => (self.longest_head_line, Failure::TargetTooLong),
            At::Field => (self.longest_head_line, Failure::FieldsTooLarge),
            At::Trailer => (LONGEST_TRAILER, Failure::FieldsTooLarge),
            At::ChunkEnd => (2, Failure::BadRequest("a chunk longer than its size")),
            _ => (LONGEST_CHUNK_LINE, Failure::BadRequest("a chunk without a size")),
        };
        if self.line.len() + more > longest { Err(fault) } else { Ok(()) }
    }

    /// What follows `line`, which comes without its LF.
    fn after(&mut self, line: &[u8]) -> Result<At, Failure> {
        match self.at {
            At::RequestLine => after_request_line(line),
            At::Field if matches!(line, b"" | b"\r") => self.after_head(),
            At::Field => self.after_field(line),
            At::ChunkLine => after_chunk_line(line),
            At::ChunkEnd if line == b"\r" => Ok(At::ChunkLine),
            At::ChunkEnd => Err(Failure::BadRequest("a chunk longer than its size")),
            At::Trailer if line == b"\r" => Ok(At::RequestLine),
            At::Trailer => after_trailer(line),
            At::Content(_) | At::Chunk(_) | At::Lost | At::Tunnel => Ok(self.at),
        }
    }

    fn after_field(&mut self, line: &[u8]) -> Result<At, Failure> {
        if let Some(value) = value_of(line, b"content-length") {
            let length = number(value.trim_ascii(), 10);
            let length = length.ok_or(Failure::BadRequest("Content-Length is not a number"))?;
            if self.length.replace(length).is_some() {
                return Err(Failure::BadRequest("more than one Content-Length"));
            }
        }
        self.is_chunked |= value_of(line, b"transfer-encoding").is_some();
        Ok(At::Field)
    }

    fn after_head(&mut self) -> Result<At, Failure> {
        let framing = (std::mem::take(&mut self.is_chunked), self.length.take());
        let next = match framing {
            (true, Some(_)) => {
                return Err(Failure::BadRequest("both Content-Length and Transfer-Encoding"));
            }
            (true, None) => At::ChunkLine,
            (false, None | Some(0)) => At::RequestLine,
            (false, Some(length)) => At::Content(length),
        };
        self.waiting += 1;
        Ok(next)
    }
}

/// Takes up to `left` bytes.
fn skip(bytes: &mut &[u8], left: u64, unfinished: fn(u64) -> At, finished: At) -> At {
    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *bytes = &bytes[taken..];
    match left - taken as u64 {
        0 => finished,
        left => unfinished(left),
    }
}

fn after_request_line(line: &[u8]) -> Result<At, Failure> {
    if matches!(line, b"" | b"\r") {
        // Empty lines before a request line are skipped (RFC 9112 s2.2).
        return Ok(At::RequestLine);
    }
    if line.contains(&b'#') {
        return Err(Failure::BadRequest("a fragment in the target"));
    }
    Ok(At::Field)
}

fn after_chunk_line(line: &[u8]) -> Result<At, Failure> {
    const BAD: Failure = Failure::BadRequest("a chunk without a size");
    let line = line.strip_suffix(b"\r").filter(|line| !line.iter().any(is_control)).ok_or(BAD)?;
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    match number(size.trim_ascii_end(), 16).filter(|size| *size <= LARGEST_CHUNK) {
        None => Err(BAD),
        Some(0) => Ok(At::Trailer),
        Some(size) => Ok(At::Chunk(size)),
    }
}

fn after_trailer(line: &[u8]) -> Result<At, Failure> {
    const BAD: Failure = Failure::BadRequest("a trailer that is no field");
    let line = line.strip_suffix(b"\r").filter(|line| !line.iter().any(is_control)).ok_or(BAD)?;
    let name = line.split(|byte| *byte == b':').next().filter(|name| name.len() < line.len());
    let is_name = name.is_some_and(|name| http::HeaderName::from_bytes(name).is_ok());
    if is_name { Ok(At::Trailer) } else { Err(BAD) }
}

fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control() && *byte != b'\t'
}

/// The value of the field in `line`, if it has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (written, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    written.eq_ignore_ascii_case(name).then_some(value)
}

/// At least one and at most 18 digits, nothing else.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let are_digits = digits.iter().all(|digit| char::from(*digit).is_digit(radix));
    let text = std::str::from_utf8(digits).ok().filter(|_| are_digits && digits.len() <= 18)?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn framing() -> Framing {
        Framing::new(8192)
    }

    /// What becomes of a chunked request with this content, all of it come.
    fn chunked(content: &str) -> Result<(), Failure> {
        let mut framing = framing();
        framing.read(format!("{CHUNKED}{content}").as_bytes()).unwrap();
        framing.serve()
    }

    #[test]
    fn a_length_beside_a_coding_is_found_in_any_spelling() {
        for field in ["Content-Length: 3", "content-LENGTH:3", "Content-Length: 3\r"] {
            let mut framing = framing();
            let head = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{field}\n\n");
            framing.read(head.as_bytes()).unwrap();
            assert!(framing.serve().is_err(), "{field}");
        }
    }

    #[test]
    fn a_fragment_is_refused() {
        let mut framing = framing();
        framing.read(b"\r\nGET /a HTTP/1.1\r\nX: #\r\n\r\nGET /a#b HTTP/1.1\r\n\r\n").unwrap();
        assert!(framing.serve().is_ok());
        assert!(framing.serve().is_err());
    }

    #[test]
    fn each_request_ends_where_it_says() {
        let requests = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\nContent-Length: 12\n\nGET /#\r\n\r\n\r\n",
            &format!("{CHUNKED}5;a=b\r\nhello\r\n00a  \r\n0123456789\r\n0\r\nA: b\r\n\r\n"),
        ];
        let all = requests.concat();
        // However the bytes come.
        for size in 1..all.len() {
            let mut framing = framing();
            for bytes in all.as_bytes().chunks(size) {
                framing.read(bytes).unwrap();
            }
            for _ in requests {
                assert!(framing.is_amid_request());
                framing.serve().unwrap();
            }
            assert!(!framing.is_amid_request());
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        assert!(chunked("5\r\nhello\r\n0\r\n\r\n").is_ok());
        for content in [
            "\r\n",
            "5\nhello\r\n",
            "5\r\nhello\n",
            "5\r\nhelloo\r\n",
            "5\r\nhelloXXX",
            "+5\r\n",
            "0x5\r\n",
            " 5\r\n",
            "ffffffffffffffff\r\n",
            "7fffffffffffffff\r\n",
            "0000000000000000005\r\n",
            "5;a\0\r\n",
            "5;a\rb\r\n",
            "0\r\n\n",
            "0\r\nno colon\r\n",
            "0\r\na b: c\r\n",
            "0\r\n: c\r\n",
            "0\r\nA: b\r\n c\r\n",
            "0\r\nA: b\n",
            "0\r\nA: b\0\r\n",
            "0\r\nA: b\rc\r\n",
        ] {
            assert!(chunked(content).is_err(), "{content:?}");
        }
    }

    #[test]
    fn lines_have_an_end() {
        assert!(chunked(&format!("5;{}", "a".repeat(300))).is_err());
        assert!(chunked(&format!("0\r\nA: {}", "a".repeat(9000))).is_err());
        for (start, fault) in
            [("GET /", Failure::TargetTooLong), ("GET / HTTP/1.1\r\nA: ", Failure::FieldsTooLarge)]
        {
            let mut framing = framing();
            framing.read(start.as_bytes()).unwrap();
            framing.read(&[b'a'; 9000]).unwrap();
            assert_eq!(framing.serve().unwrap_err().to_string(), fault.to_string());
        }
    }

    #[test]
    fn content_that_breaks_while_it_is_served_is_an_error_at_once() {
        let mut framing = framing();
        framing.read(format!("{CHUNKED}5\r\nhel").as_bytes()).unwrap();
        framing.serve().unwrap();
        assert!(framing.read(b"lo5\r\nhello").is_err());
    }

    #[test]
    fn what_was_never_seen_whole_is_not_served() {
        let mut framing = framing();
        framing.read(b"GET / HTTP/1.1\r\n").unwrap();
        assert!(framing.serve().is_err());
    }

    #[test]
    fn a_tunnel_is_not_read() {
        let mut framing = framing();
        framing.read(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").unwrap();
        framing.serve().unwrap();
        framing.change_protocol();
        framing.read(&[b'#'; 100_000]).unwrap();
        assert!(framing.line.is_empty());
    }
}
