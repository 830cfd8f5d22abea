//! What was found before an order that may have it fail, site by site: told
//! with the state of the certificate until there is one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are told of one site, each of so many names.
const MOST: usize = 8;

/// Those of so many sites and hosts are kept; others are logged alone.
const MOST_SITES: usize = 4096;

/// The warnings that stand, by site.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<HashMap<String, Vec<String>>>);

/// The warnings of one look, each with the names that it goes for.
#[derive(Debug, Default)]
pub(super) struct Warned(Vec<(String, Vec<String>)>);

impl Warnings {
    /// These stand for a site from now on, in the place of those before.
    pub(super) fn put(&self, site: &str, found: Vec<String>) {
        let mut all = self.all();
        if found.is_empty() {
            all.remove(site);
            return;
        }
        if all.get(site).is_some_and(|before| *before == found) {
            return;
        }
        for warning in &found {
            tracing::warn!(site, warning, "an order may fail");
        }
        if all.len() < MOST_SITES || all.contains_key(site) {
            all.insert(site.to_owned(), found);
        }
    }

    /// None stands for a site any more.
    pub(super) fn clear(&self, site: &str) {
        self.all().remove(site);
    }

    /// Those of a site.
    pub(super) fn of(&self, site: &str) -> Vec<String> {
        self.all().get(site).cloned().unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Warned {
    /// What is to be said of a name.
    pub(super) fn add(&mut self, name: &str, what: String) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, names)) if names.iter().any(|known| known == name) => {}
            Some((_, names)) => names.push(name.to_owned()),
            None => self.0.push((what, vec![name.to_owned()])),
        }
    }

    /// A line for each, beginning with its names.
    pub(super) fn told(self) -> Vec<String> {
        let left_out = self.0.len().saturating_sub(MOST);
        let line = |(what, names): (String, Vec<String>)| format!("{}: {what}", listed(&names, ", "));
        let mut told: Vec<_> = self.0.into_iter().take(MOST).map(line).collect();
        if left_out > 0 {
            told.push(format!("and {left_out} more warnings"));
        }
        told
    }
}

/// The first few of a list, and how many there are besides.
pub(super) fn listed(items: &[String], between: &str) -> String {
    let told = items.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(between);
    match items.len().saturating_sub(MOST) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_said_once_for_all_names() {
        let mut warned = Warned::default();
        for name in ["a.test", "b.test", "a.test"] {
            warned.add(name, "no such name".to_owned());
        }
        warned.add("c.test", "elsewhere".to_owned());
        assert_eq!(warned.told(), ["a.test, b.test: no such name", "c.test: elsewhere"]);

        let mut warned = Warned::default();
        (0..20).for_each(|n| warned.add("a.test", n.to_string()));
        assert_eq!(warned.told().last().unwrap(), "and 12 more warnings");
        let mut warned = Warned::default();
        (0..20).for_each(|n| warned.add(&format!("{n}.test"), "x".to_owned()));
        assert!(warned.told()[0].ends_with("7.test and 12 more: x"));
    }

    #[test]
    fn the_last_look_counts_until_it_is_cleared() {
        let warnings = Warnings::default();
        warnings.put("a.test", vec!["one".to_owned()]);
        warnings.put("a.test", vec!["two".to_owned()]);
        assert_eq!((warnings.of("a.test"), warnings.of("b.test")), (vec!["two".to_owned()], vec![]));
        warnings.clear("a.test");
        assert!(warnings.of("a.test").is_empty());
    }
}
