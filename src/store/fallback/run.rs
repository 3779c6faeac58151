//! What is sent on the way back: keys that follow each other in time and have the same thing done to them.

use crate::batch::{Entries, Expiry, Keys, Packed};
use crate::store::{Command, Condition, Split, Verb};

/// Keys that follow each other in time and have the same thing done to them.
#[derive(Debug)]
pub(super) enum Run {
    Write(Entries),
    Delete(Keys),
}

impl Run {
    /// Its keys.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Write(entries) => entries.keys.len(),
            Self::Delete(keys) => keys.len(),
        }
    }

    /// The key at `index`.
    pub(super) fn key(&self, index: usize) -> Vec<u8> {
        let mut key = Vec::new();
        match self {
            Self::Write(entries) => entries.keys.write(index, &mut key),
            Self::Delete(keys) => keys.write(index, &mut key),
        }
        key
    }

    /// One command for each of `items`.
    pub(super) fn command<'a>(&'a self, items: &'a [u32]) -> Command<'a> {
        match self {
            Self::Write(entries) => Command::Set { entries, items, condition: Condition::Always },
            Self::Delete(keys) => Command::Delete { keys, items, verb: Verb::Unlink, split: Split::Each },
        }
    }
}

/// A run that grows key by key.
#[derive(Debug, Default)]
pub(super) struct RunBuilder {
    writes: bool,
    keys: Vec<u8>,
    key_lengths: Vec<u32>,
    values: Vec<u8>,
    value_lengths: Vec<u32>,
    expiry: Vec<Option<u64>>,
}

impl RunBuilder {
    /// Whether it writes; deletes where there is no key yet.
    pub(super) fn writes(&self) -> bool {
        self.writes
    }

    /// With a value the key is written, to live for `expiry` milliseconds; without one it is deleted.
    pub(super) fn add(&mut self, key: &[u8], value: Option<&[u8]>, expiry: Option<u64>) {
        self.writes = value.is_some();
        self.keys.extend_from_slice(key);
        self.key_lengths.push(key.len() as u32);
        if let Some(value) = value {
            self.values.extend_from_slice(value);
            self.value_lengths.push(value.len() as u32);
            self.expiry.push(expiry);
        }
    }

    /// `None` without keys.
    pub(super) fn build(self) -> Option<Run> {
        let pack =
            |bytes, lengths: &[u32]| Packed::from_lengths(bytes, lengths).filter(|all| !all.is_empty());
        let keys = Keys::new(Vec::new(), pack(self.keys, &self.key_lengths)?);
        Some(if self.writes {
            let values = pack(self.values, &self.value_lengths)?;
            Run::Write(Entries { keys, values, expiry: Expiry::Each(self.expiry) })
        } else {
            Run::Delete(keys)
        })
    }
}
