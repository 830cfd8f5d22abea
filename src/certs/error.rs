//! What can go wrong with certificates. Nothing here ever fails a handshake:
//! the last good certificate stays in the table.

use std::path::PathBuf;

use super::acme::CaaRefusal;
use super::dns_error::DnsError;
use crate::config::model::AcmeChallenge;

/// Why a certificate could not be loaded, made, ordered or stored.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file that the config names cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that the config names does not hold what it should.
    #[error("{}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// The state directory cannot be worked with.
    #[error("cannot {action} {}{}", path.display(), remark(source))]
    Storage {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others could put their own keys into the state directory.
    #[error("other users may write to the state directory {0}: close it, as by `chmod go-w {0}`", path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
    },
    /// A certificate that was made or obtained cannot be used.
    #[error("the certificate cannot be used")]
    Unfit(#[from] CertificateError),
    /// A key, certificate or signing request could not be made.
    #[error("cannot make a certificate")]
    Making(#[from] rcgen::Error),
    /// TLS to the ACME server cannot be set up.
    #[error("cannot set up TLS to the ACME server")]
    Transport(#[source] rustls::Error),
    /// No `[acme] directory` to order from.
    #[error("no ACME directory to order certificates from")]
    NoDirectory,
    /// A site has no name that a public authority could certify.
    #[error("site {site}: an ACME certificate needs names, use tls = \"internal\" or files")]
    NoName {
        /// The site.
        site: String,
    },
    /// The ACME server could not be asked, or refused.
    #[error("the ACME order failed")]
    Acme(#[from] instant_acme::Error),
    /// What is to be kept of an order could not be written down.
    #[error("cannot write the ACME state")]
    State(#[from] serde_json::Error),
    /// The ACME server did not find the proof of a name.
    #[error("{name} was not proven by {}", registered_name(*challenge))]
    Unproven {
        /// The name.
        name: String,
        /// How it was to be proven.
        challenge: AcmeChallenge,
        /// What the server says about it.
        source: Option<instant_acme::Problem>,
        /// True where the same order may still be proven by another challenge.
        is_open: bool,
    },
    /// The ACME server offers none of the challenges that may be used.
    #[error("the ACME server offers no challenge for {name} that the config allows")]
    NoChallenge {
        /// The name.
        name: String,
    },
    /// The program that sets DNS records failed.
    #[error("{} could not set a DNS record", path.display())]
    DnsProgram {
        /// The program.
        path: PathBuf,
        /// Why, in its own words if it had any.
        source: std::io::Error,
    },
    /// The server that sets DNS records failed.
    #[error("{server} could not set a DNS record")]
    DnsWebhook {
        /// Its scheme, host and port: the rest of its URL may itself be the secret.
        server: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The name server or provider that has the zone did not change a record.
    #[error("{by} could not set a DNS record")]
    Dns {
        /// Its address or name.
        by: String,
        /// Why.
        source: DnsError,
    },
    /// The ACME server knows no such profile.
    #[error("the ACME server has no profile {profile:?}; it has {}", known_profiles(known))]
    NoProfile {
        /// What the config asks for.
        profile: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The owner of a domain lets this authority not certify it.
    #[error(transparent)]
    Caa(CaaRefusal),
    /// Too many orders for a name failed lately.
    #[error(
        "{last}; five orders for {name} failed within the hour, so that none is made for {} minutes",
        wait.as_secs().div_ceil(60)
    )]
    TooManyFailed {
        /// The name.
        name: String,
        /// Why the last one failed.
        last: String,
        /// For how long.
        wait: std::time::Duration,
    },
    /// The ACME server asked to be left alone.
    #[error("the ACME server asked to be left alone, for {} minutes from now on", wait.as_secs().div_ceil(60))]
    Resting {
        /// For how long.
        wait: std::time::Duration,
    },
    /// No certificate may be ordered for a host that a client named.
    #[error("`acme.on_demand.ask` does not allow a certificate for {name}")]
    NotAllowed {
        /// The host.
        name: String,
    },
    /// Whether it may could not be found out.
    #[error("`acme.on_demand.ask` could not be asked")]
    Ask {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Too many hosts that clients named got certificates of late.
    #[error("certificates were ordered for too many hosts of late, so that none is for {} seconds", wait.as_secs() + 1)]
    TooManyHosts {
        /// For how long.
        wait: std::time::Duration,
    },
    /// Too many hosts want one at the same time.
    #[error("too many hosts want a certificate at the same time")]
    Crowded,
    /// None of several ACME servers issued a certificate, each for its reason.
    #[error("no ACME server issues a certificate: {}", all(_0))]
    EveryServer(Vec<(String, CertError)>),
    /// A question took too long.
    #[error("the ACME server did not answer in time")]
    NoAnswer,
    /// An order took too long.
    #[error("the ACME order did not end in time")]
    OrderDeadline,
    /// What makes certificates, or a library that it uses, panicked.
    #[error("it panicked: {0}")]
    Panicked(String),
}

/// What is wrong with a certificate chain or its key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM, or cut.
    #[error("not a PEM file")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// PEM without a `CERTIFICATE`.
    #[error("no certificate in it")]
    NoCertificate,
    /// PEM without a private key.
    #[error("no private key in it")]
    NoKey,
    /// The first certificate is not X.509.
    #[error("not an X.509 certificate")]
    NotX509,
    /// The key is of a kind that cannot be used.
    #[error("the private key cannot be used")]
    Key(#[source] rustls::Error),
    /// Certificate and key are of different pairs.
    #[error("the private key does not match the certificate")]
    KeyMismatch,
    /// It is not made for a name it should serve.
    #[error("not made for {0}")]
    NotFor(String),
    /// Its lifetime is over.
    #[error("expired")]
    Expired,
    /// It is not signed by the local CA that is in use.
    #[error("signed by another local CA")]
    OtherAuthority(#[source] rustls::Error),
}

impl CertError {
    /// What an ACME server reports, without the prefix that all its errors bear
    /// (RFC 8555 s6.7).
    pub(super) fn acme_problem(&self) -> Option<&str> {
        let Self::Acme(instant_acme::Error::Api(problem)) = self else { return None };
        problem.r#type.as_deref()?.strip_prefix("urn:ietf:params:acme:error:")
    }

    /// True for a failure of the ACME server, which another one may not have;
    /// false for one of the names, or of this machine.
    pub(super) fn is_of_server(&self) -> bool {
        match self {
            Self::Acme(instant_acme::Error::Api(_)) => !matches!(
                self.acme_problem(),
                Some("rejectedIdentifier" | "caa" | "dns" | "connection" | "incorrectResponse" | "tls")
            ),
            Self::Acme(_)
            | Self::NoChallenge { .. }
            | Self::NoProfile { .. }
            | Self::Resting { .. }
            | Self::Caa(_)
            | Self::EveryServer(_)
            | Self::OrderDeadline
            | Self::Panicked(_)
            | Self::Unfit(_) => true,
            _ => false,
        }
    }

    /// True for a failure that says nothing of what was asked for and may be over
    /// in a moment: a connection that broke, a server out of order, a nonce that
    /// was too old.
    pub(super) fn is_passing(&self) -> bool {
        use instant_acme::Error;
        match self {
            Self::Acme(Error::Api(problem)) => {
                problem.status.is_some_and(|status| status >= 500) || self.acme_problem() == Some("badNonce")
            }
            Self::Acme(Error::Http(_) | Error::Hyper(_) | Error::Json(_) | Error::Other(_)) => true,
            _ => false,
        }
    }

    /// True for an order that was not decided on in time.
    pub(super) fn is_out_of_time(&self) -> bool {
        matches!(self, Self::Acme(instant_acme::Error::Timeout(_)) | Self::OrderDeadline)
    }

    /// True where a server does not know what was asked for, or not as ours.
    pub(super) fn is_about_unknown(&self) -> bool {
        let Self::Acme(instant_acme::Error::Api(problem)) = self else { return false };
        problem.status == Some(404) || matches!(self.acme_problem(), Some("malformed" | "unauthorized"))
    }

    /// True where a server may not take an order in the place of a certificate
    /// (RFC 9773 s5), and another problem is none that says so: it has another
    /// order for that, the certificate is of another account, it has no use for
    /// replacing, or says nothing of it.
    pub(super) fn may_be_about_replacing(&self) -> bool {
        use instant_acme::Error;
        match self {
            Self::Acme(Error::Unsupported(_)) => true,
            // What instant-acme says where the answer does not repeat it.
            Self::Acme(Error::Other(error)) => error.to_string().starts_with("replaces field mismatch"),
            Self::Acme(Error::Api(problem)) => {
                problem.status.is_none_or(|status| status < 500)
                    && !matches!(
                        self.acme_problem(),
                        Some("rateLimited" | "badNonce" | "accountDoesNotExist")
                    )
            }
            _ => false,
        }
    }

    /// What may help against it, where that is known.
    pub(super) fn advice(&self) -> Option<&'static str> {
        use instant_acme::Error;
        Some(match self {
            Self::Unproven { challenge: AcmeChallenge::Http01, .. } => {
                "have the name lead to this machine, and port 80 reach it from the internet"
            }
            Self::Unproven { challenge: AcmeChallenge::TlsAlpn01, .. } => {
                "have the name lead to this machine, and port 443 reach it from the internet, with nothing before it \
                 that ends TLS"
            }
            Self::Unproven { challenge: AcmeChallenge::Dns01, .. } => {
                "see that the record `_acme-challenge` of the name can be looked up in time, and give it more with \
                 `acme.dns.wait`"
            }
            Self::Ask { .. } => "see that the server in `acme.on_demand` answers",
            Self::DnsProgram { .. } | Self::DnsWebhook { .. } => "try by hand what `acme.dns` names",
            Self::Dns { source, .. } => return source.advice(),
            Self::NoChallenge { .. } => "allow another challenge in `acme.challenges`",
            Self::NoProfile { .. } => "set `acme.profile` to one of those, or leave it out",
            Self::TooManyFailed { .. } => "see to that the name can be proven; it is tried again by itself",
            Self::Caa(_) => "change the CAA record so, or name another authority in `acme.directory`",
            Self::Resting { .. } => "nothing: it is tried again by itself",
            Self::Panicked(_) => "report it as a defect of seawall; it is tried again by itself",
            Self::Storage { .. } | Self::OpenToOthers { .. } => {
                "give the user that seawall runs as a state directory of its own"
            }
            Self::Acme(Error::Api(_)) => match self.acme_problem()? {
                "externalAccountRequired" => "set `acme.eab` to the account that the authority gave you",
                "rateLimited" => "wait, or add another directory to `acme.directory`",
                "rejectedIdentifier" | "unsupportedIdentifier" => {
                    "set `tls = \"internal\"` or use files of your own: this authority does not certify the name"
                }
                "caa" => "have a CAA record of the name allow this authority",
                _ => return None,
            },
            Self::Acme(Error::Other(_) | Error::Hyper(_) | Error::Http(_)) => {
                "see that `acme.directory` can be reached from here; for an authority of your own set `acme.ca` to \
                 its root"
            }
            Self::Acme(Error::Json(_)) => "see that `acme.directory` is the URL of an ACME directory",
            _ => return None,
        })
    }

    /// The whole story in one line: this error and its sources.
    pub(super) fn story(&self) -> String {
        crate::base::story(self)
    }
}

fn known_profiles(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

fn all(errors: &[(String, CertError)]) -> String {
    let told: Vec<_> = errors.iter().map(|(server, error)| format!("{server}: {}", error.story())).collect();
    told.join("; ")
}

/// What to make of a failure in the state directory.
fn remark(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => "; state_dir must belong to the user that seawall runs as",
        _ => "",
    }
}

/// The challenge as RFC 8555 and RFC 8737 name it.
pub(super) fn registered_name(challenge: AcmeChallenge) -> &'static str {
    match challenge {
        AcmeChallenge::TlsAlpn01 => "tls-alpn-01",
        AcmeChallenge::Http01 => "http-01",
        AcmeChallenge::Dns01 => "dns-01",
    }
}
