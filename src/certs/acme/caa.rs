//! Whether the CAA records of a domain let an authority issue (RFC 8659, RFC
//! 8657). Pure: of the records, and of who is to issue. Where the authority may
//! know better than this does, it is left to decide.

use super::warnings::listed;
use crate::resolve::Caa;

/// The properties that have to do with certificates for servers.
const ISSUE: &str = "issue";
const ISSUE_WILD: &str = "issuewild";

/// Those that an authority may know (IANA, "Certification Authority Restriction
/// Properties").
const KNOWN: [&str; 7] =
    [ISSUE, ISSUE_WILD, "iodef", "contactemail", "contactphone", "issuevmc", "issuemail"];

/// No domain or parameter is longer: a record may have 64 KiB, and is told.
const LONGEST: usize = 512;

/// Who is to issue, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issuance<'a> {
    /// The domains that the authority goes by; none where it does not tell.
    pub(super) identities: &'a [String],
    /// The URL of the account there.
    pub(super) account: &'a str,
    /// The ways in which the name can be proven, as they are registered.
    pub(super) methods: &'a [&'static str],
    /// Whether the name is a wildcard.
    pub(super) is_wildcard: bool,
}

/// What the records say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may issue.
    Allowed,
    /// These may issue, and nobody knows here if it is one of them.
    Doubtful(Vec<String>),
    /// It must not.
    Forbidden(CaaRefusal),
}

/// Why an authority must not issue, and the record that would let it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the CAA record of {domain} {why}{}", remedy(.domain, .add.as_deref()))]
pub struct CaaRefusal {
    domain: String,
    why: Why,
    add: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("lets nobody issue")]
    Nobody,
    #[error("lets only {} issue", listed(.0, ", "))]
    Others(Vec<String>),
    #[error("lets {issuer} issue to another account only, not to {account}")]
    Account { issuer: String, account: String },
    #[error("lets {issuer} issue only what is proven by {}", listed(.methods, ", "))]
    Methods { issuer: String, methods: Vec<String> },
    #[error("has the critical property `{0}`, which no authority knows")]
    Critical(String),
}

/// The domains whose records count for `name`: the first of them that has any
/// (RFC 8659 s3).
pub(super) fn domains(name: &str) -> impl Iterator<Item = &str> {
    let name = name.strip_prefix("*.").unwrap_or(name);
    std::iter::successors(Some(name), |domain| Some(domain.split_once('.')?.1))
        .filter(|domain| !domain.is_empty())
}

/// What the records of `domain` say of an issuance.
pub(super) fn judge(domain: &str, records: &[Caa], issuance: Issuance<'_>) -> Verdict {
    let forbidden = |why, add| Verdict::Forbidden(CaaRefusal { domain: domain.to_owned(), why, add });
    let has_tag = |record: &&Caa, tag: &str| record.tag.eq_ignore_ascii_case(tag);
    let unknown = |record: &&Caa| record.is_critical && !KNOWN.iter().any(|tag| has_tag(record, tag));
    if let Some(record) = records.iter().find(unknown) {
        return forbidden(Why::Critical(record.tag.clone()), None);
    }
    let is_for_wildcards = issuance.is_wildcard && records.iter().any(|record| has_tag(&record, ISSUE_WILD));
    let tag = if is_for_wildcards { ISSUE_WILD } else { ISSUE };
    let properties: Vec<_> = records.iter().filter(|record| has_tag(record, tag)).collect();
    if properties.is_empty() {
        return Verdict::Allowed;
    }
    let issuers: Vec<_> = properties.iter().filter_map(|record| Issuer::parse(&record.value)).collect();
    let own = |issuer: &&Issuer| issuance.identities.iter().any(|id| id.eq_ignore_ascii_case(&issuer.domain));
    let add = |further: &str| {
        let identity = issuance.identities.first()?;
        Some(format!("0 {tag} \"{identity}{further}\""))
    };
    let mut held_back = None;
    for issuer in issuers.iter().filter(own) {
        match issuer.restriction(issuance) {
            None => return Verdict::Allowed,
            Some(why) => held_back = Some(why),
        }
    }
    let others: Vec<_> = issuers.iter().map(|issuer| issuer.domain.clone()).collect();
    match held_back {
        Some(why @ Why::Account { .. }) => forbidden(why, add(&format!("; accounturi={}", issuance.account))),
        Some(why) => forbidden(why, add("")),
        None if others.is_empty() => forbidden(Why::Nobody, add("")),
        None if issuance.identities.is_empty() => Verdict::Doubtful(others),
        None => forbidden(Why::Others(others), add("")),
    }
}

/// Who may issue, and with which restrictions (RFC 8659 s4.2).
#[derive(Debug)]
struct Issuer {
    domain: String,
    parameters: Vec<(String, String)>,
}

impl Issuer {
    /// `None` for nobody, which is what a malformed value stands for.
    fn parse(value: &[u8]) -> Option<Self> {
        let text = str::from_utf8(value).ok()?;
        let (domain, rest) = text.split_once(';').unwrap_or((text, ""));
        let domain = domain.trim_matches(BLANK);
        let is_domain = domain.len() <= LONGEST && domain.split('.').all(is_word);
        let parameters = rest.split(';').map(|one| one.trim_matches(BLANK)).filter(|one| !one.is_empty());
        let parameters = parameters.map(parameter).collect::<Option<_>>()?;
        is_domain.then(|| Self { domain: domain.to_ascii_lowercase(), parameters })
    }

    /// What keeps this issuer from an issuance (RFC 8657). One that is written
    /// twice cannot be met.
    fn restriction(&self, issuance: Issuance<'_>) -> Option<Why> {
        let values = |tag: &str| {
            let tagged = self.parameters.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(tag));
            tagged.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        let issuer = || self.domain.clone();
        let is_met = match values("accounturi")[..] {
            [] => true,
            [uri] => last_segment(uri) == last_segment(issuance.account),
            _ => false,
        };
        if !is_met {
            return Some(Why::Account { issuer: issuer(), account: issuance.account.to_owned() });
        }
        let written = values("validationmethods");
        let methods: Vec<_> = written.iter().flat_map(|methods| methods.split(',')).collect();
        let is_met = match written.len() {
            0 => true,
            1 => methods.iter().any(|method| issuance.methods.contains(method)),
            _ => false,
        };
        let methods = methods.into_iter().map(str::to_owned).collect();
        (!is_met).then(|| Why::Methods { issuer: issuer(), methods })
    }
}

const BLANK: [char; 2] = [' ', '\t'];

fn parameter(text: &str) -> Option<(String, String)> {
    let (tag, value) = text.split_once('=')?;
    let (tag, value) = (tag.trim_matches(BLANK), value.trim_matches(BLANK));
    let is_value = value.len() <= LONGEST && value.bytes().all(|byte| byte.is_ascii_graphic());
    (is_word(tag) && is_value).then(|| (tag.to_owned(), value.to_owned()))
}

/// Letters, digits, and hyphens between them.
fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric();
    let ends = text.bytes().next().is_some_and(is_letter) && text.bytes().last().is_some_and(is_letter);
    ends && text.bytes().all(|byte| is_letter(byte) || byte == b'-')
}

/// What tells accounts of one authority apart: it may have had other URLs for
/// them before.
fn last_segment(url: &str) -> Option<&str> {
    url.trim_end_matches('/').rsplit('/').next()
}

fn remedy(domain: &str, add: Option<&str>) -> String {
    add.map(|record| format!("; add `{domain}. CAA {record}`")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNT: &str = "https://ca.test/acct/7";

    /// Records as they are written in a zone, without the `CAA`.
    fn records(written: &[&str]) -> Vec<Caa> {
        let record = |text: &&str| {
            let mut words = text.splitn(3, ' ');
            let is_critical = words.next().unwrap() == "128";
            let tag = words.next().unwrap().to_owned();
            Caa { is_critical, tag, value: words.next().unwrap_or_default().into() }
        };
        written.iter().map(record).collect()
    }

    fn judged(written: &[&str], is_wildcard: bool, identities: &[&str]) -> Verdict {
        let identities: Vec<_> = identities.iter().map(|&identity| identity.to_owned()).collect();
        let methods = &["tls-alpn-01", "http-01"];
        let issuance = Issuance { identities: &identities, account: ACCOUNT, methods, is_wildcard };
        judge("example.com", &records(written), issuance)
    }

    /// What is told of it; empty where it is allowed.
    fn told(written: &[&str], is_wildcard: bool) -> String {
        match judged(written, is_wildcard, &["ca.test", "ca.example"]) {
            Verdict::Allowed => String::new(),
            Verdict::Doubtful(others) => panic!("{others:?}"),
            Verdict::Forbidden(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn who_is_named_may_issue() {
        for written in [
            &[][..],
            &["0 issue ca.test"],
            &["0 ISSUE CA.Test"],
            &["0 issue \t ca.example ; "],
            &["0 issue ca1.example.net", "0 issue ca.test"],
            &["0 issue ;", "0 issue ca.test"],
            &["0 issue ca.test; account=230123"],
            // What restricts other things only.
            &["0 iodef mailto:security@example.com"],
            &["0 issuewild ca1.example.net"],
            &["128 issuemail ;", "128 iodef mailto:a@example.com"],
            &["0 tbs Unknown"],
            &["1 tbs Unknown"],
            &["0 issue ca.test; accounturi=https://ca.test/acct/7"],
            &["0 issue ca.test; accounturi=https://old.ca.test/reg/7"],
            &["0 issue ca.test; validationmethods=dns-01,http-01"],
            &["0 issue ca.test; accounturi=https://ca.test/acct/8", "0 issue ca.test"],
        ] {
            assert_eq!(told(written, false), "", "{written:?}");
        }
    }

    #[test]
    fn others_may_not_and_are_told_what_to_add() {
        let add = "; add `example.com. CAA 0 issue \"ca.test\"`";
        let alone = "lets nobody issue";
        for (written, why) in [
            (&["0 issue ca1.example.net", "0 issue ca2.example.org"][..], {
                "lets only ca1.example.net, ca2.example.org issue"
            }),
            (&["0 issue ;"], alone),
            (&["0 issue"], alone),
            (&["0 issue %%%%%"], alone),
            (&["0 issue ca.test; account"], alone),
            (&["0 issue ca.test; a_b=c"], alone),
            (&["0 issue -ca.test"], alone),
            (&["0 issue ca.test "], ""),
            (&["0 issue ca.test; validationmethods=dns-01"], {
                "lets ca.test issue only what is proven by dns-01"
            }),
            (&["0 issue ca.test; validationmethods=http-01; validationmethods=http-01"], {
                "lets ca.test issue only what is proven by http-01, http-01"
            }),
        ] {
            let expected = match why {
                "" => String::new(),
                why => format!("the CAA record of example.com {why}{add}"),
            };
            assert_eq!(told(written, false), expected, "{written:?}");
        }
        let many: Vec<_> = (0..10).map(|n| format!("0 issue ca{n}.test")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(told(&many, false).contains(", ca7.test and 2 more issue"));
    }

    #[test]
    fn another_account_is_another() {
        let told = told(&["0 issue ca.test; accounturi=https://ca.test/acct/8"], false);
        let expected = "the CAA record of example.com lets ca.test issue to another account only, not to \
             https://ca.test/acct/7; add `example.com. CAA 0 issue \"ca.test; \
             accounturi=https://ca.test/acct/7\"`";
        assert_eq!(told, expected);
    }

    #[test]
    fn what_nobody_knows_and_is_critical_forbids() {
        // The example of RFC 8659 s4.5.
        let told = told(&["0 issue ca.test", "128 tbs Unknown"], false);
        let expected =
            "the CAA record of example.com has the critical property `tbs`, which no authority knows";
        assert_eq!(told, expected);
    }

    #[test]
    fn wildcards_have_a_property_of_their_own() {
        let others = |tag| {
            format!(
                "the CAA record of example.com lets only other.test issue; \
                 add `example.com. CAA 0 {tag} \"ca.test\"`"
            )
        };
        for (written, plain, wildcard) in [
            (&["0 issue ca.test"][..], String::new(), String::new()),
            (&["0 issue other.test"], others("issue"), others("issue")),
            (&["0 issue ca.test", "0 issuewild other.test"], String::new(), others("issuewild")),
            (&["0 issue other.test", "0 issuewild ca.test"], others("issue"), String::new()),
            (&["0 issuewild other.test"], String::new(), others("issuewild")),
        ] {
            assert_eq!((told(written, false), told(written, true)), (plain, wildcard), "{written:?}");
        }
    }

    #[test]
    fn an_authority_without_a_name_is_forbidden_only_what_all_are() {
        let other = || vec!["other.test".to_owned()];
        assert_eq!(judged(&["0 issue other.test"], false, &[]), Verdict::Doubtful(other()));
        assert_eq!(judged(&["0 issuewild other.test"], false, &[]), Verdict::Allowed);
        for written in ["0 issue ;", "128 tbs Unknown"] {
            let Verdict::Forbidden(refusal) = judged(&[written], false, &[]) else { panic!("{written}") };
            assert!(!refusal.to_string().contains("add"), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_record_is_told_in_one_line(value in any::<Vec<u8>>(), is_critical: bool) {
            let pieces = [b"ca.test; accounturi=".as_slice(), b"other.test; validationmethods=", b""];
            for start in pieces {
                let value = [start, &value].concat();
                let record = Caa { is_critical, tag: ISSUE.to_owned(), value };
                let identities = ["ca.test".to_owned(), "other.test".to_owned()];
                let issuance = Issuance { identities: &identities, account: ACCOUNT, methods: &[], is_wildcard: false };
                if let Verdict::Forbidden(refusal) = judge("example.com", &[record], issuance) {
                    let told = refusal.to_string();
                    prop_assert!(told.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{told:?}");
                }
            }
        }
    }

    #[test]
    fn the_tree_is_climbed_to_below_the_root() {
        let domains = |name| domains(name).collect::<Vec<_>>();
        assert_eq!(domains("a.b.example.com"), ["a.b.example.com", "b.example.com", "example.com", "com"]);
        assert_eq!(domains("*.example.com"), ["example.com", "com"]);
        assert_eq!(domains("localhost"), ["localhost"]);
    }
}
