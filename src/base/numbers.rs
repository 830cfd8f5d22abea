//! Numbers and addresses as logs and fields write them, without the detour of a
//! formatter.

use std::io::Write as _;
use std::net::IpAddr;

/// Appends a number in decimal.
pub fn decimal(number: impl itoa::Integer, into: &mut Vec<u8>) {
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an address.
pub fn address(address: IpAddr, into: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(into, "{address}");
        return;
    };
    let [first, rest @ ..] = address.octets();
    decimal(first, into);
    for octet in rest {
        into.push(b'.');
        decimal(octet, into);
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
