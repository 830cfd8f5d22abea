//! A section of fields as a whole: the header or the trailer section of a message.

use http::HeaderMap;

/// The bytes that HTTP/2 counts for these fields (RFC 9113 s6.5.2).
pub fn size(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// Adds the lines that HTTP/1.1 has for them, and the empty one behind (RFC 9112 s2.1).
pub fn write(fields: &HeaderMap, into: &mut Vec<u8>) {
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            into.extend_from_slice(part);
        }
    }
    into.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn each_line_counts_for_more_than_its_text() {
        let mut fields = HeaderMap::new();
        assert_eq!(size(&fields), 0);
        for value in ["1", "22"] {
            fields.append(header::ETAG, HeaderValue::from_static(value));
        }
        assert_eq!(size(&fields), (4 + 1 + 32) + (4 + 2 + 32));
    }
}
