//! The header by which a load balancer tells whose connection it passes on
//! (PROXY protocol, versions 1 and 2): a pure function of bytes. It never
//! decides who is believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header of version 2 begins with (s2.2), which no other protocol does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What one of version 1 begins with (s2.1).
const WORD: &[u8; 6] = b"PROXY ";
/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// The fixed part of version 2.
const FIXED: usize = 16;
/// The longest variable part that is taken: addresses, and what is attached.
const LONGEST_BLOCK: usize = 4096;
/// The kind of the attachment with a checksum (s2.2.4).
const CHECKSUM: u8 = 0x03;

/// The two ends of the connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Who made it.
    pub(super) source: SocketAddr,
    /// Whom it was made to.
    pub(super) destination: SocketAddr,
}

/// What bytes at the beginning of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// All of them belong to a header that is not whole yet.
    Incomplete,
    /// They begin with a header.
    Header {
        /// How many bytes it has; what follows is none of it.
        length: usize,
        /// `None`: it tells of none, and those of the socket count.
        ends: Option<Ends>,
    },
}

/// Why bytes are no header, whatever follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// They begin otherwise.
    #[error("there is no PROXY header")]
    Missing,
    /// It does not end where it must.
    #[error("the PROXY header is too long")]
    TooLong,
    /// The line of version 1 says something else than addresses and ports.
    #[error("the line of the PROXY header is malformed")]
    Line,
    /// Another version than 2, or none of its commands.
    #[error("unknown version or command of a PROXY header")]
    Command,
    /// No such kind of address.
    #[error("unknown address family of a PROXY header")]
    Family,
    /// It ends within an address or an attachment.
    #[error("the PROXY header is shorter than what it holds")]
    Cut,
    /// Its checksum is another one.
    #[error("the PROXY header has a wrong checksum")]
    Checksum,
}

/// Looks for a header at the beginning of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if begin_alike(bytes, WORD) {
        return line(bytes);
    }
    if begin_alike(bytes, SIGNATURE) {
        return block(bytes);
    }
    Err(Malformed::Missing)
}

/// True if one of them begins with the other.
fn begin_alike(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(byte, expected)| byte == expected)
}

/// Version 1: a line of words.
fn line(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let reach = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = memchr::memchr(b'\n', reach) else {
        return if bytes.len() < LONGEST_LINE { Ok(Parsed::Incomplete) } else { Err(Malformed::TooLong) };
    };
    let words = reach[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(WORD));
    let words = words.ok_or(Malformed::Line)?;
    Ok(Parsed::Header { length: end + 1, ends: line_ends(words).ok_or(Malformed::Line)? })
}

/// What the words after `PROXY` tell; `None` for nonsense.
fn line_ends(words: &[u8]) -> Option<Option<Ends>> {
    // What stands behind it is to be ignored, whatever it is.
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let mut words = std::str::from_utf8(words).ok()?.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => return None,
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    let ends = Ends { source: (source, from).into(), destination: (destination, to).into() };
    words.next().is_none().then_some(Some(ends))
}

/// A decimal number, without a sign or zeros before it.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

/// Version 2: a fixed part, and a block of the length it states.
fn block(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let fixed = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let is_local = match fixed.first() {
        None => return Ok(Parsed::Incomplete),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Malformed::Command),
    };
    let Some([_, family, high, low]) = fixed.first_chunk() else { return Ok(Parsed::Incomplete) };
    let stated = usize::from(u16::from_be_bytes([*high, *low]));
    if stated > LONGEST_BLOCK {
        return Err(Malformed::TooLong);
    }
    let length = FIXED + stated;
    let Some(header) = bytes.get(..length) else { return Ok(Parsed::Incomplete) };
    // The load balancer's own connection: nothing else in it means anything.
    let ends = if is_local { None } else { block_ends(header, *family)? };
    Ok(Parsed::Header { length, ends })
}

/// What a whole header of version 2 tells. Addresses of datagrams are those of
/// clients, too: of HTTP/3 that ends at the load balancer.
fn block_ends(header: &[u8], family: u8) -> Result<Option<Ends>, Malformed> {
    let block = &header[FIXED..];
    let (ends, length) = match family {
        0x00 => return Ok(None),
        0x11 | 0x12 => (Some(ends::<4>(block)?), 12),
        0x21 | 0x22 => (Some(ends::<16>(block)?), 36),
        0x31 | 0x32 => (None, 216),
        _ => return Err(Malformed::Family),
    };
    check_attachments(header, FIXED + length)?;
    Ok(ends)
}

/// Two addresses of `N` bytes, and two ports.
fn ends<const N: usize>(block: &[u8]) -> Result<Ends, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>().ok_or(Malformed::Cut)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(Malformed::Cut)?;
    let [a, b, c, d] = rest.first_chunk().ok_or(Malformed::Cut)?;
    Ok(Ends {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([*a, *b])),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes([*c, *d])),
    })
}

/// Goes through what is attached from `at` on; a checksum must be right.
fn check_attachments(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    let mut stated = None;
    let mut rest = header.get(at..).ok_or(Malformed::Cut)?;
    while !rest.is_empty() {
        let ([kind, high, low], value) = rest.split_first_chunk().ok_or(Malformed::Cut)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = value.get(..length).ok_or(Malformed::Cut)?;
        at += 3;
        if *kind == CHECKSUM {
            let value = <[u8; 4]>::try_from(value).map_err(|_| Malformed::Checksum)?;
            if stated.replace((at, u32::from_be_bytes(value))).is_some() {
                return Err(Malformed::Checksum);
            }
        }
        at += length;
        rest = &header[at..];
    }
    match stated {
        Some((at, stated)) if checksum(header, at) != stated => Err(Malformed::Checksum),
        _ => Ok(()),
    }
}

/// The CRC-32C (RFC 9260, appendix A) of `header` with zeros in place of the
/// four bytes at `at`.
fn checksum(header: &[u8], at: usize) -> u32 {
    let is_hidden = |index: usize| (at..at + 4).contains(&index);
    !header.iter().enumerate().fold(u32::MAX, |crc, (index, byte)| {
        let byte = if is_hidden(index) { 0 } else { *byte };
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82F6_3B78 }
            },
        )
    })
}

#[cfg(test)]
mod tests;
