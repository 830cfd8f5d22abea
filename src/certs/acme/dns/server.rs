//! A name server that takes updates (RFC 2136), each signed with a key that both
//! sides have. It is asked over TCP, which every name server speaks (RFC 7766):
//! no answer is cut, lost or another's.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::exchange::exchange;
use super::signature::Key;
use super::{Change, named};
use crate::base::Clock;
use crate::certs::dns_error::DnsError;
use crate::config::model::DnsServer;

/// For how long who looks a record up may keep it, in seconds.
const TTL: u32 = 60;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Adds a value to the TXT record of a name, or takes it away; other values stay.
pub(super) async fn change(
    server: &DnsServer,
    clock: &Arc<dyn Clock>,
    change: Change,
    record: &str,
    value: &str,
) -> Result<(), DnsError> {
    let name = named(record)?;
    let zone = match server.zones.of(record) {
        Some(zone) => named(zone)?,
        None => {
            let found = zone(server, clock, &name).await?;
            found.ok_or_else(|| DnsError::NoZone(record.to_owned()))?
        }
    };
    match ask(server, clock, update(zone, change, name, value)).await?.response_code {
        ResponseCode::NoError => Ok(()),
        code => Err(DnsError::Refused(code.into())),
    }
}

/// The change of one value (RFC 2136 s2.5.1, s2.5.4). INVARIANT: the name is in
/// the zone.
fn update(zone: Name, change: Change, name: Name, value: &str) -> Message {
    let record = Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec![value.to_owned()])));
    match change {
        Change::Add => update_message::append(record.into(), zone, false, false),
        Change::Remove => update_message::delete_by_rdata(record.into(), zone, false),
    }
}

/// The zone that has a record. It is the server's word that counts.
async fn zone(server: &DnsServer, clock: &Arc<dyn Clock>, record: &Name) -> Result<Option<Name>, DnsError> {
    let mut name = record.clone();
    while !name.is_root() {
        let mut question = Message::query();
        question.add_query(Query::query(name.clone(), RecordType::SOA));
        let answer = ask(server, clock, question).await?;
        match answer.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            code => return Err(DnsError::Refused(code.into())),
        }
        if let Some(zone) = zone_of(&answer, &name) {
            return Ok(Some(zone.clone()));
        }
        name = name.base_name();
    }
    Ok(None)
}

/// The zone that has `name`, as far as the answer says so: it comes with the
/// zone's SOA record, whether there is such a name or not (RFC 2308 s3). That
/// of where an alias leads says nothing.
fn zone_of<'a>(answer: &'a Message, name: &Name) -> Option<&'a Name> {
    if answer.answers.iter().any(|record| record.record_type() == RecordType::CNAME) {
        return None;
    }
    let all = answer.answers.iter().chain(&answer.authorities);
    let zones = all.filter(|record| record.record_type() == RecordType::SOA).map(|record| &record.name);
    zones.into_iter().find(|zone| !zone.is_root() && zone.zone_of(name))
}

/// Asks something that is signed; the answer is, too.
async fn ask(server: &DnsServer, clock: &Arc<dyn Clock>, message: Message) -> Result<Message, DnsError> {
    let key = Key::new(server)?;
    let asked = key.sign(message, clock.wall())?;
    let answer = exchange(&server.address, &asked.bytes, PATIENCE).await?;
    key.judge(&asked, &answer, clock.wall())
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{CNAME, SOA};

    use super::*;

    fn soa(zone: &str) -> Record {
        let [name, admin] = [zone, "admin.test"].map(|name| named(name).unwrap());
        Record::from_rdata(name.clone(), 60, RData::SOA(SOA::new(name, admin, 1, 60, 60, 60, 60)))
    }

    #[test]
    fn one_value_is_added_and_taken_away() {
        let [zone, name] = ["A", "x.a"].map(|name| named(name).unwrap());
        for (change, expected) in [
            (Change::Add, &b"\x28\0\0\x01\0\0\0\x01\0\0\x01A\0\0\x06\0\x01\x01x\x01a\0\0\x10\0\x01\0\0\0\x3C\0\x02\x01v"[..]),
            (Change::Remove, b"\x28\0\0\x01\0\0\0\x01\0\0\x01A\0\0\x06\0\x01\x01x\x01a\0\0\x10\0\xFE\0\0\0\0\0\x02\x01v"),
        ] {
            let written = update(zone.clone(), change, name.clone(), "v").to_vec().unwrap();
            assert_eq!(&written[2..], expected, "{change:?}");
        }
    }

    #[test]
    fn a_zone_is_where_the_answer_says() {
        let found = |answer: &Message, name: &str| zone_of(answer, &named(name).unwrap()).map(Name::to_ascii);
        let mut answer = Message::response(1, OpCode::Query);
        answer.add_authority(soa("Example.test"));
        assert_eq!(found(&answer, "a.example.test").as_deref(), Some("Example.test."));
        assert_eq!(found(&answer, "example.test").as_deref(), Some("Example.test."));
        assert_eq!(found(&answer, "other.test"), None);
        assert_eq!(found(&answer, "xexample.test"), None);
        let alias = RData::CNAME(CNAME(named("b.example.test").unwrap()));
        answer.add_answer(Record::from_rdata(named("a.example.test").unwrap(), 60, alias));
        assert_eq!(found(&answer, "a.example.test"), None);

        let mut answer = Message::response(1, OpCode::Query);
        answer.add_answer(soa("."));
        assert_eq!(found(&answer, "a.example.test"), None);
    }
}
