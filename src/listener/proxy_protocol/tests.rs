use proptest::prelude::*;

use super::*;

const BEHIND: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn told(source: &str, destination: &str) -> Option<Ends> {
    Some(Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

/// A header of version 2 with this command, family and block.
fn second(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

/// The addresses of a client and an edge, with ports 56324 and 443.
const V4: &[u8] = &[192, 168, 0, 1, 192, 168, 0, 11, 0xDC, 0x04, 0x01, 0xBB];

fn v6() -> Vec<u8> {
    let addresses = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
    [&addresses.concat(), &V4[8..]].concat()
}

fn attached(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// The header with a right checksum behind `block`.
fn summed(block: &[u8]) -> Vec<u8> {
    let mut header = second(0x21, 0x11, &[block, &attached(CHECKSUM, &[0; 4])].concat());
    let at = header.len() - 4;
    let right = checksum(&header, at).to_be_bytes();
    header[at..].copy_from_slice(&right);
    header
}

/// Holds what is found to a header and nothing else: neither what follows it
/// counts, nor is any beginning of it one.
fn assert_header(header: &[u8], ends: Option<Ends>) {
    let expected = Ok(Parsed::Header { length: header.len(), ends });
    let shown = header.escape_ascii().to_string();
    assert_eq!(parse(header), expected, "{shown}");
    assert_eq!(parse(&[header, BEHIND].concat()), expected, "{shown}");
    for end in 0..header.len() {
        assert_eq!(parse(&header[..end]), Ok(Parsed::Incomplete), "{end} bytes of {shown}");
    }
}

#[test]
fn lines_tell_of_both_ends() {
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let of = |address: &str| format!("[{address}]:65535");
    for (line, ends) in [
        ("TCP4 192.168.0.1 192.168.0.11 56324 443", told("192.168.0.1:56324", "192.168.0.11:443")),
        (
            "TCP4 255.255.255.255 255.255.255.255 65535 65535",
            told("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        ("TCP4 0.0.0.0 0.0.0.0 0 0", told("0.0.0.0:0", "0.0.0.0:0")),
        ("TCP6 2001:db8::1 ::1 1 2", told("[2001:db8::1]:1", "[::1]:2")),
        ("TCP6 ::ffff:192.0.2.1 ::1 1 2", told("[::ffff:192.0.2.1]:1", "[::1]:2")),
        (&format!("TCP6 {longest} {longest} 65535 65535"), told(&of(longest), &of(longest))),
        ("UNKNOWN", None),
        ("UNKNOWN nonsense \0\r and more", None),
        // 107 bytes: the worst case of the specification.
        (&format!("UNKNOWN {longest} {longest} 65535 65535"), None),
    ] {
        assert_header(format!("PROXY {line}\r\n").as_bytes(), ends);
    }
}

#[test]
fn other_lines_are_refused() {
    for line in [
        "",
        "TCP4",
        "TCP5 192.0.2.1 192.0.2.2 1 2",
        "tcp4 192.0.2.1 192.0.2.2 1 2",
        " TCP4 192.0.2.1 192.0.2.2 1 2",
        "TCP4  192.0.2.1 192.0.2.2 1 2",
        "TCP4 192.0.2.1 192.0.2.2 1 2 ",
        "TCP4 192.0.2.1 192.0.2.2 1 2 3",
        "TCP4 192.0.2.1 192.0.2.2 1",
        "TCP4 192.0.2.1\t192.0.2.2 1 2",
        "TCP4 192.0.2.01 192.0.2.2 1 2",
        "TCP4 192.0.2 192.0.2.2 1 2",
        "TCP4 2001:db8::1 ::1 1 2",
        "TCP6 192.0.2.1 192.0.2.2 1 2",
        "TCP6 [::1] ::1 1 2",
        "TCP6 fe80::1%eth0 ::1 1 2",
        "TCP4 192.0.2.1 192.0.2.2 65536 2",
        "TCP4 192.0.2.1 192.0.2.2 -1 2",
        "TCP4 192.0.2.1 192.0.2.2 +1 2",
        "TCP4 192.0.2.1 192.0.2.2 01 2",
        "TCP4 192.0.2.1 192.0.2.2  2",
        "TCP4 192.0.2.1 192.0.2.2 1 2\r",
        "TCP4 192.0.2.1 192.0.2.2 1 2\0",
        "UNKNOWNS",
    ] {
        let line = format!("PROXY {line}\r\n");
        assert_eq!(parse(line.as_bytes()), Err(Malformed::Line), "{line:?}");
    }
    assert_eq!(parse(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"), Err(Malformed::Line));
    assert_eq!(parse(b"PROXY \xFF\r\n"), Err(Malformed::Line));
}

#[test]
fn a_line_ends_within_its_bound() {
    let filled = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16)).into_bytes();
    assert_header(&filled(107), None);
    assert_eq!(parse(&filled(108)), Err(Malformed::TooLong));
    assert_eq!(parse(&filled(108)[..106]), Ok(Parsed::Incomplete));
    assert_eq!(parse(&filled(108)[..107]), Err(Malformed::TooLong));
}

#[test]
fn blocks_tell_of_both_ends() {
    let v4 = told("192.168.0.1:56324", "192.168.0.11:443");
    let v6_ends = told("[2001:db8::1]:56324", "[2001:db8::2]:443");
    for transport in [1, 2] {
        assert_header(&second(0x21, 0x10 | transport, V4), v4);
        assert_header(&second(0x21, 0x20 | transport, &v6()), v6_ends);
        assert_header(&second(0x21, 0x30 | transport, &[b'/'; 216]), None);
    }
    let noted = [V4, &attached(0x04, b""), &attached(0x02, b"a.test"), &attached(0xEA, &[0; 300])].concat();
    assert_header(&second(0x21, 0x11, &noted), v4);
    assert_header(&second(0x21, 0x11, &[V4, &attached(0x04, &[0; 4096 - 15])].concat()), v4);
    // UNSPEC, and the load balancer's own: what else is in them means nothing.
    for (command, family) in [(0x21, 0x00), (0x20, 0x00), (0x20, 0x11), (0x20, 0xFF)] {
        assert_header(&second(command, family, b""), None);
        assert_header(&second(command, family, b"\x03nonsense"), None);
    }
}

#[test]
fn other_blocks_are_refused() {
    for (header, expected) in [
        (second(0x22, 0x11, V4), Malformed::Command),
        (second(0x11, 0x11, V4), Malformed::Command),
        (second(0x31, 0x11, V4), Malformed::Command),
        (second(0x21, 0x10, V4), Malformed::Family),
        (second(0x21, 0x01, V4), Malformed::Family),
        (second(0x21, 0x13, V4), Malformed::Family),
        (second(0x21, 0x41, V4), Malformed::Family),
        (second(0x21, 0x11, &V4[..11]), Malformed::Cut),
        (second(0x21, 0x21, V4), Malformed::Cut),
        (second(0x21, 0x31, &[0; 215]), Malformed::Cut),
        (second(0x21, 0x11, &[V4, &[4]].concat()), Malformed::Cut),
        (second(0x21, 0x11, &[V4, &[4, 0]].concat()), Malformed::Cut),
        (second(0x21, 0x11, &[V4, &[4, 0, 2, 0]].concat()), Malformed::Cut),
        (second(0x21, 0x11, &[V4, &[0; 4085]].concat()), Malformed::TooLong),
        (second(0x20, 0x00, &[0; 4097]), Malformed::TooLong),
    ] {
        let found = parse(&[&header, BEHIND].concat());
        assert_eq!(found, Err(expected), "{}", header[12..].escape_ascii());
    }
    // As soon as it is known.
    assert_eq!(parse(&second(0x22, 0x11, V4)[..13]), Err(Malformed::Command));
    assert_eq!(parse(&second(0x20, 0x00, &[0; 4097])[..16]), Err(Malformed::TooLong));
}

#[test]
fn a_checksum_must_be_right() {
    assert_eq!(checksum(b"123456789", 9), 0xE306_9283);
    let v4 = told("192.168.0.1:56324", "192.168.0.11:443");
    let noted = [V4, &attached(0x04, &[7; 5])].concat();
    let header = summed(&noted);
    assert_header(&header, v4);
    // Without the kind of that attachment, there is no checksum.
    let kind = header.len() - 7;
    for index in (FIXED..header.len()).filter(|index| *index != kind) {
        let mut other = header.clone();
        other[index] ^= 1;
        assert!(parse(&other).is_err(), "byte {index}");
    }
    let short = second(0x21, 0x11, &[V4, &attached(CHECKSUM, &[0; 3])].concat());
    assert_eq!(parse(&short), Err(Malformed::Checksum));
    let twice = summed(&[V4, &attached(CHECKSUM, &[0; 4])].concat());
    assert_eq!(parse(&twice), Err(Malformed::Checksum));
}

#[test]
fn anything_else_is_no_header() {
    for bytes in [
        BEHIND,
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"proxy",
        b" PROXY UNKNOWN\r\n",
        b"\r\nPROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIX",
        b"\0",
    ] {
        assert_eq!(parse(bytes), Err(Malformed::Missing), "{}", bytes.escape_ascii());
    }
}

/// Bytes that begin as a header does, as a rule.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let begun = prop_oneof![
        Just(b"PROXY TCP4 1.2.3.4 5.6.7.8 ".to_vec()),
        Just(b"PROXY ".to_vec()),
        Just([&SIGNATURE[..], b"\x21\x11\x00"].concat()),
        Just([&SIGNATURE[..], b"\x20\x00\x00"].concat()),
        Just(SIGNATURE.to_vec()),
        Just(Vec::new()),
    ];
    (begun, proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(begun, rest)| [begun, rest].concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        v4: [Ipv4Addr; 2],
        v6: [Ipv6Addr; 2],
        ports: [u16; 2],
    ) {
        let behind = ports.map(u16::to_be_bytes).concat();
        let ends = |[source, destination]: [IpAddr; 2]| {
            Some(Ends { source: (source, ports[0]).into(), destination: (destination, ports[1]).into() })
        };
        let line = |kind, addresses: [String; 2]| {
            format!("PROXY {kind} {} {} {} {}\r\n", addresses[0], addresses[1], ports[0], ports[1])
        };
        let told = ends(v4.map(IpAddr::from));
        assert_header(line("TCP4", v4.map(|ip| ip.to_string())).as_bytes(), told);
        assert_header(&second(0x21, 0x11, &[&v4.map(|ip| ip.octets()).concat()[..], &behind].concat()), told);
        let told = ends(v6.map(IpAddr::from));
        assert_header(line("TCP6", v6.map(|ip| ip.to_string())).as_bytes(), told);
        assert_header(&second(0x21, 0x21, &[&v6.map(|ip| ip.octets()).concat()[..], &behind].concat()), told);
    }

    #[test]
    fn a_header_is_told_from_its_own_bytes(bytes in nearly()) {
        let parsed = parse(&bytes);
        if let Ok(Parsed::Header { length, .. }) = parsed {
            prop_assert!(length <= bytes.len());
            for end in 0..length {
                prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete));
            }
            prop_assert_eq!(parse(&bytes[..length]), parsed);
        }
    }
}
