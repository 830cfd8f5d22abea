//! Why a text is not what its key needs; where it stands is added by whoever
//! knows the span.

/// A reason and, where there is one, the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Stands under the caret.
    pub(crate) reason: String,
    /// What to write in place of it.
    pub(crate) help: Option<String>,
}

impl Fault {
    /// A fault without a way out that could be named.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), help: None }
    }

    /// Adds what to write in place of it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
