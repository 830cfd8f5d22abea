//! One access record in the combined log format of Apache httpd.

use std::io::Write as _;

use super::{Dates, Redaction, field_bytes};
use crate::base::numbers;
use crate::exchange::ExchangeRecord;

/// Appends `record` to `line`. What is not printable ASCII, a quote or a
/// backslash is escaped as Apache httpd does; what is not there is `-`.
pub fn format_combined(
    record: &ExchangeRecord,
    line: &mut Vec<u8>,
    redaction: &Redaction,
    dates: &mut Dates,
) {
    numbers::address(record.client, line);
    line.extend_from_slice(b" - - [");
    dates.clf(record.started, line);
    line.extend_from_slice(b"] \"");
    escape(record.method.as_str().as_bytes(), line);
    line.push(b' ');
    let target = record.path_and_query.as_ref().map_or("-", |target| target.as_str());
    redaction.pieces(target.as_bytes(), |piece| escape(piece, line));
    line.push(b' ');
    line.extend_from_slice(record.protocol.as_str().as_bytes());
    line.extend_from_slice(b"\" ");
    line.extend_from_slice(record.status.as_str().as_bytes());
    line.push(b' ');
    numbers::decimal(record.bytes_out, line);
    line.extend_from_slice(b" \"");
    let referer = field_bytes(record.referer.as_ref()).unwrap_or(b"-");
    redaction.pieces(referer, |piece| escape(piece, line));
    line.extend_from_slice(b"\" \"");
    escape(field_bytes(record.user_agent.as_ref()).unwrap_or(b"-"), line);
    line.extend_from_slice(b"\"\n");
}

fn escape(text: &[u8], line: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            b' '..=b'~' => line.push(*byte),
            _ => {
                // Writing to a Vec cannot fail.
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures;

    fn formatted(record: &ExchangeRecord) -> String {
        let redaction = Redaction::new(&["token".into()]);
        let mut line = Vec::new();
        format_combined(record, &mut line, &redaction, &mut Dates::default());
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_whole_record() {
        let expected = "192.0.2.7 - - [22/Nov/2026:10:11:12 +0000] \"GET /a?b=1&token=REDACTED HTTP/2.0\" \
                        200 1234 \"https://example.org/?token=REDACTED\" \"curl/8\"\n";
        assert_eq!(formatted(&fixtures::record()), expected);
    }

    #[test]
    fn nothing_there_and_hostile_bytes() {
        let mut record = fixtures::bare_record();
        record.user_agent = Some(http::HeaderValue::from_bytes(b"\"\\\t\x80").unwrap());
        let line = formatted(&record);
        assert!(line.ends_with("\"OPTIONS - HTTP/1.1\" 502 0 \"-\" \"\\\"\\\\\\x09\\x80\"\n"), "{line}");
    }
}
