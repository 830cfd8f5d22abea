//! `Vary` (RFC 9110 s12.5.5), and the comparison of the fields it names
//! (RFC 9111 s4.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::accept_encoding::AcceptEncoding;
use super::list;

/// What a response varies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// Something that no request tells: `*`, or what is no field name.
    Unknown,
    /// These request fields, sorted, each once. None: nothing.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Reads all Vary lines of a response.
    pub fn of(fields: &HeaderMap) -> Self {
        let members = list::field_members(fields, &header::VARY);
        // `*` is a letter of field names.
        let names =
            members.map(|member| if member == b"*" { None } else { HeaderName::from_bytes(member).ok() });
        match names.collect::<Option<Vec<_>>>() {
            Some(mut names) => {
                names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
                names.dedup();
                Self::Fields(names)
            }
            None => Self::Unknown,
        }
    }
}

/// What depends on Accept-Encoding and nothing else.
const ON_ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");

/// Says of a response that it depends on Accept-Encoding, besides what it says already.
pub fn add_accept_encoding(fields: &mut HeaderMap) {
    if !fields.contains_key(header::VARY) {
        fields.insert(header::VARY, ON_ACCEPT_ENCODING);
        return;
    }
    let names_it = |member: &[u8]| member == b"*" || member.eq_ignore_ascii_case(b"accept-encoding");
    if list::field_members(fields, &header::VARY).any(names_it) {
        return;
    }
    let lines: Vec<&[u8]> = fields.get_all(header::VARY).iter().map(HeaderValue::as_bytes).collect();
    let value = HeaderValue::try_from([&lines.join(&b", "[..]), &b", Accept-Encoding"[..]].concat());
    fields.insert(header::VARY, value.unwrap_or(ON_ACCEPT_ENCODING));
}

/// Longer lists are compared in the order in which they were sent.
const MOST_SORTED: usize = 16;

/// A request field in the form in which it is compared: lines joined, and no
/// space around commas. Of lists of preferences (RFC 9110 s12.5.2 and s12.5.4)
/// neither case nor order nor any space says something, and of Accept-Encoding
/// only [`AcceptEncoding::normal_form`]. `None` if the request does not have
/// it.
pub fn normal_form(fields: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    if !fields.contains_key(name) {
        return None;
    }
    if *name == header::ACCEPT_ENCODING {
        return AcceptEncoding::of(fields).map(|accepted| accepted.normal_form().as_bytes().into());
    }
    let mut room = [&b""[..]; MOST_SORTED];
    let form: Vec<u8> = match preferences(fields, name, &mut room) {
        Some(sorted) => joined(sorted.iter().map(|member| plain(member))).collect(),
        None => joined(list::field_members(fields, name).map(|member| member.iter().copied())).collect(),
    };
    Some(form.into_boxed_slice())
}

/// Does the request's field have this [`normal_form`]? Allocates nothing.
pub fn has_normal_form(fields: &HeaderMap, name: &HeaderName, form: Option<&[u8]>) -> bool {
    let Some(form) = form else { return !fields.contains_key(name) };
    if !fields.contains_key(name) {
        return false;
    }
    if *name == header::ACCEPT_ENCODING {
        return AcceptEncoding::of(fields).is_some_and(|accepted| accepted.normal_form().as_bytes() == form);
    }
    let form = form.iter().copied();
    let mut room = [&b""[..]; MOST_SORTED];
    match preferences(fields, name, &mut room) {
        Some(sorted) => form.eq(joined(sorted.iter().map(|member| plain(member)))),
        None => form.eq(joined(list::field_members(fields, name).map(|member| member.iter().copied()))),
    }
}

/// The members of a short list of preferences, sorted.
fn preferences<'a, 'r>(
    fields: &'a HeaderMap,
    name: &HeaderName,
    room: &'r mut [&'a [u8]; MOST_SORTED],
) -> Option<&'r [&'a [u8]]> {
    if !matches!(*name, header::ACCEPT_LANGUAGE | header::ACCEPT_CHARSET) {
        return None;
    }
    let mut count = 0;
    for member in list::field_members(fields, name) {
        *room.get_mut(count)? = member;
        count += 1;
    }
    let members = room.get_mut(..count)?;
    members.sort_unstable_by(|one, other| plain(one).cmp(plain(other)));
    Some(members)
}

/// The letters of a preference that count.
fn plain(member: &[u8]) -> impl Iterator<Item = u8> {
    member.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase)
}

fn joined(members: impl Iterator<Item = impl Iterator<Item = u8>>) -> impl Iterator<Item = u8> {
    members.enumerate().flat_map(|(at, member)| (at > 0).then_some(b',').into_iter().chain(member))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(name.clone(), line.parse().unwrap());
        }
        fields
    }

    /// RFC 9110 s12.5.5
    #[test]
    fn a_star_anywhere_is_unknown() {
        for lines in [&["*"][..], &["*, *"], &["Foo, *"], &["*, Foo"], &[", *"], &["Foo", "*"], &["a b"]] {
            assert_eq!(Vary::of(&with(&header::VARY, lines)), Vary::Unknown, "{lines:?}");
        }
        for (lines, expected) in
            [(&[][..], &[][..]), (&[""], &[]), (&["Foo, bar", "FOO"], &["bar", "foo"]), (&["**"], &["**"])]
        {
            let names = expected.iter().map(|name| name.parse().unwrap()).collect();
            assert_eq!(Vary::of(&with(&header::VARY, lines)), Vary::Fields(names), "{lines:?}");
        }
    }

    /// RFC 9111 s4.1
    #[test]
    fn what_is_compared_as_equal() {
        let foo = HeaderName::from_static("foo");
        for (name, stored, presented, expected) in [
            (&foo, &["1"][..], &["1"][..], true),
            (&foo, &["1"], &["2"], false),
            (&foo, &["1"], &["11"], false),
            (&foo, &["1"], &[], false),
            (&foo, &[], &["1"], false),
            (&foo, &[], &[], true),
            (&foo, &[""], &[], false),
            (&foo, &[], &[""], false),
            (&foo, &["1, 2"], &["1", "2"], true),
            (&foo, &["1", "2"], &[" 1 ,2 "], true),
            (&foo, &["1,2"], &["1"], false),
            (&foo, &["1"], &["1,2"], false),
            (&foo, &["\"1, 2\""], &["\"1,2\""], false),
            (&foo, &["a"], &["A"], false),
            (&header::ACCEPT_LANGUAGE, &["en, de"], &["eN,De"], true),
            (&header::ACCEPT_LANGUAGE, &["en, de"], &[" en ,   de"], true),
            (&header::ACCEPT_LANGUAGE, &["en, de"], &["de, en"], true),
            (&header::ACCEPT_LANGUAGE, &["en, de"], &["de", "en"], true),
            (&header::ACCEPT_LANGUAGE, &["en;q=0.5, de"], &["de, en; q=0.5"], true),
            (&header::ACCEPT_LANGUAGE, &["en;q=0.5, de"], &["de;q=0.5, en"], false),
            (&header::ACCEPT_LANGUAGE, &["en, de"], &["en"], false),
            (&header::ACCEPT_LANGUAGE, &["en, en"], &["en"], false),
            (&header::ACCEPT_ENCODING, &["GZIP"], &["gzip"], true),
            (&header::ACCEPT_ENCODING, &["br, gzip"], &["gzip, br"], true),
            (&header::ACCEPT_ENCODING, &["gzip, deflate, br"], &["br;q=1.0, gzip;q=0.9"], true),
            (&header::ACCEPT_ENCODING, &["gzip"], &["br"], false),
            (&header::ACCEPT_ENCODING, &["deflate"], &[], false),
            (&header::ACCEPT_ENCODING, &[], &[""], false),
            (&foo, &["1, 2"], &["2, 1"], false),
        ] {
            let form = normal_form(&with(name, stored), name);
            let is_same = has_normal_form(&with(name, presented), name, form.as_deref());
            assert_eq!(is_same, expected, "{stored:?} {presented:?}");
        }
    }

    #[test]
    fn a_long_list_of_preferences_is_one_in_its_order() {
        let line = |range: std::ops::Range<usize>| {
            let members: Vec<_> = range.map(|number| format!("a{number}")).collect();
            with(&header::ACCEPT_LANGUAGE, &[&members.join(", ")])
        };
        let backwards = |fields: &HeaderMap| {
            let members: Vec<_> = list::field_members(fields, &header::ACCEPT_LANGUAGE).collect();
            let turned: Vec<_> =
                members.into_iter().rev().map(|member| std::str::from_utf8(member).unwrap()).collect();
            with(&header::ACCEPT_LANGUAGE, &[&turned.join(",")])
        };
        for (count, expected) in [(MOST_SORTED, true), (MOST_SORTED + 1, false)] {
            let fields = line(0..count);
            let form = normal_form(&fields, &header::ACCEPT_LANGUAGE);
            assert!(has_normal_form(&fields, &header::ACCEPT_LANGUAGE, form.as_deref()));
            let turned = backwards(&fields);
            assert_eq!(has_normal_form(&turned, &header::ACCEPT_LANGUAGE, form.as_deref()), expected);
        }
    }

    proptest! {
        #[test]
        fn comparing_agrees_with_the_forms(
            one in proptest::collection::vec("[aA1\", \\\\]{0,6}", 0..3),
            other in proptest::collection::vec("[aA1\", \\\\]{0,6}", 0..3),
        ) {
            for name in [HeaderName::from_static("foo"), header::ACCEPT_LANGUAGE, header::ACCEPT_ENCODING] {
                let lines = |lines: &[String]| with(&name, &lines.iter().map(String::as_str).collect::<Vec<_>>());
                let (one, other) = (lines(&one), lines(&other));
                let form = normal_form(&one, &name);
                let same_form = form == normal_form(&other, &name);
                prop_assert_eq!(has_normal_form(&other, &name, form.as_deref()), same_form);
                prop_assert!(has_normal_form(&one, &name, form.as_deref()));
            }
        }
    }
}
