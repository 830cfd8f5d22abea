//! `balance`: how a server is picked. A word, some with what they go by after a
//! colon.

use http::HeaderName;

use crate::config::model::{Balance, HashKey};
use crate::config::read::{Fault, Value};
use crate::fields::cookie;

/// Reads the value.
pub(super) fn balance(value: &Value<'_>) -> Option<Balance> {
    let word = value.text()?;
    if word.starts_with("sticky:") {
        value.not_yet("this way of balancing", "use \"hash:ip\" or \"hash:cookie:NAME\"");
        return None;
    }
    match word.strip_prefix("hash:") {
        None => value.choice(&[
            ("p2c", Balance::PowerOfTwo),
            ("round-robin", Balance::RoundRobin),
            ("least-conn", Balance::LeastConnections),
        ]),
        Some(_) => value.parse("a way of balancing", hash_key).map(Balance::Hash),
    }
}

fn hash_key(word: &str) -> Result<HashKey, Fault> {
    match word.splitn(3, ':').collect::<Vec<_>>()[..] {
        [_, "ip"] => Ok(HashKey::Client),
        [_, "uri"] => Ok(HashKey::Uri),
        [_, "field", name] => match HeaderName::try_from(name) {
            Ok(name) => Ok(HashKey::Field(name)),
            Err(_) => Err(Fault::new("not the name of a field").help("write it as \"hash:field:X-User\"")),
        },
        [_, "cookie", name] => cookie_name(name).map(HashKey::Cookie),
        _ => Err(Fault::new("not something to go by")
            .help("it is \"hash:ip\", \"hash:uri\", \"hash:field:NAME\" or \"hash:cookie:NAME\"")),
    }
}

fn cookie_name(name: &str) -> Result<Box<str>, Fault> {
    if cookie::is_name(name) {
        Ok(name.into())
    } else {
        Err(Fault::new("not the name of a cookie").help("letters, digits, `-`, `_` and `.`"))
    }
}
