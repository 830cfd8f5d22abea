//! Keeps the values of secret query parameters out of the log. It never
//! changes what is served.

const REPLACEMENT: &[u8] = b"REDACTED";

/// The query parameters whose values are not logged.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    names: Box<[Name]>,
}

#[derive(Clone, Debug)]
struct Name {
    /// In lower case.
    text: Box<[u8]>,
    /// True if the end may be any.
    is_beginning: bool,
}

impl Name {
    fn of(written: &str) -> Self {
        let beginning = written.strip_suffix('*');
        let text = beginning.unwrap_or(written).to_ascii_lowercase().into_bytes().into();
        Self { text, is_beginning: beginning.is_some() }
    }

    /// Is `parameter` one of this name, as it may be encoded?
    fn is_of(&self, parameter: &[u8]) -> bool {
        let mut decoded = percent_decoded(parameter).map(|byte| byte.to_ascii_lowercase());
        self.text.iter().all(|byte| decoded.next() == Some(*byte))
            && (self.is_beginning || decoded.next().is_none())
    }
}

impl Redaction {
    /// Hides the values of parameters with one of these `names`, whatever their
    /// case and however they are percent-encoded. A `*` at the end of a name stands
    /// for any end.
    pub fn new(names: &[String]) -> Self {
        Self { names: names.iter().map(|name| Name::of(name)).collect() }
    }

    /// Hands out `target`, a path or URL with its query, piece by piece, secret
    /// values replaced.
    pub(super) fn pieces(&self, target: &[u8], mut emit: impl FnMut(&[u8])) {
        let query = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let Some(query) = query.filter(|_| !self.names.is_empty()) else {
            return emit(target);
        };
        for part in target.get(..=query).into_iter().chain(parameters(target.get(query + 1..))) {
            match self.secret(part) {
                Some((name, separator)) => [name, REPLACEMENT, separator].into_iter().for_each(&mut emit),
                None => emit(part),
            }
        }
    }

    /// What stays of a parameter that is secret: its name with the `=`, and the
    /// separator after its value.
    fn secret<'a>(&self, parameter: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = parameter.split_at_checked(equals + 1)?;
        let is_secret = self.names.iter().any(|known| known.is_of(&parameter[..equals]));
        let end = value.iter().position(is_separator).unwrap_or(value.len());
        is_secret.then(|| (name, &value[end..]))
    }
}

/// The parameters of a query, each with the separator that ends it.
fn parameters(query: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    query.unwrap_or_default().split_inclusive(is_separator)
}

/// Everything that some origin server takes for the end of a parameter, and
/// `#`, because a `Referer` can carry tokens in its fragment.
fn is_separator(byte: &u8) -> bool {
    matches!(byte, b'&' | b';' | b'#' | b'?')
}

fn percent_decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, after) = match *rest {
            [b'%', high, low, ref after @ ..] if let Some(byte) = hex_pair(high, low) => (byte, after),
            [byte, ref after @ ..] => (byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let value = char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_values_are_replaced() {
        let redaction = Redaction::new(&["token".into(), "E-Mail".into(), "X-AMZ-*".into()]);
        for (written, logged) in [
            ("/", "/"),
            ("/token=1", "/token=1"),
            ("/?token=abc", "/?token=REDACTED"),
            ("/?a=1&token=abc&b=2", "/?a=1&token=REDACTED&b=2"),
            ("/?a=1;TOKEN=abc=d;b=2", "/?a=1;TOKEN=REDACTED;b=2"),
            ("/?t%6Fken=abc&e%2dmail=x@y", "/?t%6Fken=REDACTED&e%2dmail=REDACTED"),
            ("/?token", "/?token"),
            ("/?token=", "/?token=REDACTED"),
            ("/?xtoken=1&tokens=2", "/?xtoken=1&tokens=2"),
            ("https://a/?b=1#token=abc", "https://a/?b=1#token=REDACTED"),
            ("https://a/#token=abc", "https://a/#token=REDACTED"),
            ("/?x-amz-=1&X-Amz-Signature=a&x-am=b", "/?x-amz-=REDACTED&X-Amz-Signature=REDACTED&x-am=b"),
            ("/?token=a?token=b", "/?token=REDACTED?token=REDACTED"),
            ("/?%&%4&=&&", "/?%&%4&=&&"),
        ] {
            let mut out = Vec::new();
            redaction.pieces(written.as_bytes(), |piece| out.extend_from_slice(piece));
            assert_eq!(String::from_utf8(out).unwrap(), logged, "{written}");
        }
    }
}
