//! Requests signed with JSON Web Signatures (RFC 8555 s6.2): ES256 by accounts,
//! HS256 by external accounts. Tells who signed what, never whether they may.

use std::fmt::Debug;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A public key of P-256 (RFC 7517, RFC 7518 s6.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

/// What a signature protects besides the payload.
#[derive(Debug, Deserialize)]
pub(super) struct Protected {
    alg: String,
    pub(super) url: String,
    pub(super) nonce: Option<String>,
    pub(super) jwk: Option<Jwk>,
    pub(super) kid: Option<String>,
}

/// A message whose signature is yet to be verified.
pub(super) struct Jws {
    pub(super) protected: Protected,
    pub(super) payload: Vec<u8>,
    signed: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
}

impl Jwk {
    /// The thumbprint of which key authorizations are made (RFC 7638).
    pub(super) fn thumbprint(&self) -> String {
        let Self { kty, crv, x, y } = self;
        let members = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#);
        encode(digest(&SHA256, members.as_bytes()))
    }

    fn point(&self) -> Result<Vec<u8>, Problem> {
        if self.kty != "EC" || self.crv != "P-256" {
            return Err(Problem::new("badPublicKey", 400, "only keys of P-256 are taken"));
        }
        Ok([vec![4], decode(&self.x)?, decode(&self.y)?].concat())
    }
}

impl Jws {
    pub(super) fn parse(content: &[u8]) -> Result<Self, Problem> {
        let Flattened { protected, payload, signature } = parse(content)?;
        Ok(Self {
            protected: parse(&decode(&protected)?)?,
            payload: decode(&payload)?,
            signed: format!("{protected}.{payload}"),
            signature: decode(&signature)?,
        })
    }

    /// The payload as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse(&self.payload)
    }

    pub(super) fn verify(&self, key: &Jwk) -> Result<(), Problem> {
        self.is_signed_by("ES256")?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point()?);
        let verified = key.verify(self.signed.as_bytes(), &self.signature);
        verified.map_err(|_| Problem::malformed("the signature is wrong"))
    }

    /// Verifies the signature of an external account (RFC 8555 s7.3.4).
    pub(super) fn verify_external(&self, key: &[u8]) -> Result<(), Problem> {
        self.is_signed_by("HS256")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let verified = hmac::verify(&key, self.signed.as_bytes(), &self.signature);
        verified.map_err(|_| Problem::unauthorized("the signature of the external account is wrong"))
    }

    fn is_signed_by(&self, algorithm: &str) -> Result<(), Problem> {
        if self.protected.alg == algorithm {
            return Ok(());
        }
        let detail = format!("{} in place of {algorithm}", self.protected.alg);
        Err(Problem::new("badSignatureAlgorithm", 400, detail))
    }
}

/// Random text that can be part of a URL.
pub(super) fn random_text() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    encode(bytes)
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, Problem> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| Problem::malformed(format!("base64url: {error}")))
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(json).map_err(|error| Problem::malformed(format!("JSON: {error}")))
}
