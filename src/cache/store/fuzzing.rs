//! The decoders of what lies on a disk, behind whose checksums chance never
//! gets: here they are right, and what is behind them is anything.

use super::purges::form;

pub use super::disk::fuzzing::record;

/// Reads any bytes as a list of purges, and as one of entries that are whole.
pub fn purges(bytes: &[u8]) {
    let _ = form::read(bytes);
    let Ok(noted) = form::read(&form::sealed(bytes)) else { return };
    let mut written = form::MAGIC.to_vec();
    written.extend(form::epoch(noted.last_epoch));
    noted.purges.iter().for_each(|(epoch, order)| written.extend(form::purge(*epoch, order)));
    let length = written.len();
    assert_eq!(form::read(&written), Ok(form::Noted { length, ..noted }));
}
