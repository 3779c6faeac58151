//! Compression of single values: LZ4 blocks and Zstandard frames.
//!
//! A compressed value begins with one byte that UTF-8 text never begins with, so that values which were stored before
//! compression was switched on are told apart: [`LZ4`], then the length of the original (32 bits, little end first) and
//! the block; or [`ZSTD`], then a standard frame.

use crate::panic::caught;
use std::io::Read;

/// First byte of an LZ4 value.
pub const LZ4: u8 = 0xf8;

/// First byte of a Zstandard value.
pub const ZSTD: u8 = 0xf9;

/// The longest value that is unpacked, in bytes: Redis stores no longer one. A length that claims more is not believed.
pub const LONGEST: usize = 512 << 20;

/// An LZ4 block holds at most this many times its own length.
const LZ4_RATIO: usize = 255;

/// Bytes of the mark and of the length after it.
const LZ4_HEAD: usize = 5;

/// Which way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// Fast, and small code.
    Lz4,
    /// Smaller results for more work.
    Zstd,
}

/// The value with its mark, or `None` where it is too long to be stored anyway.
pub fn compress(value: &[u8], algorithm: Algorithm) -> Option<Vec<u8>> {
    if value.len() > LONGEST {
        return None;
    }
    match algorithm {
        Algorithm::Lz4 => {
            let length = u32::try_from(value.len()).ok()?;
            let mut out = vec![0; LZ4_HEAD + lz4_flex::block::get_maximum_output_size(value.len())];
            let (head, room) = out.split_at_mut_checked(LZ4_HEAD)?;
            let (mark, place) = head.split_first_mut()?;
            *mark = LZ4;
            place.copy_from_slice(&length.to_le_bytes());
            let written = lz4_flex::block::compress_into(value, room).ok()?;
            out.truncate(LZ4_HEAD + written);
            Some(out)
        }
        Algorithm::Zstd => guarded(|| {
            let mut out = vec![ZSTD];
            ruzstd::encoding::compress(value, &mut out, ruzstd::encoding::CompressionLevel::Fastest);
            Some(out)
        }),
    }
}

/// What [`compress`] was given; `None` for bytes that it did not make.
pub fn decompress(stored: &[u8]) -> Option<Vec<u8>> {
    match stored.split_first()? {
        (&LZ4, rest) => {
            let (length, block) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            if length > LONGEST || length > block.len().saturating_mul(LZ4_RATIO) {
                return None;
            }
            let value = lz4_flex::block::decompress(block, length).ok()?;
            (value.len() == length).then_some(value)
        }
        (&ZSTD, frame) => guarded(|| {
            let mut value = Vec::new();
            let mut rest = frame;
            let decoder = ruzstd::decoding::StreamingDecoder::new(&mut rest).ok()?;
            decoder.take(LONGEST as u64 + 1).read_to_end(&mut value).ok()?;
            (value.len() <= LONGEST).then_some(value)
        }),
        _ => None,
    }
}

/// Stored bytes may be anything: a decoder that gives up by a panic has found out that they are none of its own.
fn guarded(run: impl FnOnce() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    caught(run).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALGORITHMS: [Algorithm; 2] = [Algorithm::Lz4, Algorithm::Zstd];

    fn round_trip(value: &[u8]) {
        for algorithm in ALGORITHMS {
            let stored = compress(value, algorithm).unwrap_or_default();
            assert!(std::str::from_utf8(stored.get(..1).unwrap_or(b"a")).is_err(), "text never begins so");
            assert_eq!(decompress(&stored).as_deref(), Some(value), "{algorithm:?} {}", value.len());
        }
    }

    #[test]
    fn long_repetitive_values_become_short() {
        let value = b"{\"name\":\"a product\"}".repeat(10_000);
        round_trip(&value);
        for algorithm in ALGORITHMS {
            let stored = compress(&value, algorithm).unwrap_or_default();
            assert!(stored.len() < value.len() / 20, "{algorithm:?}: {}", stored.len());
        }
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut stored = vec![LZ4];
        stored.extend_from_slice(&u32::MAX.to_le_bytes());
        stored.extend_from_slice(&[0; 64]);
        assert_eq!(decompress(&stored), None);
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(value in proptest::collection::vec(any::<u8>(), 0..5000)) {
            round_trip(&value);
        }

        #[test]
        fn any_bytes_are_refused_or_read_without_harm(mut stored in proptest::collection::vec(any::<u8>(), 1..300), which in 0..2) {
            if let Some(first) = stored.first_mut() {
                *first = if which == 0 { LZ4 } else { ZSTD };
            }
            let _ = decompress(&stored);
        }

        #[test]
        fn a_damaged_value_is_refused_or_read_without_harm(
            value in proptest::collection::vec(0u8..4, 1..3000),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
        ) {
            for algorithm in ALGORITHMS {
                let mut stored = compress(&value, algorithm).unwrap_or_default();
                let place = at.index(stored.len());
                if let Some(damaged) = stored.get_mut(place) {
                    *damaged = byte;
                }
                let _ = decompress(&stored);
                let _ = decompress(stored.get(..place).unwrap_or(&[]));
            }
        }
    }
}
