//! `balance`: how a server is picked. A word, some with what they go by after a
//! colon.

use http::HeaderName;

use crate::config::model::{Balance, HashKey};
use crate::config::read::{Fault, Value};
use crate::fields::cookie;

/// Reads the value.
pub(super) fn balance(value: &Value<'_>) -> Option<Balance> {
    let word = value.text()?;
    match word.split_once(':') {
        Some(("sticky", name)) => {
            value.parse("a way of balancing", |_| cookie_name(name)).map(Balance::Sticky)
        }
        Some(("hash", by)) => value.parse("a way of balancing", |_| hash_key(by)).map(Balance::Hash),
        _ => value.choice(&[
            ("p2c", Balance::PowerOfTwo),
            ("round-robin", Balance::RoundRobin),
            ("least-conn", Balance::LeastConnections),
        ]),
    }
}

fn hash_key(by: &str) -> Result<HashKey, Fault> {
    match by.split_once(':') {
        None if by == "ip" => Ok(HashKey::Client),
        None if by == "uri" => Ok(HashKey::Uri),
        Some(("field", name)) => match HeaderName::try_from(name) {
            Ok(name) => Ok(HashKey::Field(name)),
            Err(_) => Err(Fault::new("not the name of a field").help("write it as \"hash:field:X-User\"")),
        },
        Some(("cookie", name)) => cookie_name(name).map(HashKey::Cookie),
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
