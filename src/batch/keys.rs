//! Keys of one call, and what is to be written under them.

use super::Packed;

/// Keys that share a prefix.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    prefix: Vec<u8>,
    names: Packed,
}

impl Keys {
    /// `prefix` before each of `names`.
    pub fn new(prefix: Vec<u8>, names: Packed) -> Self {
        Self { prefix, names }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Both parts of the key at `index`.
    #[inline]
    pub fn parts(&self, index: usize) -> (&[u8], &[u8]) {
        (&self.prefix, self.names.get(index))
    }

    /// Bytes of the key at `index`.
    #[inline]
    pub fn size(&self, index: usize) -> usize {
        self.prefix.len() + self.names.get(index).len()
    }

    /// Bytes of all keys, roughly: what stands between packed names counts too.
    pub fn byte_len(&self) -> usize {
        self.prefix.len() * self.names.len() + self.names.byte_len()
    }

    /// Writes the key at `index` into `out`, in place of what was there.
    #[inline]
    pub fn write(&self, index: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(self.names.get(index));
    }
}

/// Time to live of the entries of one call, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// None expires.
    Never,
    /// All live equally long.
    Same(u64),
    /// Each its own; `None` never expires.
    Each(Vec<Option<u64>>),
}

impl Expiry {
    /// Of the entry at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Same(millis) => Some(*millis),
            Self::Each(all) => all.get(index).copied().flatten(),
        }
    }
}

/// Keys with their values and times to live.
#[derive(Clone, Debug)]
pub struct Entries {
    /// The keys.
    pub keys: Keys,
    /// As many values.
    pub values: Packed,
    /// When they expire.
    pub expiry: Expiry,
}

impl Entries {
    /// Bytes of key and value at `index`.
    #[inline]
    pub fn size(&self, index: usize) -> usize {
        self.keys.size(index) + self.values.get(index).len()
    }
}
