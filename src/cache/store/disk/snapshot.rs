//! The index as a file, from a clean stop to the next start: which records there
//! are, without asking the directory.
//!
//! It is of one moment. It is taken away, for good, before it is believed, so
//! that after a crash there is none; and it is believed by lookups alone: a
//! record that it has and the directory has not is a miss, and one that it has
//! not is missed until the directory was read. Whoever must not miss a record,
//! as a purge must not, reads the directory.

use std::io::{self, Read as _};

use xxhash_rust::xxh3::xxh3_64;

use super::Disk;
use super::directory::Directory;
use super::index::Listed;
use super::name::{KeyId, Name};

/// What the file is called.
const NAME: &str = "index";

/// Names the form; the last byte is its version.
const MAGIC: [u8; 8] = *b"swindex\x01";

/// Bytes of a record in it.
const RECORD: usize = size_of::<u128>() + 2 * size_of::<u64>() + size_of::<u8>();

/// With more records none is written: a start would wait for it longer than the
/// directory makes anybody wait.
const MOST_RECORDS: usize = 1 << 21;

/// No record is larger, so that the sum of all is a number.
const LARGEST: u64 = 1 << 42;

const LONGEST: u64 = (MAGIC.len() + MOST_RECORDS * RECORD + size_of::<u64>()) as u64;

/// Takes the file of an earlier process; `None` if there is none to be believed.
pub(super) fn take(directory: &Directory) -> Option<Vec<Listed>> {
    match read(directory) {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "the index of the disk cache cannot be taken over; its directory is read");
            None
        }
    }
}

fn read(directory: &Directory) -> io::Result<Option<Vec<Listed>>> {
    let Some(file) = directory.take_file(NAME)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    let listed = decode(&bytes);
    if listed.is_none() {
        tracing::warn!("the index of the disk cache is damaged; its directory is read");
    }
    Ok(listed)
}

/// Leaves a file for a later process, if all records are known.
pub(super) fn leave(disk: &Disk) {
    let Some(listed) = disk.index.listed().filter(|listed| listed.len() <= MOST_RECORDS) else { return };
    match disk.directory.put_file(NAME, &encode(&listed)) {
        Ok(()) => tracing::debug!(objects = listed.len(), "the index of the disk cache was written"),
        Err(error) => disk.writing.failed(&error),
    }
}

fn encode(listed: &[Listed]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + listed.len() * RECORD + size_of::<u64>());
    bytes.extend_from_slice(&MAGIC);
    for Listed { name, size, uses } in listed {
        bytes.extend_from_slice(&name.key.0.to_le_bytes());
        bytes.extend_from_slice(&name.variant.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.push(*uses);
    }
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// `None` if these are not bytes that this version wrote.
fn decode(bytes: &[u8]) -> Option<Vec<Listed>> {
    let (content, sum) = bytes.split_last_chunk()?;
    let records = content.strip_prefix(&MAGIC).filter(|_| u64::from_le_bytes(*sum) == xxh3_64(content))?;
    let (records, []) = records.as_chunks::<RECORD>() else { return None };
    records.iter().map(|record| listed(record)).collect()
}

fn listed(record: &[u8]) -> Option<Listed> {
    let (key, rest) = record.split_first_chunk()?;
    let (variant, rest) = rest.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let [uses] = rest else { return None };
    let name = Name { key: KeyId(u128::from_le_bytes(*key)), variant: u64::from_le_bytes(*variant) };
    let size = u64::from_le_bytes(*size);
    (size <= LARGEST).then_some(Listed { name, size, uses: *uses })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Listed> {
        (any::<u128>(), any::<u64>(), 0..=LARGEST, any::<u8>()).prop_map(|(key, variant, size, uses)| {
            Listed { name: Name { key: KeyId(key), variant }, size, uses }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else(
            listed in vec(record(), 0..20),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let bytes = encode(&listed);
            let cut = at.index(bytes.len());
            prop_assert!(decode(&bytes[..cut]).is_none());
            prop_assert!(decode(&[&bytes[..], b"x"].concat()).is_none());
            let mut changed = bytes.clone();
            changed[cut] ^= 1 << bit;
            prop_assert!(decode(&changed).is_none());
            prop_assert_eq!(decode(&bytes), Some(listed));
        }

        #[test]
        fn a_size_that_cannot_be_is_refused(listed in record()) {
            let larger = Listed { size: LARGEST + 1, ..listed };
            prop_assert_eq!(decode(&encode(&[larger])), None);
        }
    }
}
