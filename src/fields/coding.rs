//! Content codings (RFC 9110 s8.4.1) by their names. Encodes and decodes
//! nothing.

/// A content coding that is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Coding {
    /// RFC 7932
    Brotli,
    /// RFC 1952
    Gzip,
    /// RFC 8878
    Zstd,
}

impl Coding {
    /// All of them, by name.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Gzip, Self::Zstd];

    /// Its name in fields.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Are these names of one coding (RFC 9110 s8.4.1)?
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let is_gzip = |name: &[u8]| name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip");
    one.eq_ignore_ascii_case(other) || (is_gzip(one) && is_gzip(other))
}
