//! Fields by which proxies speak, hop-by-hop fields, and the compact form:
//! nothing is left of what is to go, and nothing is lost of what is kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall::fields::compact::CompactFields;
use seawall::fields::{forwarding, hop_by_hop};
use seawall_fuzz::fields;

fuzz_target!(|data: &[u8]| {
    let mut fields = fields(data);
    let compact = CompactFields::of(&fields);
    assert_eq!(compact.to_map(), fields);
    for (name, value) in &fields {
        assert!(compact.get_all(name).any(|other| other == value.as_bytes()));
    }
    hop_by_hop::remove(&mut fields);
    assert!(["connection", "transfer-encoding", "keep-alive"].iter().all(|name| !fields.contains_key(*name)));
    for is_trusted_proxy in [true, false] {
        forwarding::drop_untrusted(&mut fields, &[], is_trusted_proxy);
        assert_eq!(forwarding::untrusted(&fields, &[], is_trusted_proxy).count(), 0);
    }
    let is_believed = |name: &str| name.replace('_', "-").starts_with("x-forwarded");
    assert!(!fields.keys().any(|name| is_believed(name.as_str())));
});
