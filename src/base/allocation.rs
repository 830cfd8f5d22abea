//! What an allocation takes of memory, which is more than was asked for. Sums that
//! bound memory are made of this; it never allocates.

/// Sizes up to this one are multiples of [`QUANTUM`], all larger ones a quarter of a
/// power of two apart.
const MOST_OF_EQUAL_STEPS: u64 = 128;
const QUANTUM: u64 = 16;

/// From this size on an allocation has pages of its own, and one more, in which its
/// beginning is shifted: what begins where pages do meets in the same lines of a cache,
/// and some processors copy a twentieth as fast between places that differ by a few bytes
/// there.
const LEAST_OF_PAGES: u64 = 16 << 10;
const PAGE: u64 = 4 << 10;

/// Bytes of memory that jemalloc takes for `length` bytes.
pub fn allocated(length: usize) -> u64 {
    let length = length as u64;
    if length <= MOST_OF_EQUAL_STEPS {
        return length.next_multiple_of(QUANTUM);
    }
    let step = 1 << ((length - 1).ilog2() - 2);
    let size = length.next_multiple_of(step);
    if size < LEAST_OF_PAGES { size } else { size + PAGE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_allocator() {
        for (length, size) in [
            (0, 0),
            (9, 16),
            (16, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (1024, 1024),
            (1025, 1280),
            (4096, 4096),
            (4097, 5120),
            (14336, 14336),
            (14337, 16384 + 4096),
            (16385, 20480 + 4096),
            (100 << 10, (112 << 10) + 4096),
        ] {
            assert_eq!(allocated(length), size, "{length}");
        }
    }
}
