//! How certificates are ordered: as long as that stays as it is, what is planned for
//! one of them goes on over a reload; once it is other, who failed tries at once.

use crate::base::FileMark;
use crate::config::{Config, model::Acme};

/// What a config says of orders, and the file that it leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Terms {
    acme: Acme,
    email: Option<String>,
    /// The further trust roots, as they were.
    roots: Option<FileMark>,
}

impl Terms {
    /// Those of `config` now. Blocks on the disk.
    pub(super) fn of(config: &Config) -> Self {
        let roots = config.acme.ca.as_deref().and_then(FileMark::of);
        Self { acme: config.acme.clone(), email: config.email.clone(), roots }
    }

    /// The directory of an ACME server.
    pub(super) fn directory(&self, server: usize) -> Option<&str> {
        self.acme.directories.get(server).map(String::as_str)
    }

    /// The ACME server of a directory, if it is asked.
    pub(super) fn server(&self, directory: &str) -> Option<usize> {
        self.acme.directories.iter().position(|other| other == directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::testing;

    #[test]
    fn they_are_other_with_the_settings_the_address_and_the_roots() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        let config = |change: &dyn Fn(&mut Config)| {
            let mut config = testing::config(directory.path(), &[]);
            config.acme.ca = Some(ca.clone());
            change(&mut config);
            config
        };
        let before = Terms::of(&config(&|_| {}));
        assert_eq!(Terms::of(&config(&|_| {})), before);
        assert_ne!(Terms::of(&config(&|config| config.email = Some("me@a.test".into()))), before);
        assert_ne!(Terms::of(&config(&|config| config.acme.preflight = !config.acme.preflight)), before);
        std::fs::write(&ca, "roots").unwrap();
        assert_ne!(Terms::of(&config(&|_| {})), before);
    }
}
