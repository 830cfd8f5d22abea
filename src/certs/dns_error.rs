//! What can go wrong with a DNS record that proves a name.

use std::io;

use hickory_proto::ProtoError;
use hickory_proto::dnssec::DnsSecError;
use hickory_proto::serialize::binary::DecodeError;

use crate::resolve::ResolveError;

/// Why a name server or a provider did not change a record.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// It could not be talked to.
    #[error("it could not be asked")]
    Io(#[source] io::Error),
    /// It took too long.
    #[error("it did not answer in time")]
    Deadline,
    /// What it is asked cannot be written, or not be signed.
    #[error("what it is asked cannot be written")]
    Unwritten(#[source] DnsSecError),
    /// What it said is no message of the DNS.
    #[error("its answer cannot be read")]
    Garbled(#[source] DecodeError),
    /// What it said is no answer to what it was asked.
    #[error("it answered something else")]
    Stray,
    /// It said no, by one of the codes of DNS.
    #[error("it answered {}", code_name(*_0))]
    Refused(u16),
    /// It did not sign its answer.
    #[error("its answer is not signed")]
    Unsigned,
    /// Its answer is signed by who does not have the key.
    #[error("its answer is not signed with our key")]
    Forged(#[source] DnsSecError),
    /// It does not know the key.
    #[error("it does not know the TSIG key {key:?} for {algorithm} (BADKEY)")]
    UnknownKey {
        /// The name of the key.
        key: String,
        /// What it signs with.
        algorithm: &'static str,
    },
    /// It knows another key by this name.
    #[error("the TSIG key {key:?} is another one there (BADSIG)")]
    OtherKey {
        /// The name of the key.
        key: String,
    },
    /// Its clock says another time.
    #[error("its clock and ours are too far apart for TSIG (BADTIME)")]
    Clock,
    /// DNS allows no such name.
    #[error("{text} is no name of the DNS")]
    Name {
        /// What is none.
        text: String,
        /// Why.
        source: ProtoError,
    },
    /// The name servers of this machine do not say which zone the record is in.
    #[error("its zone cannot be looked up")]
    Zone(#[source] ResolveError),
    /// Nobody knows which zone the record is in.
    #[error("no zone was found that has {0}")]
    NoZone(String),
    /// There are no roots to know a provider by.
    #[error("this system has no certificates of authorities to know it by")]
    NoRoots,
    /// This program was built without providers.
    #[error("this seawall was built without the providers of DNS")]
    NoProviders,
    /// What a provider, or the way to it, says.
    #[error("{0}")]
    Provider(String),
}

impl DnsError {
    /// What may help against it, where that is known.
    pub(super) fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownKey { .. } | Self::OtherKey { .. } | Self::Forged(_) | Self::Unsigned => {
                "set `key`, `algorithm` and `secret` of `acme.dns` to what the name server has"
            }
            Self::Clock => "set the clocks of both machines by NTP",
            Self::Refused(_) => {
                "have the name server let the key change TXT records of the zone, as by BIND's `update-policy`; \
                 see that `acme.dns.server` is the primary one"
            }
            Self::Io(_) | Self::Deadline => "see that TCP connections from here reach what `acme.dns` names",
            Self::NoZone(_) => "write the zone: `acme.dns.zone`",
            Self::Zone(_) => {
                "write the zone, `acme.dns.zone`, or name a DNS server that answers from here: `acme.resolver`"
            }
            Self::NoRoots => {
                "install the certificates of public authorities, as of the package ca-certificates"
            }
            Self::NoProviders => "build it with the feature `dns-providers`",
            Self::Provider(_) => {
                "see that what `acme.dns` shows the provider lets it change TXT records of the zone"
            }
            Self::Unwritten(_) | Self::Garbled(_) | Self::Stray | Self::Name { .. } => return None,
        })
    }
}

/// The code as DNS names it (RFC 6895 s2.3).
fn code_name(code: u16) -> String {
    let names = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
        "NOTAUTH", "NOTZONE",
    ];
    names.get(usize::from(code)).map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}
