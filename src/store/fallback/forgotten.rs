//! Keys that were too many to remember: not which they are, but of any key whether it may be one of them.

use crate::store::command::literal;
use foldhash::quality::RandomState;
use std::hash::BuildHasher;

/// Bits of the set: one MiB.
const BITS: u64 = 8 << 20;
/// Bits for each key. By (1 - e^(-PROBES * keys / BITS))^PROBES, with 50,000 keys one other key in 3 million is taken for
/// one of them, with 500,000 one in 500.
const PROBES: u64 = 4;

/// A Bloom filter of keys, and what all of them begin with. It never grows, and never denies a key it was given.
#[derive(Debug)]
pub(super) struct Forgotten {
    bits: Vec<u64>,
    /// Seeded at random: nobody can choose keys that are taken for others.
    hasher: RandomState,
    /// `None` until there is a key.
    common: Option<Vec<u8>>,
}

impl Forgotten {
    /// Without a key. Only those with the same `hasher` can be merged.
    pub(super) fn new(hasher: RandomState) -> Self {
        Self { bits: vec![0; (BITS / 64) as usize], hasher, common: None }
    }

    pub(super) fn insert(&mut self, key: &[u8]) {
        for (word, bit) in self.places(key) {
            if let Some(word) = self.bits.get_mut(word) {
                *word |= bit;
            }
        }
        self.narrow(key);
    }

    /// Takes over the keys of another one, which has the same `hasher`.
    pub(super) fn merge(&mut self, other: &Self) {
        for (bits, others) in self.bits.iter_mut().zip(&other.bits) {
            *bits |= others;
        }
        if let Some(common) = &other.common {
            self.narrow(common);
        }
    }

    fn narrow(&mut self, key: &[u8]) {
        match &mut self.common {
            None => self.common = Some(key.to_vec()),
            Some(common) => {
                let shared = common.iter().zip(key).take_while(|(left, right)| left == right).count();
                common.truncate(shared);
            }
        }
    }

    /// Whether the key may be one of them.
    pub(super) fn may_contain(&self, key: &[u8]) -> bool {
        self.places(key).iter().all(|&(word, bit)| self.bits.get(word).is_some_and(|bits| bits & bit != 0))
    }

    /// A pattern that all of them match.
    pub(super) fn pattern(&self) -> Vec<u8> {
        let mut pattern = literal(self.common.as_deref().unwrap_or(&[]));
        pattern.push(b'*');
        pattern
    }

    /// The word and the bit of each probe, from two halves of one hash.
    fn places(&self, key: &[u8]) -> [(usize, u64); PROBES as usize] {
        let hash = self.hasher.hash_one(key);
        let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
        let mut place = start;
        [(); PROBES as usize].map(|()| {
            let bit = place % BITS;
            place = place.wrapping_add(step);
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_key_it_was_given_and_hardly_another() {
        let mut forgotten = Forgotten::new(RandomState::default());
        let key = |number: u32| format!("user:{number}").into_bytes();
        (0..50_000).for_each(|number| forgotten.insert(&key(number)));
        assert!((0..50_000).all(|number| forgotten.may_contain(&key(number))));
        let taken = (50_000..150_000).filter(|&number| forgotten.may_contain(&key(number))).count();
        assert!(taken < 20, "{taken} of 100,000 others");
        assert_eq!(forgotten.pattern(), b"user:*");
    }

    #[test]
    fn the_pattern_is_literal() {
        let mut forgotten = Forgotten::new(RandomState::default());
        forgotten.insert(b"a*[b:1");
        assert_eq!(forgotten.pattern(), b"a\\*\\[b:1*");
        forgotten.insert(b"a*[b:2");
        assert_eq!(forgotten.pattern(), b"a\\*\\[b:*");
        forgotten.insert(b"z");
        assert_eq!(forgotten.pattern(), b"*");
    }
}
