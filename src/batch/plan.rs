//! How one call is cut into server commands.

use std::ops::Range;

/// What one chunk may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Most items.
    pub items: usize,
    /// Most bytes of request; a single item beyond it stands alone.
    pub bytes: usize,
}

impl ChunkLimits {
    /// Most keys in one read when the caller does not say. One MGET of 100,000 keys kept another client waiting for
    /// 41 ms, chunks of 1,000 for 1.3 ms, and the server buffers no more than a chunk's reply.
    pub const READ_ITEMS: usize = 1_000;
    /// Most bytes of one chunk's request when the caller does not say: about a socket buffer, so that a chunk is on
    /// its way while the next one is encoded.
    pub const BYTES: usize = 256 * 1024;

    /// Limits with the caller's number of items, or `items` where the caller gave none. Where several servers share a
    /// chunk, each is to have as much as one alone would.
    pub fn new(batch_size: Option<usize>, items: usize, servers: usize) -> Self {
        let servers = servers.max(1);
        Self { items: batch_size.unwrap_or(items * servers).max(1), bytes: Self::BYTES * servers }
    }
}

/// Cuts `0..count` into ranges within `limits`. Every index stands in exactly one range, in order, and no range is
/// empty.
pub fn chunks(
    count: usize,
    limits: ChunkLimits,
    size_of: impl Fn(usize) -> usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= count {
            return None;
        }
        let mut bytes = size_of(start);
        let mut end = start + 1;
        while end < count && end - start < limits.items {
            bytes = bytes.saturating_add(size_of(end));
            if bytes > limits.bytes {
                break;
            }
            end += 1;
        }
        let range = start..end;
        start = end;
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_index_stands_in_exactly_one_chunk(
            sizes in prop::collection::vec(0usize..400, 0..300),
            items in 1usize..50,
            bytes in 0usize..1000,
        ) {
            let limits = ChunkLimits { items, bytes };
            let ranges: Vec<_> = chunks(sizes.len(), limits, |index| sizes[index]).collect();
            let seen: Vec<usize> = ranges.iter().cloned().flatten().collect();
            prop_assert_eq!(seen, (0..sizes.len()).collect::<Vec<_>>());
            for range in ranges {
                prop_assert!(!range.is_empty() && range.len() <= items);
                let total: usize = sizes[range.clone()].iter().sum();
                prop_assert!(total <= bytes || range.len() == 1);
            }
        }
    }
}
