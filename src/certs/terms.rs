//! How certificates are ordered, and the file that this leads to: what a config says of it
//! can stay as it is where the file does not.

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
