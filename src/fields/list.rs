//! Lists (RFC 9110 s5.6.1): members parted by commas, quoted strings kept
//! whole. Says nothing of what a member means.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The members of one field line, without the space around them; empty ones
/// are left out.
pub fn members(line: &[u8]) -> Members<'_> {
    Members { rest: line, quotes: true }
}

/// The members of all lines of a field, in order (RFC 9110 s5.3).
pub fn field_members<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    fields.get_all(name).iter().flat_map(|line| members(line.as_bytes()))
}

/// The members of one line of a list in which nothing can be quoted.
pub fn tokens(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// See [`members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    rest: &'a [u8],
    /// False once a quote was opened and not closed: what follows is split as
    /// if it were not quoted, so that such a quote hides no later member, and
    /// the search for its end is made once.
    quotes: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (member, rest) = self.rest.split_at(self.member_end());
            self.rest = rest.get(1..).unwrap_or_default();
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

impl Members<'_> {
    fn member_end(&mut self) -> usize {
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b',' => return at,
                b'"' if self.quotes => match quoted_length(self.rest.get(at..).unwrap_or_default()) {
                    Some(length) => at += length,
                    None => self.quotes = false,
                },
                _ => at += 1,
            }
        }
        at
    }
}

/// The length of the quoted string that `text` begins with, both quotes
/// included (RFC 9110 s5.6.4). `None` if it has no end.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        members(line.as_bytes()).map(|member| String::from_utf8_lossy(member).into_owned()).collect()
    }

    #[test]
    fn members_are_trimmed_and_quotes_kept_whole() {
        for (line, expected) in [
            ("", &[][..]),
            (" , ,\t", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" a ,\tb c , ", &["a", "b c"]),
            ("x=\"1, 2\", y", &["x=\"1, 2\"", "y"]),
            ("x=\"1\\\", 2\", y", &["x=\"1\\\", 2\"", "y"]),
            // An open quote hides nothing.
            ("x=\"1, no-store", &["x=\"1", "no-store"]),
            ("x=\"1\\\", \\\"no-store\\", &["x=\"1\\\"", "\\\"no-store\\"]),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_are_one_list() {
        let mut fields = HeaderMap::new();
        fields.append(http::header::VARY, "a, b".parse().unwrap());
        fields.append(http::header::VARY, "c".parse().unwrap());
        assert!(field_members(&fields, &http::header::VARY).eq([b"a", b"b", b"c"]));
    }

    #[test]
    fn many_open_quotes_cost_linear_time() {
        let line = "\"\\".repeat(1 << 18);
        assert_eq!(split(&line).len(), 1);
    }
}
