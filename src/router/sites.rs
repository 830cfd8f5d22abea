//! Finds the site of a host: by its exact name, else by the wildcard of its
//! parent domain, else the one for all. The port plays no part.

use std::collections::HashMap;

/// Values by the names of sites.
#[derive(Debug)]
pub(super) struct Sites<T> {
    exact: HashMap<Box<str>, T, foldhash::fast::RandomState>,
    /// By what follows `*.`.
    wildcards: HashMap<Box<str>, T, foldhash::fast::RandomState>,
    any: Option<T>,
}

impl<T> Default for Sites<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcards: HashMap::default(), any: None }
    }
}

impl<T> Sites<T> {
    /// Adds `name`: a host, `*.` and a host, or `*`; in lower case.
    pub(super) fn insert(&mut self, name: &str, value: T) {
        if name == "*" {
            self.any = Some(value);
        } else if let Some(parent) = name.strip_prefix("*.") {
            self.wildcards.insert(parent.into(), value);
        } else {
            self.exact.insert(name.into(), value);
        }
    }

    /// The value for a host in normal form. A wildcard stands for one label.
    pub(super) fn find(&self, host: &str) -> Option<&T> {
        self.exact
            .get(host)
            .or_else(|| host.split_once('.').and_then(|(_, parent)| self.wildcards.get(parent)))
            .or(self.any.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_wins() {
        let mut sites = Sites::default();
        for (name, value) in [("a.test", 1), ("*.a.test", 2), ("x.a.test", 3)] {
            sites.insert(name, value);
        }
        assert_eq!(sites.find("a.test"), Some(&1));
        assert_eq!(sites.find("y.a.test"), Some(&2));
        assert_eq!(sites.find("x.a.test"), Some(&3));
        assert_eq!(sites.find("z.y.a.test"), None);
        assert_eq!(sites.find("b.test"), None);
        sites.insert("*", 4);
        assert_eq!(sites.find("b.test"), Some(&4));
        assert_eq!(sites.find("[::1]"), Some(&4));
    }
}
