//! Asks DNS all that a pre-flight wants to know, side by side and for no longer
//! than two seconds. What has not come by then is missing; what any of it means
//! is decided in `preflight`.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::caa::domains;
use crate::resolve::{Caa, Found, NameServers, ResolveError};

/// All of it takes no longer.
const WITHIN: Duration = Duration::from_secs(2);

/// How long a DNS server has until it is asked again, once.
pub(super) const PATIENCE: Duration = Duration::from_millis(900);

/// So many look-ups run side by side.
const SIDE_BY_SIDE: usize = 16;

/// What is said of an answer that did not come.
const SILENCE: &str = "no answer in time";

/// Looks names up.
pub(super) trait Lookup: Sync {
    /// The addresses of a name.
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found<IpAddr>, ResolveError>>;

    /// The CAA records at a domain itself.
    fn caa<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<Found<Caa>, ResolveError>>;
}

impl Lookup for NameServers {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found<IpAddr>, ResolveError>> {
        Box::pin(self.addresses(name))
    }

    fn caa<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<Found<Caa>, ResolveError>> {
        Box::pin(self.caa(domain))
    }
}

/// What is asked; CAA first, which can end an order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question<'a> {
    /// The records at a domain.
    Caa(&'a str),
    /// The addresses of a name.
    Addresses(&'a str),
}

enum Answer {
    Caa(String, Result<Vec<Caa>, String>),
    Addresses(String, Result<Found<IpAddr>, String>),
}

/// What was answered, or why not, by name.
#[derive(Debug, Default)]
pub(super) struct Answers {
    addresses: HashMap<String, Result<Found<IpAddr>, String>>,
    caa: HashMap<String, Result<Vec<Caa>, String>>,
}

/// The CAA records that count for a name (RFC 8659 s3).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Relevant<'a> {
    /// There are none.
    None,
    /// Those of this domain.
    At(&'a str, &'a [Caa]),
    /// Those of this domain might be, and could not be looked up, for this reason.
    Unknown(&'a str, &'a str),
}

impl Answers {
    /// The addresses of a name, or why they are not known.
    pub(super) fn addresses(&self, name: &str) -> Result<&Found<IpAddr>, &str> {
        self.addresses.get(name).map_or(Err(SILENCE), |found| found.as_ref().map_err(String::as_str))
    }

    /// The CAA records that count for a name.
    pub(super) fn caa<'a>(&'a self, name: &'a str) -> Relevant<'a> {
        for domain in domains(name) {
            match self.caa.get(domain) {
                Some(Ok(records)) if records.is_empty() => {}
                Some(Ok(records)) => return Relevant::At(domain, records),
                Some(Err(why)) => return Relevant::Unknown(domain, why),
                None => return Relevant::Unknown(domain, SILENCE),
            }
        }
        Relevant::None
    }

    fn note(&mut self, answer: Answer) {
        match answer {
            Answer::Caa(domain, records) => {
                self.caa.insert(domain, records);
            }
            Answer::Addresses(name, found) => {
                self.addresses.insert(name, found);
            }
        }
    }
}

/// The answers that come in time. Cancel safe.
pub(super) async fn ask(lookup: &impl Lookup, questions: BTreeSet<Question<'_>>) -> Answers {
    let asked: Vec<_> = questions.into_iter().map(|question| answer(lookup, question)).collect();
    let mut asked = stream::iter(asked).buffer_unordered(SIDE_BY_SIDE);
    let mut answers = Answers::default();
    let all = async {
        while let Some(answer) = asked.next().await {
            answers.note(answer);
        }
    };
    let _whatever_came_counts = tokio::time::timeout(WITHIN, all).await;
    answers
}

fn answer<'a>(lookup: &'a impl Lookup, question: Question<'a>) -> BoxFuture<'a, Answer> {
    let told = |error: ResolveError| error.to_string();
    Box::pin(async move {
        match question {
            Question::Caa(domain) => {
                let found = lookup.caa(domain).await;
                Answer::Caa(domain.to_owned(), found.map(Found::records).map_err(told))
            }
            Question::Addresses(name) => {
                Answer::Addresses(name.to_owned(), lookup.addresses(name).await.map_err(told))
            }
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::time::sleep;

    use super::*;
    use crate::base::{Clock, SystemClock};

    /// Answers made up beforehand; the rest is never answered.
    pub(in crate::certs::acme) fn answers(
        addresses: &[(&str, Result<Found<IpAddr>, &str>)],
        caa: &[(&str, Result<Vec<Caa>, &str>)],
    ) -> Answers {
        let addresses =
            addresses.iter().cloned().map(|(name, found)| (name.to_owned(), found.map_err(str::to_owned)));
        let caa = caa.iter().cloned().map(|(name, found)| (name.to_owned(), found.map_err(str::to_owned)));
        Answers { addresses: addresses.collect(), caa: caa.collect() }
    }

    /// Takes a second for each answer, and for ever where it says `hang`.
    #[derive(Default)]
    struct Slow {
        running: AtomicUsize,
        most: AtomicUsize,
    }

    impl Slow {
        async fn answer<T>(&self, name: &str) -> Result<Found<T>, ResolveError> {
            self.most.fetch_max(self.running.fetch_add(1, Relaxed) + 1, Relaxed);
            sleep(if name.starts_with("hang") { Duration::MAX } else { Duration::from_millis(900) }).await;
            self.running.fetch_sub(1, Relaxed);
            Ok(Found::NoName)
        }
    }

    impl Lookup for Slow {
        fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found<IpAddr>, ResolveError>> {
            Box::pin(self.answer(name))
        }

        fn caa<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<Found<Caa>, ResolveError>> {
            Box::pin(self.answer(domain))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_come_within_two_seconds_is_missing() {
        let (slow, start) = (Slow::default(), SystemClock.now());
        let names: Vec<_> = (10..90).map(|n| format!("{n}.test")).collect();
        let questions = ["hang.test", "test"].map(Question::Caa).into_iter();
        let questions = questions.chain(names.iter().map(|name| Question::Addresses(name)));
        let answers = ask(&slow, questions.collect()).await;
        assert_eq!(SystemClock.now() - start, WITHIN);
        assert_eq!(slow.most.load(Relaxed), SIDE_BY_SIDE);
        assert_eq!(answers.addresses("10.test"), Ok(&Found::NoName));
        assert_eq!(answers.addresses("89.test"), Err("no answer in time"));
        assert_eq!(answers.caa("hang.test"), Relevant::Unknown("hang.test", "no answer in time"));
        assert_eq!(answers.caa("test"), Relevant::None);
    }

    #[test]
    fn the_nearest_records_count_and_an_unknown_place_hides_those_above() {
        let record = Caa { is_critical: false, tag: "issue".to_owned(), value: Vec::new() };
        let all = [record];
        let answers = answers(
            &[],
            &[
                ("test", Ok(Vec::new())),
                ("shop.test", Ok(all.to_vec())),
                ("www.shop.test", Ok(Vec::new())),
                ("broken.shop.test", Err("broken")),
            ],
        );
        assert_eq!(answers.caa("shop.test"), Relevant::At("shop.test", &all));
        assert_eq!(answers.caa("www.shop.test"), Relevant::At("shop.test", &all));
        assert_eq!(answers.caa("*.www.shop.test"), Relevant::At("shop.test", &all));
        assert_eq!(answers.caa("broken.shop.test"), Relevant::Unknown("broken.shop.test", "broken"));
        assert_eq!(answers.caa("test"), Relevant::None);
    }
}
