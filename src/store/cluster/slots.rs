//! Which slot a key is in.

use crate::batch::Keys;
use crc16::{State, XMODEM};

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key.
pub(super) fn slot(key: &[u8]) -> u16 {
    State::<XMODEM>::calculate(hashed(key)) % SLOTS
}

/// What of a key decides on its slot: what stands between the first `{` and the next `}`, if that is anything, else all.
fn hashed(key: &[u8]) -> &[u8] {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = key.get(open + 1..)?;
        rest.get(..memchr::memchr(b'}', rest)?)
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// Slots of keys that share a prefix. Where that has no brace, it is hashed once for all of them.
pub(super) struct Hasher<'a> {
    keys: &'a Keys,
    prefix: Option<State<XMODEM>>,
    key: Vec<u8>,
}

impl<'a> Hasher<'a> {
    pub(super) fn new(keys: &'a Keys) -> Self {
        let (prefix, _) = keys.parts(0);
        let prefix = memchr::memchr(b'{', prefix).is_none().then(|| {
            let mut state = State::<XMODEM>::new();
            state.update(prefix);
            state
        });
        Self { keys, prefix, key: Vec::new() }
    }

    /// Of the key at `index`.
    pub(super) fn slot(&mut self, index: usize) -> u16 {
        let (_, name) = self.keys.parts(index);
        if let Some(prefix) = &self.prefix {
            let tag = hashed(name);
            if tag.len() < name.len() {
                return State::<XMODEM>::calculate(tag) % SLOTS;
            }
            let mut state = *prefix;
            state.update(name);
            return state.get() % SLOTS;
        }
        self.keys.write(index, &mut self.key);
        slot(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Packed;
    use proptest::prelude::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // From the cluster specification and CLUSTER KEYSLOT of a server.
        for (key, expected) in [
            ("", 0),
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{user1000}.following", 3_443),
            ("user1000", 3_443),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar}{zap}", 5_061),
            ("foo{bar", 15_278),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    proptest! {
        #[test]
        fn a_hashed_prefix_changes_nothing(prefix in "[a{}]{0,4}", names in prop::collection::vec("[a-c{}]{0,6}", 1..20)) {
            let lengths: Vec<u32> = names.iter().map(|name| name.len() as u32).collect();
            let packed = Packed::from_lengths(names.concat().into_bytes(), &lengths).expect("the lengths are theirs");
            let keys = Keys::new(prefix.clone().into_bytes(), packed);
            let mut hasher = Hasher::new(&keys);
            for (index, name) in names.iter().enumerate() {
                prop_assert_eq!(hasher.slot(index), slot(format!("{prefix}{name}").as_bytes()));
                prop_assert_eq!(hasher.slot(index), redis_slot(format!("{prefix}{name}").as_bytes()));
            }
        }
    }

    /// Written after the example in the specification, bit by bit.
    fn redis_slot(key: &[u8]) -> u16 {
        let open = key.iter().position(|byte| *byte == b'{');
        let tag = open.and_then(|open| {
            let close = open + 1 + key[open + 1..].iter().position(|byte| *byte == b'}')?;
            (close > open + 1).then(|| &key[open + 1..close])
        });
        tag.unwrap_or(key).iter().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        }) % SLOTS
    }
}
