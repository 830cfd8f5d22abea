//! Short ways to say what policy decides on, for the tables of its tests.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::{CacheRules, RequestHead, StoredHead, Timing, select};

/// Sun, 06 Nov 1994 08:49:37 GMT
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

pub(super) fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    fields
}

pub(super) fn get(fields: &HeaderMap) -> RequestHead<'_> {
    RequestHead::new(&Method::GET, "/", fields)
}

pub(super) fn at_once(time: SystemTime) -> Timing {
    Timing { request: time, response: time }
}

pub(super) fn stored_from(response: &[(&str, &str)], received: SystemTime) -> StoredHead {
    stored_for(&[], response, received)
}

pub(super) fn stored_for(
    request: &[(&str, &str)],
    response: &[(&str, &str)],
    received: SystemTime,
) -> StoredHead {
    let rules = CacheRules::default();
    StoredHead::new(&get(&fields(request)), StatusCode::OK, fields(response), at_once(received), &rules)
}

pub(super) fn stored(status: u16, response: &[(&str, &str)], received: SystemTime) -> StoredHead {
    let (rules, status) = (CacheRules::default(), StatusCode::from_u16(status).unwrap());
    StoredHead::new(&get(&fields(&[])), status, fields(response), at_once(received), &rules)
}

pub(super) fn selects(req: &RequestHead<'_>, stored: &StoredHead) -> bool {
    select(req, std::slice::from_ref(stored), now(), |head| head).is_some()
}
