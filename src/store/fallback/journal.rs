//! What has to be done on the server when it is back: which keys were touched meanwhile, in the order of their last
//! change. Pure.
//!
//! Values and times to live are not kept here. What the embedded store holds under a key at the moment of return is the
//! key's last word; a touched key that it does not hold was deleted, has expired or was evicted, and has to go.

use super::forgotten::Forgotten;
use foldhash::quality::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A touched key, and when it was last touched.
pub(super) type Touched = (u64, Arc<[u8]>);

/// Everything that is left to do, oldest first: the flush, then the forgotten keys, then the others.
#[derive(Debug)]
pub(super) struct Journal {
    /// Bytes that the touched keys may take.
    limit: usize,
    bytes: usize,
    next: u64,
    by_key: HashMap<Arc<[u8]>, u64>,
    by_time: BTreeMap<u64, Arc<[u8]>>,
    forgotten: Option<Box<Forgotten>>,
    flushed: Option<Flush>,
    hasher: RandomState,
}

/// How far a flush goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flush {
    /// The database.
    Database,
    /// All of them.
    Everything,
}

impl Journal {
    /// What a key takes beside its bytes: the shared allocation, its places in the two maps, and their spare room.
    pub(super) const KEY_OVERHEAD: usize = 128;

    /// An empty one, whose touched keys take at most about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            next: 0,
            by_key: HashMap::new(),
            by_time: BTreeMap::new(),
            forgotten: None,
            flushed: None,
            hasher: RandomState::default(),
        }
    }

    /// Touched keys that are remembered one by one.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && self.forgotten.is_none() && self.flushed.is_none()
    }

    /// Whether no flush and no forgotten keys are left to do.
    pub(super) fn has_keys_alone(&self) -> bool {
        self.forgotten.is_none() && self.flushed.is_none()
    }

    /// Whether at most `keys` touched keys are left to do, and nothing else.
    pub(super) fn has_few(&self, keys: usize) -> bool {
        self.by_key.len() <= keys && self.has_keys_alone()
    }

    /// A key was written or deleted now. Where there is no room for it, those that were touched longest ago are
    /// forgotten one by one.
    pub(super) fn touch(&mut self, key: &[u8]) {
        let now = self.next;
        self.next += 1;
        if let Some((key, time)) = self.by_key.get_key_value(key).map(|(key, time)| (key.clone(), *time)) {
            self.by_time.remove(&time);
            self.by_time.insert(now, key.clone());
            self.by_key.insert(key, now);
            return;
        }
        self.insert(now, Arc::from(key));
        while self.bytes > self.limit
            && let Some((_, oldest)) = self.pop()
        {
            let hasher = &self.hasher;
            self.forgotten.get_or_insert_with(|| Box::new(Forgotten::new(hasher.clone()))).insert(&oldest);
        }
    }

    /// Everything was deleted now: what was touched before does not count any more.
    pub(super) fn flush(&mut self, reach: Flush) {
        let flushed = self.flushed.max(Some(reach));
        let hasher = self.hasher.clone();
        *self = Self { next: self.next, flushed, hasher, ..Self::new(self.limit) };
    }

    /// Takes the flush that comes before everything else.
    pub(super) fn take_flush(&mut self) -> Option<Flush> {
        self.flushed.take()
    }

    /// It could not be done.
    pub(super) fn put_back_flush(&mut self, reach: Flush) {
        self.flushed = self.flushed.max(Some(reach));
    }

    /// Takes the forgotten keys.
    pub(super) fn take_forgotten(&mut self) -> Option<Box<Forgotten>> {
        self.forgotten.take()
    }

    /// They could not all be dealt with.
    pub(super) fn put_back_forgotten(&mut self, forgotten: Box<Forgotten>) {
        match &mut self.forgotten {
            None if self.flushed.is_none() => self.forgotten = Some(forgotten),
            // A flush since has deleted them.
            None => {}
            Some(newer) => newer.merge(&forgotten),
        }
    }

    /// Takes the key that was touched longest ago.
    pub(super) fn pop(&mut self) -> Option<Touched> {
        let (time, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        self.bytes -= key.len() + Self::KEY_OVERHEAD;
        Some((time, key))
    }

    /// Puts a key back that could not be dealt with, in its place; unless it was touched again or everything was
    /// deleted since.
    pub(super) fn put_back(&mut self, (time, key): Touched) {
        if self.flushed.is_none() && !self.by_key.contains_key(&key) {
            self.insert(time, key);
        }
    }

    fn insert(&mut self, time: u64, key: Arc<[u8]>) {
        self.bytes += key.len() + Self::KEY_OVERHEAD;
        self.by_time.insert(time, key.clone());
        self.by_key.insert(key, time);
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
