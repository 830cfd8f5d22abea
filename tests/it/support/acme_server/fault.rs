//! What can go wrong on purpose, and where.

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RenewalInfo,
}

/// What becomes of a request instead of its effect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A problem `serverInternal` with this status and `Retry-After`.
    Status(u16, Option<&'static str>),
    /// A problem of this type, which is the last part of its URN, with this
    /// status and `Retry-After`.
    Problem(&'static str, u16, Option<&'static str>),
    /// A page of HTML with 200.
    Garbage,
    /// JSON with 200, in the place of what belongs there.
    Json(&'static str),
    /// No answer, on a connection that stays.
    Hang,
    /// No answer, and the end of the connection.
    Close,
}

/// A fault that is switched on.
pub(super) struct Outage {
    pub(super) fault: Fault,
    /// For how many more requests, if not for all.
    pub(super) left: Option<usize>,
}

impl Outage {
    /// The fault for the next request.
    pub(super) fn strike(&mut self) -> Option<Fault> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        Some(self.fault)
    }
}
