//! The cases that are known not to pass: a ratchet that only goes up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::case::{Case, Kind};
use crate::run::Verdict;

/// A case that is known not to pass.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotPassed {
    case: String,
    kind: Kind,
    reason: String,
}

#[derive(Deserialize)]
struct List {
    not_passed: Vec<NotPassed>,
}

impl NotPassed {
    /// What `expected.toml` lists.
    pub(crate) fn of_the_public_suite() -> Vec<Self> {
        let list: List = toml::from_str(include_str!("expected.toml")).unwrap();
        list.not_passed
    }
}

/// Fails where the verdicts are not as listed.
pub(crate) fn compare(listed: &[NotPassed], cases: &[Case], verdicts: &BTreeMap<String, Verdict>) {
    let mut wrong = Vec::new();
    let known: BTreeSet<&str> = listed.iter().map(|listed| listed.case.as_str()).collect();
    for case in cases {
        if let Err(why) = &verdicts[&case.id]
            && !known.contains(case.id.as_str())
        {
            wrong.push(format!("{} ({:?}) does not pass: {why}", case.id, case.kind));
        }
    }
    for NotPassed { case: id, kind, reason } in listed {
        match cases.iter().find(|case| case.id == *id) {
            None => wrong.push(format!("{id} is listed and is no case")),
            Some(case) if case.kind != *kind => wrong.push(format!("{id} is {:?}", case.kind)),
            Some(_) if verdicts[id].is_ok() => wrong.push(format!("{id} passes and is listed")),
            Some(_) if reason.trim().is_empty() => wrong.push(format!("{id} is listed without a reason")),
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} to put right:\n{}", wrong.len(), wrong.join("\n"));
}
