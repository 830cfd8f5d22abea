//! The answer to several ranges: `multipart/byteranges` (RFC 9110 s14.6). It
//! copies no content, and knows its length before it begins.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::chain::Chain;
use crate::base::random_id;
use crate::exchange::Body;
use crate::fields::range::{ContentRange, Span};

/// The parts of a representation of `complete` bytes as one content, and
/// `fields`, which describe the whole, made to describe that.
pub(super) fn multipart(fields: &mut HeaderMap, parts: Vec<(Span, Body)>, complete: u64) -> Body {
    // Of each response its own, so that no stored content can be made to hold it.
    let boundary = format!("{:032x}", random_id());
    let of_whole = fields.get(CONTENT_TYPE).cloned();
    let mut chain = Chain::default();
    for (Span { first, last }, body) in parts {
        let range = ContentRange::Part { first, last, complete: Some(complete) };
        let head = part_head(&boundary, of_whole.as_ref(), range);
        let length = head.len() as u64;
        chain.push(head, length);
        chain.push(body, last - first + 1);
    }
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let length = end.len() as u64;
    chain.push(end, length);
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        fields.insert(CONTENT_TYPE, content_type);
    }
    fields.insert(CONTENT_LENGTH, HeaderValue::from(chain.length()));
    Body::boxed(chain)
}

fn part_head(boundary: &str, content_type: Option<&HeaderValue>, range: ContentRange) -> Bytes {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(content_type) = content_type {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(content_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("Content-Range: {range}\r\n\r\n").as_bytes());
    head.into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A multipart content taken apart: what its parts say of themselves, and
    /// their bytes.
    pub(in crate::cache) fn taken_apart(content_type: &str, content: &[u8]) -> Vec<(ContentRange, Vec<u8>)> {
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let delimiter = format!("\r\n--{boundary}");
        let find = |text: &[u8], wanted: &[u8]| text.windows(wanted.len()).position(|at| at == wanted);
        let (mut rest, mut parts) = (content, Vec::new());
        loop {
            rest = rest.strip_prefix(delimiter.as_bytes()).unwrap();
            if rest == b"--\r\n" {
                return parts;
            }
            let head_end = find(rest, b"\r\n\r\n").unwrap();
            let (head, after) = (std::str::from_utf8(&rest[..head_end]).unwrap(), &rest[head_end + 4..]);
            let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
            let end = find(after, delimiter.as_bytes()).unwrap();
            parts.push((ContentRange::parse(range.as_bytes()).unwrap(), after[..end].to_vec()));
            rest = &after[end..];
        }
    }

    #[tokio::test]
    async fn parts_say_what_they_are() {
        use http_body_util::BodyExt;

        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let parts = [(Span { first: 0, last: 1 }, "ab"), (Span { first: 7, last: 9 }, "hij")];
        let parts = parts.map(|(span, text)| (span, Body::Full(Bytes::from_static(text.as_bytes()))));
        let body = multipart(&mut fields, parts.into(), 10);
        let content = body.collect().await.unwrap().to_bytes();
        assert_eq!(fields[CONTENT_LENGTH], content.len().to_string());
        let content_type = fields[CONTENT_TYPE].to_str().unwrap();
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let expected = format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\nab\
             \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\nhij\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(content, expected);
        assert_eq!(taken_apart(content_type, &content).len(), 2);
    }
}
