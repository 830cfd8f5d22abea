//! The head of an HTTP/1 request as its bytes came: shows what the parser mends
//! without a word, and another recipient might read in another way. Pure.

use crate::exchange::Failure;

/// Bytes of heads that have been read and not been served.
#[derive(Debug, Default)]
pub(super) struct RawHead {
    bytes: Vec<u8>,
}

/// What stays allocated while a connection is idle.
const KEPT: usize = 1024;

impl RawHead {
    /// Adds what was read, up to `most` bytes in all.
    pub(super) fn extend(&mut self, read: &[u8], most: usize) {
        let room = most.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&read[..read.len().min(room)]);
    }

    /// Checks the head of the request that now begins, and lets go of it. What
    /// follows it is the next head, unless this request has content.
    pub(super) fn check(&mut self, is_chunked: bool, has_content: bool) -> Result<(), Failure> {
        let Some(end) = end_of_head(&self.bytes) else {
            self.bytes.clear();
            return Ok(());
        };
        let checked = check(&self.bytes[..end], is_chunked);
        if has_content || end == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
        } else {
            self.bytes.drain(..end);
        }
        checked
    }
}

fn check(head: &[u8], is_chunked: bool) -> Result<(), Failure> {
    let mut lines = head.split(|byte| *byte == b'\n').skip_while(|line| line.trim_ascii().is_empty());
    if lines.next().is_some_and(|line| line.contains(&b'#')) {
        return Err(Failure::BadRequest("a fragment in the target"));
    }
    if is_chunked && lines.any(|line| names(line, b"content-length")) {
        return Err(Failure::BadRequest("both Content-Length and Transfer-Encoding"));
    }
    Ok(())
}

fn names(line: &[u8], name: &[u8]) -> bool {
    let length = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    line[..length].eq_ignore_ascii_case(name)
}

/// Where the head ends: after its empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    // Empty lines before a request line are skipped (RFC 9112 s2.2).
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut line_start = start;
    while let Some(length) = bytes[line_start..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[line_start..line_start + length];
        line_start += length + 1;
        if matches!(line, [] | [b'\r']) {
            return Some(line_start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bytes: &str, is_chunked: bool) -> (Result<(), Failure>, String) {
        let mut head = RawHead::default();
        head.extend(bytes.as_bytes(), 8192);
        let checked = head.check(is_chunked, is_chunked);
        (checked, String::from_utf8(head.bytes).unwrap())
    }

    #[test]
    fn a_length_beside_a_coding_is_found_in_any_spelling() {
        for field in ["Content-Length: 3", "content-LENGTH:3", "Content-Length: 3\r"] {
            let bytes = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{field}\n\n");
            assert!(checked(&bytes, true).0.is_err(), "{field}");
        }
        assert!(checked("POST / HTTP/1.1\r\nX: content-length: 3\r\n\r\n", true).0.is_ok());
    }

    #[test]
    fn a_fragment_is_refused() {
        assert!(checked("\r\nGET /a#b HTTP/1.1\r\n\r\n", false).0.is_err());
        assert!(checked("GET /a HTTP/1.1\r\nX: #\r\n\r\n", false).0.is_ok());
    }

    #[test]
    fn pipelined_heads_are_checked_one_by_one() {
        let (result, rest) = checked("GET /a HTTP/1.1\r\n\r\nGET /b#c HTTP/1.1\r\n\r\n", false);
        assert!(result.is_ok());
        assert_eq!(rest, "GET /b#c HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn content_is_not_taken_for_a_head() {
        let (result, rest) = checked("POST / HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true);
        assert!(result.is_ok() && rest.is_empty());
    }
}
