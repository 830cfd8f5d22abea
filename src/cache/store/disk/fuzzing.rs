//! The decoder of records, behind a checksum that is right.

use super::record::{decode, encode, sealed};

/// Reads any bytes as a record, and as one whose prefix is right. What is read
/// of it is written and read again.
pub fn record(bytes: &[u8]) {
    assert!(decode(bytes).is_err() || bytes.len() > 8);
    let Ok(read) = decode(&sealed(bytes)) else { return };
    let Some(written) = encode(&read.key, read.epoch, &read.head, read.sliced, &read.blocks) else { return };
    let Ok(again) = decode(&written.bytes) else { panic!("it cannot be read again") };
    assert_eq!((&again.key, again.epoch, &again.blocks), (&read.key, read.epoch, &read.blocks));
    assert_eq!(again.sliced, read.sliced);
    assert_eq!(again.head.to_parts(), read.head.to_parts());
}
