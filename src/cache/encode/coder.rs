//! Content codings made from whole contents (RFC 9110 s8.4.1). It knows nothing
//! of requests and of what is stored.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::zstd_safe::CParameter;

use crate::fields::coding::Coding;

/// Every content is encoded once and sent often: more effort than a server
/// spends that encodes for each request, and far less than the levels that only
/// pay for files made ahead. A mebibyte of HTML takes some 10 to 30 ms.
const BROTLI_QUALITY: u32 = 5;
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 9;

/// The binary logarithm of the window: 4 MiB. Clients need not take more than
/// 8 MiB (RFC 9659).
const WINDOW: u32 = 22;

/// Bytes the brotli encoder gives on at once.
const BROTLI_BUFFER: usize = 32 << 10;

/// `content` in `coding`. Takes time: not for a thread that serves connections.
pub(super) fn encode(content: &[u8], coding: Coding) -> io::Result<Vec<u8>> {
    let into = Vec::with_capacity(content.len() / 3);
    match coding {
        Coding::Brotli => {
            let mut encoder = brotli::CompressorWriter::new(into, BROTLI_BUFFER, BROTLI_QUALITY, WINDOW);
            encoder.write_all(content)?;
            encoder.flush()?;
            Ok(encoder.into_inner())
        }
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(into, Compression::new(GZIP_LEVEL));
            encoder.write_all(content)?;
            encoder.finish()
        }
        Coding::Zstd => {
            let mut encoder = zstd::Encoder::new(into, ZSTD_LEVEL)?;
            encoder.set_parameter(CParameter::WindowLog(WINDOW))?;
            encoder.set_pledged_src_size(Some(content.len() as u64))?;
            encoder.write_all(content)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
pub(in crate::cache) mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    /// What a client makes of it.
    pub(in crate::cache) fn decode(encoded: &[u8], coding: &str) -> Vec<u8> {
        let mut content = Vec::new();
        match coding {
            "br" => brotli::Decompressor::new(encoded, 4096).read_to_end(&mut content),
            "gzip" => flate2::read::GzDecoder::new(encoded).read_to_end(&mut content),
            "zstd" => zstd::Decoder::new(encoded).unwrap().read_to_end(&mut content),
            other => panic!("{other}"),
        }
        .unwrap();
        content
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(content: Vec<u8>, repeated in 1..2000_usize) {
            let content = content.repeat(repeated.min(1 + 300_000 / (content.len() + 1)));
            for coding in Coding::ALL {
                let encoded = encode(&content, coding).unwrap();
                prop_assert!(decode(&encoded, coding.as_str()) == content);
            }
        }
    }

    #[test]
    fn text_shrinks() {
        let text = include_bytes!("../../../README.md");
        for coding in Coding::ALL {
            let length = encode(text, coding).unwrap().len();
            assert!(length * 2 < text.len(), "{coding:?} {length}");
        }
    }
}
