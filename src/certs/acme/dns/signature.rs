//! Signs what a name server is asked with a key that both sides have, and judges
//! by it what comes back (RFC 8945). The signatures are those of hickory-proto;
//! the time, which that leaves to its callers, and what a refused signature
//! means are decided here. Pure: the time is given.

use std::time::{Duration, SystemTime};

use hickory_proto::ProtoError;
use hickory_proto::dnssec::DnsSecError;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::TSigner;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm as Algorithm, TsigError};

use super::named;
use crate::certs::dns_error::DnsError;
use crate::config::model::{DnsServer, TsigAlgorithm};

/// How many seconds clocks may be apart (RFC 8945 s10).
const FUDGE: u16 = 300;

/// A key, ready to sign.
pub(super) struct Key<'a> {
    name: &'a str,
    algorithm: &'static str,
    signer: TSigner,
}

/// A message with its signature.
pub(super) struct Signed {
    /// What is sent.
    pub(super) bytes: Vec<u8>,
    id: u16,
    /// What the answer's signature covers, too.
    mac: Vec<u8>,
}

impl<'a> Key<'a> {
    /// The key that the config has for a name server.
    pub(super) fn new(server: &'a DnsServer) -> Result<Self, DnsError> {
        let algorithm = match server.algorithm {
            TsigAlgorithm::Sha256 => Algorithm::HmacSha256,
            TsigAlgorithm::Sha384 => Algorithm::HmacSha384,
            TsigAlgorithm::Sha512 => Algorithm::HmacSha512,
        };
        let written = TsigAlgorithm::ALL.iter().find(|(_, algorithm)| *algorithm == server.algorithm);
        let signer = TSigner::new(server.secret.bytes().to_vec(), algorithm, named(&server.key)?, FUDGE);
        Ok(Self {
            name: &server.key,
            algorithm: written.map_or("", |(name, _)| name),
            signer: signer.map_err(DnsError::Unwritten)?,
        })
    }

    /// Signs a message.
    pub(super) fn sign(&self, mut message: Message, now: SystemTime) -> Result<Signed, DnsError> {
        let unwritten = |error: ProtoError| DnsError::Unwritten(DnsSecError::from(error));
        let (signature, _) = self.signer.sign_message(&message, seconds(now)).map_err(unwritten)?;
        let mac = signature.data.mac.clone();
        message.set_signature(signature);
        Ok(Signed { bytes: message.to_vec().map_err(unwritten)?, id: message.id, mac })
    }

    /// The answer to `asked`, if it is of who has the key, too. What it says of
    /// itself is not looked at, but where it may be all that there is.
    pub(super) fn judge(&self, asked: &Signed, bytes: &[u8], now: SystemTime) -> Result<Message, DnsError> {
        let answer = Message::from_vec(bytes).map_err(DnsError::Garbled)?;
        if answer.message_type != MessageType::Response || answer.id != asked.id {
            return Err(DnsError::Stray);
        }
        let signature = answer.signature().filter(|signature| signature.name == *self.signer.signer_name());
        let Some(signature) = signature else {
            // What can be used must be signed; a refusal need not be.
            return Err(match answer.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => DnsError::Unsigned,
                code => DnsError::Refused(code.into()),
            });
        };
        let error = signature.data.error;
        match error {
            // Who does not have the key cannot sign that.
            Some(TsigError::BadKey) => {
                return Err(DnsError::UnknownKey { key: self.name.to_owned(), algorithm: self.algorithm });
            }
            Some(TsigError::BadSig) => return Err(DnsError::OtherKey { key: self.name.to_owned() }),
            _ => {}
        }
        let verified = self.signer.verify_message_byte(bytes, Some(&asked.mac), true);
        let (_, _, in_time) = verified.map_err(DnsError::Forged)?;
        match error == Some(TsigError::BadTime) || !in_time.contains(&seconds(now)) {
            true => Err(DnsError::Clock),
            false => Ok(answer),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::rdata::tsig::make_tsig_record;
    use hickory_proto::rr::rdata::{TSIG, TXT};
    use hickory_proto::rr::{RData, Record, RecordType, TSigResponseContext};
    use proptest::prelude::*;

    use super::*;
    use crate::config::model::{Secret, Zones};

    const NOW: u64 = 1_800_000_000;

    fn server(secret: &[u8]) -> DnsServer {
        DnsServer {
            address: "127.0.0.1:9".to_owned(),
            key: "a.key".to_owned(),
            algorithm: TsigAlgorithm::Sha384,
            secret: Secret::new(secret),
            zones: Zones::default(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn asked(name: &str) -> Signed {
        let mut question = Message::new(9, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(named(name).unwrap(), RecordType::SOA));
        Key::new(&server(b"ours")).unwrap().sign(question, at(NOW)).unwrap()
    }

    /// The answer to `asked` of who has the key `secret`, not signed yet.
    fn bare(code: ResponseCode) -> Message {
        let mut answer = Message::error_msg(9, OpCode::Query, code);
        let text = RData::TXT(TXT::new(vec!["v".to_owned()]));
        answer.add_answer(Record::from_rdata(named("a.test").unwrap(), 60, text));
        answer
    }

    fn answer(secret: &[u8], asked: &Signed, code: ResponseCode, error: Option<TsigError>) -> Vec<u8> {
        let (server, mut answer) = (server(secret), bare(code));
        let signer = Key::new(&server).unwrap().signer;
        let context = TSigResponseContext::new(9, NOW, signer, asked.mac.clone(), error);
        let signature = context.sign(&answer.to_vec().unwrap()).unwrap();
        answer.set_signature(signature);
        answer.to_vec().unwrap()
    }

    /// An answer with a signature that signs nothing.
    fn unsigned(error: TsigError) -> Vec<u8> {
        let mut answer = bare(ResponseCode::NotAuth);
        let signature = TSIG::new(Algorithm::HmacSha384, NOW, FUDGE, Vec::new(), 9, Some(error), Vec::new());
        answer.set_signature(Box::new(make_tsig_record(named("a.key").unwrap(), signature)));
        answer.to_vec().unwrap()
    }

    fn judged(answer: &[u8], asked: &Signed, time: u64) -> Result<Message, DnsError> {
        Key::new(&server(b"ours")).unwrap().judge(asked, answer, at(time))
    }

    #[test]
    fn only_what_is_signed_with_the_key_counts() {
        let (ours, other) = (asked("a.test"), asked("b.test"));
        let good = answer(b"ours", &ours, ResponseCode::NXDomain, None);
        for time in [NOW - 299, NOW, NOW + 299] {
            assert_eq!(judged(&good, &ours, time).unwrap().response_code, ResponseCode::NXDomain);
        }
        for time in [NOW - 301, NOW + 301] {
            assert!(matches!(judged(&good, &ours, time), Err(DnsError::Clock)));
        }
        assert!(matches!(judged(&good, &other, NOW), Err(DnsError::Forged(_))));
        let theirs = answer(b"theirs", &ours, ResponseCode::NoError, None);
        assert!(matches!(judged(&theirs, &ours, NOW), Err(DnsError::Forged(_))));
        let late = answer(b"ours", &ours, ResponseCode::NotAuth, Some(TsigError::BadTime));
        assert!(matches!(judged(&late, &ours, NOW), Err(DnsError::Clock)));
    }

    #[test]
    fn refusals_need_no_signature() {
        let ours = asked("a.test");
        let judged = |answer: &[u8]| judged(answer, &ours, NOW).unwrap_err();
        assert!(matches!(judged(&unsigned(TsigError::BadKey)), DnsError::UnknownKey { .. }));
        assert!(matches!(judged(&unsigned(TsigError::BadSig)), DnsError::OtherKey { .. }));
        assert!(matches!(judged(&unsigned(TsigError::BadTime)), DnsError::Forged(_)));
        for (code, is_refusal) in
            [(ResponseCode::NoError, false), (ResponseCode::NXDomain, false), (ResponseCode::FormErr, true)]
        {
            let error = judged(&bare(code).to_vec().unwrap());
            assert_eq!(matches!(error, DnsError::Refused(1)), is_refusal, "{error:?}");
            assert_eq!(matches!(error, DnsError::Unsigned), !is_refusal, "{error:?}");
        }
        assert!(matches!(judged(&ours.bytes), DnsError::Stray));
        assert!(matches!(judged(&[0; 11]), DnsError::Garbled(_)));
    }

    proptest! {
        #[test]
        fn no_other_bytes_are_taken(at in any::<prop::sample::Index>(), byte in any::<u8>(), length in 0..300_usize) {
            let ours = asked("a.test");
            let good = answer(b"ours", &ours, ResponseCode::NoError, None);
            let expected = Message::from_vec(&good).unwrap();
            let mut changed = good.clone();
            changed[at.index(good.len())] = byte;
            changed.truncate(length);
            if let Ok(answer) = judged(&changed, &ours, NOW) {
                prop_assert_eq!(answer.answers, expected.answers);
                prop_assert_eq!(answer.metadata.response_code, expected.metadata.response_code);
            }
        }

        #[test]
        fn any_bytes_may_come(head in any::<[u8; 10]>(), rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&[0, 9][..], &head, &rest].concat();
            prop_assert!(judged(&bytes, &asked("a.test"), NOW).is_err());
        }
    }
}
