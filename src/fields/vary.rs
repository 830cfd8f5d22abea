//! `Vary` (RFC 9110 s12.5.5), and the comparison of the fields it names
//! (RFC 9111 s4.1).

use http::{HeaderMap, HeaderName, header};

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

/// A request field in the form in which it is compared: lines joined, no space
/// around commas, in lower case where case says nothing. `None` if the request
/// does not have it.
pub fn normal_form(fields: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    if !fields.contains_key(name) {
        return None;
    }
    let mut form = Vec::new();
    for member in list::field_members(fields, name) {
        if !form.is_empty() {
            form.push(b',');
        }
        form.extend_from_slice(member);
    }
    if ignores_case(name) {
        form.make_ascii_lowercase();
    }
    Some(form.into_boxed_slice())
}

/// Does the request's field have this [`normal_form`]? Allocates nothing.
pub fn has_normal_form(fields: &HeaderMap, name: &HeaderName, form: Option<&[u8]>) -> bool {
    let Some(form) = form else { return !fields.contains_key(name) };
    let mut lines = fields.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => return false,
        (Some(line), None) if line.as_bytes() == form => return true,
        _ => {}
    }
    let mut rest = form;
    for (at, member) in list::field_members(fields, name).enumerate() {
        if at > 0 {
            let Some(after) = rest.strip_prefix(b",") else { return false };
            rest = after;
        }
        let Some((start, after)) = rest.split_at_checked(member.len()) else { return false };
        let is_same = if ignores_case(name) { start.eq_ignore_ascii_case(member) } else { start == member };
        if !is_same {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Fields whose values are the same in any case (RFC 9110 s12.5.2 to s12.5.4).
/// The order of languages is kept: servers do heed it.
fn ignores_case(name: &HeaderName) -> bool {
    matches!(*name, header::ACCEPT_LANGUAGE | header::ACCEPT_ENCODING | header::ACCEPT_CHARSET)
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
            (&header::ACCEPT_LANGUAGE, &["en, de"], &["de, en"], false),
            (&header::ACCEPT_ENCODING, &["GZIP"], &["gzip"], true),
        ] {
            let form = normal_form(&with(name, stored), name);
            let is_same = has_normal_form(&with(name, presented), name, form.as_deref());
            assert_eq!(is_same, expected, "{stored:?} {presented:?}");
        }
    }

    proptest! {
        #[test]
        fn comparing_agrees_with_the_forms(
            one in proptest::collection::vec("[aA1\", \\\\]{0,6}", 0..3),
            other in proptest::collection::vec("[aA1\", \\\\]{0,6}", 0..3),
        ) {
            for name in [HeaderName::from_static("foo"), header::ACCEPT_LANGUAGE] {
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
