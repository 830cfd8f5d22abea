//! Which addresses are of this machine.

use std::net::{IpAddr, UdpSocket};

/// True for an address that this machine has by itself; one that something
/// before it translates is none. Sends nothing.
pub fn is_here(address: IpAddr) -> bool {
    // The system binds to none but its own.
    !address.is_unspecified() && UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here_and_a_documentation_address_is_not() {
        for (address, expected) in [("127.0.0.1", true), ("192.0.2.1", false), ("2001:db8::1", false)] {
            assert_eq!(is_here(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!is_here("0.0.0.0".parse().unwrap()));
    }
}
