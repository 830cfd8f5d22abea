//! One access record as one JSON object on one line. It allocates nothing but
//! the room in the buffer, and whatever a client sent, no control byte and no
//! character that could rearrange a terminal gets through.

use super::{Dates, Redaction, field_bytes};
use crate::base::numbers;
use crate::exchange::ExchangeRecord;
use crate::telemetry::metrics::cache_result;

/// The key of a member that is not the first one.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

/// Appends `record` to `line`, with the name of its `site`. Keys without a value are left
/// out.
pub fn format_json(
    (record, site): (&ExchangeRecord, &str),
    line: &mut Vec<u8>,
    redaction: &Redaction,
    dates: &mut Dates,
) {
    line.extend_from_slice(b"{\"time\":\"");
    dates.rfc3339(record.started, line);
    line.push(b'"');
    let mut object = Object { line };
    object.quoted(key!("id"), |line| record.id.write(line));
    object.quoted(key!("client"), |line| numbers::address(record.client, line));
    object.word(key!("protocol"), record.protocol.as_str());
    object.word(key!("scheme"), record.scheme.as_str());
    object.text(key!("method"), record.method.as_str().as_bytes());
    object.text(key!("host"), record.host.as_bytes());
    let target = record.path_and_query.as_ref().map_or("", |target| target.as_str());
    object.url(key!("path"), target.as_bytes(), redaction);
    object.number(key!("status"), u64::from(record.status.as_u16()));
    object.number(key!("bytes_in"), record.bytes_in);
    object.number(key!("bytes_out"), record.bytes_out);
    if let Some(head_time) = record.head_time {
        object.millis(key!("head_ms"), head_time);
    }
    object.millis(key!("total_ms"), record.total_time);
    object.word(key!("cache"), cache_result(&record.facts));
    if let Some(status) = &record.facts.cache {
        object.quoted(key!("cache_status"), |line| status.write(line));
    }
    if !site.is_empty() {
        object.text(key!("site"), site.as_bytes());
    }
    if let Some(server) = &record.facts.origin_server {
        object.text(key!("origin"), server.as_bytes());
    }
    object.number(key!("attempts"), u64::from(record.facts.attempts));
    if let Some(agent) = field_bytes(record.user_agent.as_ref()) {
        object.text(key!("user_agent"), agent);
    }
    if let Some(referer) = field_bytes(record.referer.as_ref()) {
        object.url(key!("referer"), referer, redaction);
    }
    if let Some(error) = record.facts.proxy_error {
        object.word(key!("error"), error.as_str());
    }
    object.word(key!("end"), record.end.as_str());
    line.extend_from_slice(b"}\n");
}

/// A JSON object that has a member already and gets more.
struct Object<'a> {
    line: &'a mut Vec<u8>,
}

impl Object<'_> {
    /// A string that `write` escapes, or that has nothing to escape.
    fn quoted(&mut self, key: &'static [u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.line.extend_from_slice(key);
        self.line.push(b'"');
        write(self.line);
        self.line.push(b'"');
    }

    /// A word of ours, in which nothing is to be escaped.
    fn word(&mut self, key: &'static [u8], word: &'static str) {
        self.quoted(key, |line| line.extend_from_slice(word.as_bytes()));
    }

    fn text(&mut self, key: &'static [u8], text: &[u8]) {
        self.quoted(key, |line| escape(text, line));
    }

    fn url(&mut self, key: &'static [u8], url: &[u8], redaction: &Redaction) {
        self.quoted(key, |line| redaction.pieces(url, |piece| escape(piece, line)));
    }

    fn number(&mut self, key: &'static [u8], number: u64) {
        self.line.extend_from_slice(key);
        numbers::decimal(number, self.line);
    }

    /// Milliseconds with three decimals.
    fn millis(&mut self, key: &'static [u8], time: std::time::Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.number(key, micros / 1000);
        let mut thousandths = itoa::Buffer::new();
        // The leading 1 keeps the zeros of, say, 7 microseconds.
        let thousandths = thousandths.format(1000 + micros % 1000).as_bytes();
        self.line.push(b'.');
        self.line.extend_from_slice(thousandths.get(1..).unwrap_or_default());
    }
}

/// Appends `text` as the inside of a JSON string (RFC 8259 s7). A byte that is
/// no UTF-8 becomes `\u00XX`.
fn escape(text: &[u8], line: &mut Vec<u8>) {
    // Nearly all text.
    if is_all_plain(text) {
        line.extend_from_slice(text);
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, after) = split_run(rest, is_plain);
        line.extend_from_slice(plain);
        let (special, after) = split_run(after, |byte| !is_plain(byte));
        for chunk in special.utf8_chunks() {
            chunk.valid().chars().for_each(|character| escape_character(character, line));
            chunk.invalid().iter().for_each(|byte| escape_unit(u32::from(*byte), line));
        }
        rest = after;
    }
}

/// The longest beginning of `text` whose bytes all are as wanted, and the rest.
fn split_run(text: &[u8], wanted: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !wanted(*byte)).unwrap_or(text.len()))
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// True if every byte of `text` is plain.
fn is_all_plain(text: &[u8]) -> bool {
    match text.last_chunk() {
        // The last eight overlap those before, so that none is left over.
        Some(last) => text.as_chunks().0.iter().chain([last]).all(|eight| are_plain(*eight)),
        None => text.iter().all(|byte| is_plain(*byte)),
    }
}

/// The same of eight bytes at once. What is borrowed or carried reaches the next byte only
/// from one that is not plain itself.
fn are_plain(eight: [u8; 8]) -> bool {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let bytes = u64::from_ne_bytes(eight);
    let below = |bytes: u64, least: u8| bytes.wrapping_sub(all(least)) & !bytes;
    let above_tilde = bytes.wrapping_add(all(0x7f - b'~')) | bytes;
    let is_quote_or_backslash = below(bytes ^ all(b'"'), 1) | below(bytes ^ all(b'\\'), 1);
    (below(bytes, b' ') | above_tilde | is_quote_or_backslash) & all(0x80) == 0
}

fn escape_character(character: char, line: &mut Vec<u8>) {
    match character {
        '"' => line.extend_from_slice(b"\\\""),
        '\\' => line.extend_from_slice(b"\\\\"),
        _ if is_deceptive(character) => escape_unit(u32::from(character), line),
        _ => line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// True for what a terminal or a line reader would act upon: C0 and C1
/// controls, line separators, zero-width and bidirectional characters. All of
/// them fit into one UTF-16 unit.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

fn escape_unit(unit: u32, line: &mut Vec<u8>) {
    line.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        line.push(b"0123456789abcdef"[(unit >> shift) as usize & 15]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures;

    fn formatted(record: &ExchangeRecord) -> String {
        let redaction = Redaction::new(&["token".into()]);
        let mut line = Vec::new();
        let site = if record.site.is_some() { "example.com" } else { "" };
        format_json((record, site), &mut line, &redaction, &mut Dates::default());
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_whole_record() {
        let expected = concat!(
            r#"{"time":"2026-11-22T10:11:12.345Z","id":"000000000000000000000000000000ff","client":"192.0.2.7","#,
            r#""protocol":"HTTP/2.0","scheme":"https","method":"GET","host":"example.com","#,
            r#""path":"/a?b=1&token=REDACTED","status":200,"bytes_in":0,"bytes_out":1234,"#,
            r#""head_ms":1.002,"total_ms":2500.000,"cache":"miss","#,
            r#""cache_status":"Seawall; fwd=uri-miss; stored","site":"example.com","origin":"10.0.0.1:8080","#,
            r#""attempts":1,"user_agent":"curl/8","referer":"https://example.org/?token=REDACTED","#,
            r#""end":"complete"}"#,
            "\n"
        );
        assert_eq!(formatted(&fixtures::record()), expected);
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let line = formatted(&fixtures::bare_record());
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        let keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "attempts bytes_in bytes_out cache client end error head_ms host id method path \
                        protocol scheme status time total_ms";
        assert_eq!(keys.join(" "), expected);
        assert_eq!((&object["cache"], &object["error"]), (&"none".into(), &"connection_refused".into()));
    }

    #[test]
    fn hostile_bytes_stay_inside_their_string() {
        for (sent, logged) in [
            (&b"\x1b[2J\x07"[..], "\\u001b[2J\\u0007"),
            (b"a\"b\\c", r#"a\"b\\c"#),
            (b"\x7f\t\r\n\0", "\\u007f\\u0009\\u000d\\u000a\\u0000"),
            ("\u{2028}\u{2029}\u{85}\u{9b}31m".as_bytes(), "\\u2028\\u2029\\u0085\\u009b31m"),
            ("\u{202e}\u{200b}\u{feff}".as_bytes(), "\\u202e\\u200b\\ufeff"),
            (b"\xff\xc3(\xe2\x80", "\\u00ff\\u00c3(\\u00e2\\u0080"),
            ("grün 東京 🦀".as_bytes(), "grün 東京 🦀"),
            (b"", ""),
        ] {
            let mut line = Vec::new();
            escape(sent, &mut line);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line, logged);
            serde_json::from_str::<String>(&format!("\"{line}\"")).unwrap();
        }
    }

    #[test]
    fn eight_bytes_at_once_are_judged_as_each_of_them_is() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for others in [b' ', b'x', b'~'] {
                    let mut eight = [others; 8];
                    eight[place] = byte;
                    assert_eq!(are_plain(eight), is_plain(byte), "{eight:?}");
                }
            }
        }
        let mut text = *b"as long as three pieces";
        for place in 0..text.len() {
            let was = std::mem::replace(&mut text[place], b'"');
            assert!(!is_all_plain(&text), "{place}");
            text[place] = was;
        }
        assert!(is_all_plain(&text));
    }

    #[test]
    fn every_byte_in_every_field_keeps_the_record_on_one_line() {
        for byte in (0x20..=0xff_u8).chain([b'\t']).filter(|byte| *byte != 0x7f) {
            let mut record = fixtures::record();
            let value = http::HeaderValue::from_bytes(&[b'x', byte, b'"', byte]).unwrap();
            record.host = value.clone();
            record.user_agent = Some(value.clone());
            record.referer = Some(value);
            let line = formatted(&record);
            let content = line.strip_suffix('\n').unwrap();
            assert!(!content.contains(|character: char| character.is_control()), "{content:?}");
            serde_json::from_str::<serde_json::Value>(content).unwrap();
        }
    }
}
