//! What the server knows: accounts, orders, authorizations and challenges, and
//! how their states follow from each other (RFC 8555 s7.1.6). The index of each
//! is its name in URLs.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::Value;

use super::fault::{Fault, Outage, Step};
use super::issuer::Issued;
use super::jws::{Jwk, random_text};
use super::problem::Problem;
use super::validation::{ChallengeType, Validation};

/// The state of an order, an authorization or a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Deactivated,
}

/// What a test sees of an account.
#[derive(Clone, Debug)]
pub(crate) struct AccountRecord {
    /// As the client gave them.
    pub(crate) contact: Vec<String>,
    /// The key id of the external account that it is bound to.
    pub(crate) external_account: Option<String>,
}

/// What a test sees of an order.
#[derive(Clone, Debug)]
pub(crate) struct OrderRecord {
    pub(crate) identifiers: Vec<String>,
    pub(crate) profile: Option<String>,
    /// The certificate that it replaces (RFC 9773 s5).
    pub(crate) replaces: Option<String>,
    pub(crate) status: Status,
}

/// What a certificate can be for; `*.` begins the value of a wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identifier {
    Dns(String),
    Ip(IpAddr),
}

pub(super) struct State {
    pub(super) validation: Validation,
    pub(super) lifetime: (time::Duration, time::Duration),
    pub(super) renewal_window: Option<(SystemTime, SystemTime)>,
    pub(super) renewal_retry_after: Option<&'static str>,
    pub(super) undecided: Option<&'static str>,
    pub(super) reuse_authorizations: bool,
    pub(super) outages: HashMap<Step, Outage>,
    pub(super) requests: HashMap<Step, usize>,
    pub(super) nonces: Nonces,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: Vec<Order>,
    pub(super) authorizations: Vec<Authorization>,
    pub(super) challenges: Vec<Challenge>,
    pub(super) certificates: Vec<Certificate>,
}

pub(super) struct Account {
    pub(super) key: Jwk,
    pub(super) record: AccountRecord,
}

pub(super) struct Order {
    pub(super) account: usize,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) authorizations: Vec<usize>,
    pub(super) profile: Option<String>,
    pub(super) replaces: Option<String>,
    pub(super) status: Status,
    pub(super) certificate: Option<usize>,
}

pub(super) struct Authorization {
    pub(super) account: usize,
    pub(super) identifier: Identifier,
    pub(super) challenges: Vec<usize>,
    pub(super) status: Status,
}

pub(super) struct Challenge {
    pub(super) authorization: usize,
    pub(super) kind: ChallengeType,
    pub(super) token: String,
    pub(super) status: Status,
    pub(super) error: Option<Value>,
}

pub(super) struct Certificate {
    pub(super) account: usize,
    pub(super) issued: Issued,
}

/// Nonces that were given out and not used yet (RFC 8555 s6.5).
#[derive(Default)]
pub(super) struct Nonces {
    unused: HashSet<String>,
    pub(super) rejected_percent: u32,
    /// Reaches 100 whenever one is to be rejected: chance would now and then
    /// reject more in a row than a good client tries.
    due: u32,
}

impl State {
    pub(super) fn new(validation: Validation) -> Self {
        Self {
            validation,
            lifetime: (time::Duration::hours(-1), time::Duration::days(90)),
            renewal_window: None,
            renewal_retry_after: Some("21600"),
            undecided: None,
            reuse_authorizations: false,
            outages: HashMap::new(),
            requests: HashMap::new(),
            nonces: Nonces::default(),
            accounts: Vec::new(),
            orders: Vec::new(),
            authorizations: Vec::new(),
            challenges: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Counts a request and says what is to go wrong with it.
    pub(super) fn arrive(&mut self, step: Step) -> Option<Fault> {
        *self.requests.entry(step).or_default() += 1;
        self.outages.get_mut(&step)?.strike()
    }

    /// The authorization that a new order needs for `identifier`: a valid one
    /// of before if it may be used again.
    pub(super) fn authorize(
        &mut self,
        account: usize,
        identifier: &Identifier,
        offered: &[ChallengeType],
    ) -> usize {
        let earlier = self.authorizations.iter().position(|authorization| {
            authorization.status == Status::Valid
                && authorization.account == account
                && authorization.identifier == *identifier
        });
        if let Some(earlier) = earlier.filter(|_| self.reuse_authorizations) {
            return earlier;
        }
        let authorization = self.authorizations.len();
        let first = self.challenges.len();
        self.challenges.extend(offered.iter().map(|kind| Challenge {
            authorization,
            kind: *kind,
            token: random_text(),
            status: Status::Pending,
            error: None,
        }));
        self.authorizations.push(Authorization {
            account,
            identifier: identifier.clone(),
            challenges: (first..self.challenges.len()).collect(),
            status: Status::Pending,
        });
        authorization
    }

    /// Concludes a challenge and what hangs on it.
    pub(super) fn conclude(&mut self, challenge: usize, outcome: &Result<(), Problem>) {
        let challenge = &mut self.challenges[challenge];
        challenge.status = if outcome.is_ok() { Status::Valid } else { Status::Invalid };
        challenge.error = outcome.as_ref().err().map(Problem::document);
        let authorization = &mut self.authorizations[challenge.authorization];
        // Another challenge, or the client, may have been faster.
        if authorization.status == Status::Pending {
            authorization.status = challenge.status;
        }
        self.settle_orders();
    }

    /// Says why a challenge is not met that may be claimed again.
    pub(super) fn leave_open(&mut self, challenge: usize, problem: &Problem) {
        let challenge = &mut self.challenges[challenge];
        (challenge.status, challenge.error) = (Status::Pending, Some(problem.document()));
    }

    /// Has the states of orders follow from those of their authorizations.
    pub(super) fn settle_orders(&mut self) {
        for order in self.orders.iter_mut().filter(|order| order.status == Status::Pending) {
            let statuses = || order.authorizations.iter().map(|index| self.authorizations[*index].status);
            if statuses().all(|status| status == Status::Valid) {
                order.status = Status::Ready;
            } else if statuses().any(|status| !matches!(status, Status::Pending | Status::Valid)) {
                order.status = Status::Invalid;
            }
        }
    }

    /// Refuses a certificate to replace that is not there, of somebody else, for
    /// other names, or replaced already (RFC 9773 s5).
    pub(super) fn may_replace(
        &self,
        id: &str,
        account: usize,
        identifiers: &[Identifier],
    ) -> Result<(), Problem> {
        let mut own = self.certificates.iter().filter(|certificate| certificate.account == account);
        if !own.any(|certificate| certificate.issued.id == id) {
            return Err(Problem::malformed("the account has no certificate that is to be replaced"));
        }
        let issued = |order: &Order| order.certificate.map(|index| &self.certificates[index].issued.id);
        let old = self.orders.iter().find(|order| issued(order).is_some_and(|issued| issued == id));
        if !old.is_some_and(|old| old.identifiers.iter().any(|old| identifiers.contains(old))) {
            return Err(Problem::malformed("the certificate to replace has none of these names"));
        }
        let is_replaced = self
            .orders
            .iter()
            .any(|order| order.replaces.as_deref() == Some(id) && order.status != Status::Invalid);
        if is_replaced {
            return Err(Problem::new("alreadyReplaced", 409, "another order replaces the certificate"));
        }
        Ok(())
    }

    pub(super) fn account_records(&self) -> Vec<AccountRecord> {
        self.accounts.iter().map(|account| account.record.clone()).collect()
    }

    pub(super) fn order_records(&self) -> Vec<OrderRecord> {
        let record = |order: &Order| OrderRecord {
            identifiers: order.identifiers.iter().map(Identifier::value).collect(),
            profile: order.profile.clone(),
            replaces: order.replaces.clone(),
            status: order.status,
        };
        self.orders.iter().map(record).collect()
    }
}

impl Nonces {
    pub(super) fn issue(&mut self) -> String {
        let nonce = random_text();
        self.unused.insert(nonce.clone());
        nonce
    }

    /// Takes a nonce that a request uses.
    pub(super) fn take(&mut self, nonce: &str) -> Result<(), Problem> {
        if !self.unused.remove(nonce) {
            return Err(Problem::new("badNonce", 400, "an unknown or used nonce"));
        }
        self.due += self.rejected_percent;
        if self.due >= 100 {
            self.due -= 100;
            return Err(Problem::new("badNonce", 400, "the test rejects it"));
        }
        Ok(())
    }
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Processing => "processing",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Deactivated => "deactivated",
        }
    }
}

impl Identifier {
    /// As a new order has it: `kind` and `value`.
    pub(super) fn parse(kind: &str, value: &str) -> Result<Self, Problem> {
        match kind {
            "dns" => {
                let name = value.strip_prefix("*.").unwrap_or(value);
                let is_label = |label: &str| {
                    let is_allowed =
                        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                    !label.is_empty() && label.bytes().all(is_allowed)
                };
                if name.split('.').all(is_label) && name.parse::<IpAddr>().is_err() {
                    return Ok(Self::Dns(value.to_owned()));
                }
            }
            "ip" => {
                if let Ok(address) = value.parse() {
                    return Ok(Self::Ip(address));
                }
            }
            _ => return Err(Problem::new("unsupportedIdentifier", 400, kind)),
        }
        Err(Problem::malformed(format!("{value} is no identifier of the type {kind}")))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Dns(_) => "dns",
            Self::Ip(_) => "ip",
        }
    }

    pub(super) fn value(&self) -> String {
        match self {
            Self::Dns(name) => name.clone(),
            Self::Ip(address) => address.to_string(),
        }
    }

    pub(super) fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(name) if name.starts_with("*."))
    }

    /// The name without its wildcard.
    pub(super) fn name(&self) -> String {
        let value = self.value();
        value.strip_prefix("*.").map(str::to_owned).unwrap_or(value)
    }

    /// As `Host` has it.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.name(),
        }
    }

    /// As the client hello has it (RFC 8738 s6).
    pub(super) fn server_name(&self) -> String {
        match self {
            Self::Dns(_) => self.name(),
            Self::Ip(IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            Self::Ip(IpAddr::V6(address)) => {
                let nibbles = format!("{:032x}", address.to_bits());
                nibbles.chars().rev().flat_map(|nibble| [nibble, '.']).collect::<String>() + "ip6.arpa"
            }
        }
    }
}
