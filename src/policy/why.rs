//! Why a response is not stored: every rule that forbids it, with the line to
//! blame and what would change it. It has no rule of its own, and shows no
//! secret: of cookies and credentials it tells the names.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::stated::By;
use super::storability::Case;
use super::{CacheRules, FreshnessLifetime, NoStoreReason, RequestHead, StoredHead, Timing};
use crate::fields::client_cert::CLIENT_CERT;
use crate::fields::targeted::CDN_CACHE_CONTROL;

/// Longer values are cut.
const LONGEST_VALUE: usize = 200;

/// What the rules say of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why it is not stored, each reason once; empty if it is.
    pub refusals: Vec<Refusal>,
    /// For how long it would be fresh.
    pub lifetime: FreshnessLifetime,
}

/// One rule that forbids to store a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name.
    pub reason: NoStoreReason,
    /// The line that led to it, where there is one.
    pub blame: Option<FieldLine>,
    /// What would change it.
    pub remedy: Remedy,
}

/// A field line, fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLine {
    /// Who sent it.
    pub sender: Sender,
    /// Name and value; secrets and long values are cut.
    pub text: String,
}

/// Who sent a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client, in its request.
    Client,
    /// The origin server, in its response.
    OriginServer,
}

/// What would change a decision, one sentence each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Done by the origin server.
    pub origin: Option<&'static str>,
    /// Done in the configuration.
    pub operator: Option<&'static str>,
}

/// Tells everything that speaks against storing the response to `req`.
pub fn why(
    req: &RequestHead<'_>,
    status: StatusCode,
    fields: &HeaderMap,
    timing: Timing,
    rules: &CacheRules,
) -> Verdict {
    let case = Case::new(req, status, fields, timing, rules);
    let refusal =
        |reason: NoStoreReason| Refusal { reason, blame: blame(reason, &case), remedy: remedy(reason) };
    Verdict { refusals: case.refusals().map(refusal).collect(), lifetime: case.lifetime() }
}

/// What would change a decision of this name: a reason for which a request goes
/// past the cache, a stored response is not used, or a response is not stored.
pub fn remedy_of(detail: &str) -> Option<Remedy> {
    let reason = NoStoreReason::ALL.into_iter().find(|reason| reason.as_str() == detail);
    reason.map(remedy).or_else(|| {
        Some(match detail {
            "precondition" => {
                no_remedy("If-Match and If-Unmodified-Since ask for the state at the origin server.")
            }
            "content" => no_remedy("A GET with content means something to nobody but the origin server."),
            "upgrade" => no_remedy("A change of protocols is between the client and the origin server."),
            "range" => no_remedy("A part of what is not stored is passed through."),
            "length-mismatch" => Remedy {
                origin: Some("Send as many bytes as Content-Length or Content-Range says."),
                operator: None,
            },
            "changed" => {
                no_remedy("The large response whose parts were stored is another one now; nothing is wrong.")
            }
            "stale-if-error" => no_remedy(
                "The origin servers did not answer, and the stored response stood in: see `seawall origins`.",
            ),
            "error" => no_remedy("The origin server failed, and what is stored may still answer others."),
            "only-if-cached" => {
                no_remedy("The client wants no request to an origin server; nothing usable is stored.")
            }
            "request-no-cache" => no_remedy("The client asked for a validation, as a reload does."),
            "request-max-age" | "request-min-fresh" => {
                no_remedy("The client asked for a fresher response than the stored one.")
            }
            _ => return None,
        })
    })
}

fn no_remedy(text: &'static str) -> Remedy {
    Remedy { origin: None, operator: Some(text) }
}

fn remedy(reason: NoStoreReason) -> Remedy {
    let (origin, operator) = match reason {
        NoStoreReason::Disabled => (None, Some("Take `cache = false` from the route.")),
        NoStoreReason::Method => (None, Some("Only responses to GET are stored.")),
        NoStoreReason::RequestNoStore => {
            (None, Some("Another client, without no-store, is answered from the cache."))
        }
        NoStoreReason::Status => (None, Some("Only final responses are stored.")),
        NoStoreReason::Partial => (Some("Answer with the whole."), Some("Ask without Range.")),
        NoStoreReason::NoStore => (
            Some("Leave no-store out where the response is the same for everyone."),
            Some(
                "cache = { force = true, ttl = ... } on the route overrides it; keep that to what everyone may see.",
            ),
        ),
        NoStoreReason::Private => (
            Some("Say public instead of private where the response is the same for everyone."),
            Some(
                "cache = { force = true, ttl = ... } on the route overrides it; keep that to what everyone may see.",
            ),
        ),
        NoStoreReason::VaryStar => {
            (Some("Name in Vary the fields that the response depends on, not `*`."), None)
        }
        NoStoreReason::VaryClient => {
            (Some("Leave the client's address out of Vary, and out of what the response depends on."), None)
        }
        NoStoreReason::Authorization => (
            Some(
                "Say Cache-Control: public or s-maxage, with a lifetime, where the response is the same for every login.",
            ),
            Some("Ask without Authorization."),
        ),
        NoStoreReason::Cookie => (
            Some("State a lifetime: Cache-Control: max-age or s-maxage."),
            Some("cache = { ignore_cookies = true } on a route whose responses do not depend on cookies."),
        ),
        NoStoreReason::Deception => (
            Some(
                "Answer with 404 what is not the file its path names, or send the Content-Type of such a file.",
            ),
            Some("Nothing switches this off: a page that looks like a file would be stored for everyone."),
        ),
        NoStoreReason::SetCookie => (
            Some(
                "Do not set the cookie here, or say Cache-Control: public with a lifetime where it is the same for everyone.",
            ),
            Some("cache = { ignore_cookies = true } on the route stores the response without its cookies."),
        ),
        NoStoreReason::NoCache => {
            (Some("Send an ETag or Last-Modified, by which it can be validated."), None)
        }
        NoStoreReason::NoLifetime => (
            Some("Send Cache-Control: max-age, or an ETag or Last-Modified, by which it can be validated."),
            Some(
                "cache = { ttl = \"5m\" } on the route, or cache.default_ttl, fills in where no lifetime is stated.",
            ),
        ),
        NoStoreReason::TooLarge => {
            (None, Some("Raise max_object, and memory, of which it takes an eighth at most."))
        }
    };
    Remedy { origin, operator }
}

fn blame(reason: NoStoreReason, case: &Case<'_>) -> Option<FieldLine> {
    let client = |name: &HeaderName, word| line(Sender::Client, case.req.fields, name, word);
    let origin = |name: &HeaderName, word| line(Sender::OriginServer, case.fields, name, word);
    let directive = |word| match case.stated.by {
        By::Targeted => origin(&CDN_CACHE_CONTROL, word),
        By::CacheControl | By::Force => origin(&header::CACHE_CONTROL, word),
    };
    match reason {
        NoStoreReason::Disabled | NoStoreReason::Method | NoStoreReason::Status => None,
        NoStoreReason::RequestNoStore => client(&header::CACHE_CONTROL, "no-store"),
        NoStoreReason::Partial => origin(&header::CONTENT_RANGE, ""),
        NoStoreReason::NoStore => directive("no-store"),
        NoStoreReason::Private => directive("private"),
        NoStoreReason::VaryStar => origin(&header::VARY, "*"),
        NoStoreReason::VaryClient => origin(&header::VARY, ""),
        NoStoreReason::Authorization => {
            client(&header::AUTHORIZATION, "").or_else(|| client(&CLIENT_CERT, ""))
        }
        NoStoreReason::Cookie => client(&header::COOKIE, ""),
        NoStoreReason::Deception => origin(&header::CONTENT_TYPE, ""),
        NoStoreReason::SetCookie => origin(&header::SET_COOKIE, ""),
        NoStoreReason::NoCache => directive("no-cache").or_else(|| origin(&header::PRAGMA, "")),
        NoStoreReason::NoLifetime => directive("age").or_else(|| origin(&header::EXPIRES, "")),
        NoStoreReason::TooLarge => origin(&header::CONTENT_LENGTH, ""),
    }
}

/// The fields that a stored response varies on, with what they were in the
/// request that brought it; of secrets only the name. `None` if no request
/// selects it.
pub fn varies_on(head: &StoredHead) -> Option<Vec<(String, Option<String>)>> {
    let text = |name: &HeaderName, form: Box<[u8]>| {
        let value = HeaderValue::from_bytes(&form).ok().filter(|_| is_harmless(name));
        value.map_or_else(|| "...".to_owned(), |value| shown(name, &value))
    };
    let values = head.to_parts().selecting?.into_iter();
    Some(values.map(|(name, form)| (written(&name), form.map(|form| text(&name, form)))).collect())
}

/// True for fields in which nobody keeps a secret: of any other one that a
/// response varies on, the value may be a key.
fn is_harmless(name: &HeaderName) -> bool {
    name.as_str().starts_with("accept") || [header::ORIGIN, header::USER_AGENT].contains(name)
}

/// The first line of a field that has `word` in it.
fn line(sender: Sender, fields: &HeaderMap, name: &HeaderName, word: &str) -> Option<FieldLine> {
    let has_word = |value: &&HeaderValue| {
        let value = value.as_bytes().to_ascii_lowercase();
        word.is_empty() || value.windows(word.len()).any(|part| part == word.as_bytes())
    };
    let value = fields.get_all(name).iter().find(has_word)?;
    Some(FieldLine { sender, text: format!("{}: {}", written(name), shown(name, value)) })
}

/// A name as it is mostly written.
fn written(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| match word {
        "cdn" => "CDN".to_owned(),
        word => {
            word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1)).collect()
        }
    });
    words.collect::<Vec<String>>().join("-")
}

/// A value without what is secret in it: of cookies their names are left, of
/// credentials their scheme.
fn shown(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let cookie = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{}=...", name.trim()),
        None => "...".to_owned(),
    };
    let text = match *name {
        header::SET_COOKIE => cookie(text.split(';').next().unwrap_or_default()),
        header::COOKIE => text.split(';').map(cookie).collect::<Vec<_>>().join("; "),
        header::AUTHORIZATION => {
            format!("{} ...", text.split(' ').next().filter(|_| text.contains(' ')).unwrap_or(""))
        }
        _ if *name == CLIENT_CERT => "...".to_owned(),
        _ => text.into_owned(),
    };
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests;
