//! What is known before a new order: whether the names lead here, which is worth
//! a warning, and whether CAA records forbid the authority, which ends the order
//! before it is made. Whatever DNS does not answer is a warning, too.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::caa::{self, CaaRefusal, Issuance, Verdict};
use super::challenge::suits;
use super::lookup::{self, Answers, PATIENCE, Question, Relevant};
use super::server::{Ordered, Server};
use super::warnings::{Warned, listed};
use crate::certs::error::{CertError, registered_name};
use crate::config::model::AcmeChallenge;
use crate::resolve::{Found, NameServers, is_here};

/// So many addresses of one name are looked at.
const ADDRESSES: usize = 32;

impl Server {
    /// Fails if an order would. What may have it fail is kept for who looks at the
    /// certificate. Ends within two seconds. Cancel safe.
    pub(super) async fn preflight(&self, account: &str, wanted: Ordered<'_>) -> Result<(), CertError> {
        let Ordered { site, names, .. } = wanted;
        if !self.config.preflight {
            self.warnings.clear(site);
            return Ok(());
        }
        let servers = match NameServers::new(self.config.resolver, PATIENCE) {
            Ok(servers) => servers,
            Err(error) => {
                self.warnings.put(site, vec![format!("nothing is looked up before an order: {error}")]);
                return Ok(());
            }
        };
        let (challenges, mut warned) = (&self.config.challenges, Warned::default());
        let answers = lookup::ask(&servers, questions(names, challenges)).await;
        reached(names, &answers, challenges, is_here, &mut warned);
        let (identities, challenges) = (self.identities.known(), challenges.as_slice());
        let permitted = permitted(
            names,
            &answers,
            Authority { identities: &identities, account, challenges },
            &mut warned,
        );
        self.warnings.put(site, warned.told());
        permitted.map_err(CertError::Caa)
    }
}

fn questions<'a>(names: &'a [String], challenges: &[AcmeChallenge]) -> BTreeSet<Question<'a>> {
    let mut questions = BTreeSet::new();
    for name in names.iter().filter(|name| !is_address(name)) {
        questions.extend(caa::domains(name).map(Question::Caa));
        if is_connected_to(name, challenges) {
            questions.insert(Question::Addresses(name));
        }
    }
    questions
}

fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

/// True for a name that is proven by a connection to where it leads.
fn is_connected_to(name: &str, challenges: &[AcmeChallenge]) -> bool {
    let connects = |challenge: &AcmeChallenge| *challenge != AcmeChallenge::Dns01 && suits(*challenge, name);
    !is_address(name) && challenges.iter().any(connects)
}

/// Warns of names that do not lead here.
fn reached(
    names: &[String],
    answers: &Answers,
    challenges: &[AcmeChallenge],
    is_here: impl Fn(IpAddr) -> bool,
    warned: &mut Warned,
) {
    for name in names.iter().filter(|name| is_connected_to(name, challenges)) {
        let what = match answers.addresses(name) {
            Err(why) => format!("could not be looked up ({why})"),
            Ok(Found::NoName) => "DNS has no such name".to_owned(),
            Ok(Found::Records(addresses)) if addresses.is_empty() => "DNS has no address for it".to_owned(),
            Ok(Found::Records(addresses)) => {
                if addresses.iter().take(ADDRESSES).any(|address| is_here(*address)) {
                    continue;
                }
                let told: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
                let told = listed(&told, " and ");
                format!("leads to {told}, not to this machine: see that what arrives there comes here")
            }
        };
        warned.add(name, what);
    }
}

/// Who is to certify the names.
#[derive(Clone, Copy)]
struct Authority<'a> {
    identities: &'a [String],
    account: &'a str,
    challenges: &'a [AcmeChallenge],
}

/// Whether CAA records let an authority certify all names; a warning where that
/// is not known.
fn permitted(
    names: &[String],
    answers: &Answers,
    authority: Authority<'_>,
    warned: &mut Warned,
) -> Result<(), CaaRefusal> {
    let Authority { identities, account, challenges } = authority;
    let mut refusal = None;
    for name in names.iter().filter(|name| !is_address(name)) {
        let (domain, records) = match answers.caa(name) {
            Relevant::None => continue,
            Relevant::At(domain, records) => (domain, records),
            Relevant::Unknown(domain, why) => {
                warned.add(domain, format!("its CAA record could not be looked up ({why})"));
                continue;
            }
        };
        let methods = challenges.iter().filter(|challenge| suits(**challenge, name));
        let methods: Vec<_> = methods.map(|challenge| registered_name(*challenge)).collect();
        let is_wildcard = name.starts_with("*.");
        match caa::judge(domain, records, Issuance { identities, account, methods: &methods, is_wildcard }) {
            Verdict::Allowed => {}
            Verdict::Doubtful(others) => {
                let others = listed(&others, ", ");
                let what = "issue, and the authority does not tell its name";
                warned.add(domain, format!("its CAA record lets only {others} {what}"));
            }
            Verdict::Forbidden(why) => refusal = refusal.or(Some(why)),
        }
    }
    refusal.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::super::lookup::tests::answers;
    use super::*;
    use crate::resolve::Caa;

    const ALL: [AcmeChallenge; 3] = [AcmeChallenge::TlsAlpn01, AcmeChallenge::Http01, AcmeChallenge::Dns01];

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    fn addresses(written: &[&str]) -> Found<IpAddr> {
        Found::Records(written.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn each_thing_is_asked_once_and_only_what_counts() {
        use Question::{Addresses, Caa};
        let asked = names(["a.test", "www.a.test", "*.a.test", "192.0.2.1", "::1"]);
        let all =
            [Caa("a.test"), Caa("test"), Caa("www.a.test"), Addresses("a.test"), Addresses("www.a.test")];
        assert_eq!(questions(&asked, &ALL), BTreeSet::from(all));
        let by_dns = questions(&asked, &ALL[2..]);
        assert_eq!(by_dns, BTreeSet::from([Caa("a.test"), Caa("test"), Caa("www.a.test")]));
    }

    #[test]
    fn a_name_that_does_not_lead_here_is_warned_of() {
        let here = |address: IpAddr| address.to_string() == "192.0.2.1";
        let elsewhere = |addresses: &str| {
            format!(
                "x.test: leads to {addresses}, not to this machine: see that what arrives there comes here"
            )
        };
        for (found, expected) in [
            (Ok(addresses(&["192.0.2.1"])), String::new()),
            (Ok(addresses(&["192.0.2.7", "2001:db8::7", "192.0.2.1"])), String::new()),
            (Ok(addresses(&["203.0.113.7"])), elsewhere("203.0.113.7")),
            (Ok(addresses(&["203.0.113.7", "2001:db8::7"])), elsewhere("203.0.113.7 and 2001:db8::7")),
            (Ok(addresses(&[])), "x.test: DNS has no address for it".to_owned()),
            (Ok(Found::NoName), "x.test: DNS has no such name".to_owned()),
            (Err("it is out"), "x.test: could not be looked up (it is out)".to_owned()),
        ] {
            let mut warned = Warned::default();
            let asked = names(["x.test", "*.x.test", "192.0.2.9"]);
            reached(&asked, &answers(&[("x.test", found.clone())], &[]), &ALL, here, &mut warned);
            assert_eq!(warned.told().concat(), expected, "{found:?}");
        }
        let mut warned = Warned::default();
        reached(&names(["x.test"]), &answers(&[], &[]), &ALL[2..], here, &mut warned);
        assert!(warned.told().is_empty());
    }

    #[test]
    fn one_name_that_must_not_be_certified_is_enough() {
        let record = |value: &str| Caa { is_critical: false, tag: "issue".to_owned(), value: value.into() };
        let found = answers(
            &[],
            &[
                ("test", Ok(Vec::new())),
                ("own.test", Ok(vec![record("ca.test")])),
                ("other.test", Ok(vec![record("other-ca.test")])),
                ("by-dns.test", Ok(vec![record("ca.test; validationmethods=dns-01")])),
                ("broken.test", Err("it is out")),
            ],
        );
        let identities = names(["ca.test"]);
        let asked = |asked: &[&str], identities: &[String], challenges: &[AcmeChallenge]| {
            let mut warned = Warned::default();
            let asked: Vec<_> = asked.iter().map(|&name| name.to_owned()).collect();
            let authority = Authority { identities, account: "https://ca.test/1", challenges };
            let permitted = permitted(&asked, &found, authority, &mut warned);
            let refusal = permitted.err().map(|refusal| refusal.to_string()).unwrap_or_default();
            (refusal, warned.told().join("; "))
        };
        let none = || (String::new(), String::new());
        assert_eq!(asked(&["own.test", "none.own.test", "192.0.2.1"], &identities, &ALL).0, "");
        assert_eq!(asked(&["own.test", "by-dns.test", "*.by-dns.test"], &identities, &ALL), none());
        let (refusal, _) = asked(&["own.test", "broken.test", "other.test"], &identities, &ALL);
        assert!(
            refusal.starts_with("the CAA record of other.test lets only other-ca.test issue"),
            "{refusal}"
        );
        let (refusal, _) = asked(&["by-dns.test"], &identities, &ALL[..2]);
        assert!(refusal.contains("only what is proven by dns-01"), "{refusal}");
        let (_, warning) = asked(&["own.test", "broken.test", "*.broken.test"], &identities, &ALL);
        assert_eq!(warning, "broken.test: its CAA record could not be looked up (it is out)");
        let (refusal, warning) = asked(&["other.test"], &[], &ALL);
        assert!(refusal.is_empty() && warning.contains("lets only other-ca.test issue"), "{warning}");
    }
}
