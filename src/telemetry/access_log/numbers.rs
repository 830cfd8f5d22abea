//! Numbers and addresses as logs write them, without the detour of a formatter.

use std::io::Write as _;
use std::net::IpAddr;

/// Appends a number in decimal.
pub(super) fn decimal(number: impl itoa::Integer, line: &mut Vec<u8>) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an address.
pub(super) fn address(address: IpAddr, line: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(line, "{address}");
        return;
    };
    let [first, rest @ ..] = address.octets();
    decimal(first, line);
    for octet in rest {
        line.push(b'.');
        decimal(octet, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_usual() {
        for text in ["0.0.0.0", "192.0.2.7", "255.255.255.255", "::1", "2001:db8::7"] {
            let mut line = Vec::new();
            address(text.parse().unwrap(), &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), text);
        }
    }
}
