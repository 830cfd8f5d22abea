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
}
