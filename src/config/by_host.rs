//! Which of the names in a config a host goes by: its exact name, else the
//! wildcard of its parent domain, else that of any host. The port plays no part.

use std::collections::HashMap;

/// Values by the names of sites.
#[derive(Debug)]
pub struct ByHost<T> {
    exact: HashMap<Box<str>, T, foldhash::fast::RandomState>,
    /// By what follows `*.`.
    wildcards: HashMap<Box<str>, T, foldhash::fast::RandomState>,
    any: Option<T>,
}

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcards: HashMap::default(), any: None }
    }
}

impl<T> ByHost<T> {
    /// Adds `name`: a host, `*.` and a host, or `*`; in lower case.
    pub fn insert(&mut self, name: &str, value: T) {
        if name == "*" {
            self.any = Some(value);
        } else if let Some(parent) = name.strip_prefix("*.") {
            self.wildcards.insert(parent.into(), value);
        } else {
            self.exact.insert(name.into(), value);
        }
    }

    /// The value for a host in normal form. A wildcard stands for one label.
    pub fn find(&self, host: &str) -> Option<&T> {
        self.find_named(host).or(self.any())
    }

    /// The same, unless only `*` stands for the host.
    pub fn find_named(&self, host: &str) -> Option<&T> {
        let by_wildcard = || host.split_once('.').and_then(|(_, parent)| self.wildcards.get(parent));
        self.exact.get(host).or_else(by_wildcard)
    }

    /// The value for `*`.
    pub fn any(&self) -> Option<&T> {
        self.any.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_wins() {
        let mut hosts = ByHost::default();
        for (name, value) in [("a.test", 1), ("*.a.test", 2), ("x.a.test", 3)] {
            hosts.insert(name, value);
        }
        assert_eq!(hosts.find("a.test"), Some(&1));
        assert_eq!(hosts.find("y.a.test"), Some(&2));
        assert_eq!(hosts.find("x.a.test"), Some(&3));
        assert_eq!(hosts.find("z.y.a.test"), None);
        assert_eq!(hosts.find("b.test"), None);
        hosts.insert("*", 4);
        assert_eq!(hosts.find("b.test"), Some(&4));
        assert_eq!(hosts.find("[::1]"), Some(&4));
    }
}
