//! The table: what is stored, what it may occupy, and what goes first.

use std::hash::BuildHasher;
use std::mem::size_of;
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::clock::Clock;
use super::deadlines::Deadlines;
use super::glob::Glob;
use super::slab::{KEPT_SLOTS, NEVER, NIL, Slab, Slot};
use super::{Condition, Expiry, Limits, SetOutcome, Ttl};

/// An allocator's own share of one allocation: a header of 8 bytes and, on average, as much for rounding up to 16.
const ALLOCATION_OVERHEAD: usize = 16;

/// Bytes of an entry's place in the index: the slot number and a control byte, in a table that is between 7/16 and
/// 7/8 full; taken at two thirds.
const INDEX_OVERHEAD: usize = (size_of::<u32>() + 1) * 3 / 2;

/// Slots are in a vector that doubles, hence on average three quarters full.
const SLOT_OVERHEAD: usize = size_of::<Slot>() * 4 / 3;

/// See [`Limits::ENTRY_OVERHEAD`].
pub(super) const ENTRY_OVERHEAD: usize = SLOT_OVERHEAD + INDEX_OVERHEAD + ALLOCATION_OVERHEAD;

/// Slots that each `set` searches for expired entries. With four, the sweep comes round once while a quarter of the
/// slots is written, so that expired entries are at most about that part of the table while writes go on.
const SWEEP_PER_SET: usize = 4;

/// Slots that are searched before a live entry is evicted.
const SWEEP_BEFORE_EVICTION: usize = 16;

/// The table of an embedded store; see [`super::MemoryStore`], which hands it out.
#[derive(Debug)]
pub struct Db {
    slab: Slab,
    index: HashTable<u32>,
    /// Seeded at random for each process, so that nobody can prepare keys that collide.
    hasher: RandomState,
    clock: Clock,
    now: u64,
    deadlines: Deadlines,
    bytes: usize,
    max_bytes: usize,
    max_entries: usize,
    evictions: u64,
}

impl Db {
    /// An empty table.
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let now = clock.monotonic_ms();
        Db {
            slab: Slab::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            clock,
            now,
            deadlines: Deadlines::new(),
            bytes: 0,
            max_bytes: limits.max_bytes,
            // Slot numbers end below `NIL`.
            max_entries: limits.max_entries.unwrap_or(usize::MAX).clamp(1, NIL as usize),
            evictions: 0,
        }
    }

    /// Reads the clock. Until the next time all operations happen at this instant.
    pub fn tick(&mut self) {
        self.now = self.clock.monotonic_ms();
    }

    /// Time since 1 January 1970, UTC.
    pub fn wall_time(&self) -> Duration {
        self.clock.wall()
    }

    /// The value; the key becomes the most recently used.
    pub fn get(&mut self, key: &[u8]) -> Option<&[u8]> {
        let at = self.find(key, self.hash(key))?;
        self.slab.touch(at);
        Some(self.slab[at].value())
    }

    /// Whether the key exists. The order of use stays as it is.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key, self.hash(key)).is_some()
    }

    /// Writes a value, which is gone after `ttl_ms` milliseconds; without it the key does not expire any more.
    pub fn set(&mut self, key: &[u8], value: &[u8], ttl_ms: Option<u64>, condition: Condition) -> SetOutcome {
        self.set_with(key, value, ttl_ms.map_or(Expiry::Clear, Expiry::After), condition)
    }

    /// As [`Db::set`], with the choice to keep the time to live that the key has.
    pub fn set_with(&mut self, key: &[u8], value: &[u8], expiry: Expiry, condition: Condition) -> SetOutcome {
        if !self.fits(key, value.len()) {
            return SetOutcome::TooLarge;
        }
        self.sweep(SWEEP_PER_SET);
        let hash = self.hash(key);
        let found = self.find(key, hash);
        match (condition, found) {
            (Condition::Always, _) | (Condition::IfAbsent, None) | (Condition::IfPresent, Some(_)) => {}
            (Condition::IfAbsent, Some(_)) | (Condition::IfPresent, None) => {
                return SetOutcome::ConditionNotMet;
            }
        }
        let deadline = match (expiry, found) {
            (Expiry::Clear, _) | (Expiry::Keep, None) => NEVER,
            (Expiry::Keep, Some(at)) => self.slab[at].deadline,
            (Expiry::After(0), _) => {
                if let Some(at) = found {
                    self.discard(at);
                }
                return SetOutcome::Stored;
            }
            (Expiry::After(ms), _) => self.deadline(ms),
        };
        match found {
            Some(at) => {
                self.slab.touch(at);
                let old = self.slab[at].payload();
                let new = key.len() + value.len();
                self.reserve(new.saturating_sub(old), 0);
                let slot = &mut self.slab[at];
                slot.replace_value(value);
                slot.deadline = deadline;
                self.bytes = self.bytes - old + new;
            }
            None => {
                let size = entry_size(key.len(), value.len());
                self.reserve(size, 1);
                let at = self.slab.insert(key, value, hash, deadline);
                let slab = &self.slab;
                self.index.insert_unique(spread(hash), at, |&at| spread(slab[at].hash));
                self.bytes += size;
            }
        }
        self.deadlines.note(deadline);
        SetOutcome::Stored
    }

    /// Removes a key; whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        match self.find(key, self.hash(key)) {
            Some(at) => {
                self.discard(at);
                true
            }
            None => false,
        }
    }

    /// Gives a key another time to live, zero removing it; whether it was there.
    pub fn expire(&mut self, key: &[u8], ttl_ms: u64) -> bool {
        let Some(at) = self.find(key, self.hash(key)) else { return false };
        if ttl_ms == 0 {
            self.discard(at);
        } else {
            let deadline = self.deadline(ttl_ms);
            self.slab[at].deadline = deadline;
            self.deadlines.note(deadline);
        }
        true
    }

    /// Takes a key's time to live away; whether it had one.
    pub fn persist(&mut self, key: &[u8]) -> bool {
        let Some(at) = self.find(key, self.hash(key)) else { return false };
        std::mem::replace(&mut self.slab[at].deadline, NEVER) != NEVER
    }

    /// The time to live that is left. The order of use stays as it is.
    pub fn ttl_ms(&mut self, key: &[u8]) -> Ttl {
        match self.find(key, self.hash(key)) {
            None => Ttl::Absent,
            Some(at) => match self.slab[at].deadline {
                NEVER => Ttl::Persistent,
                deadline => Ttl::Remaining(deadline - self.now),
            },
        }
    }

    /// Shows `found` the keys that match in the next `count` slots (at least one), and returns where to go on: zero at
    /// the end, which is also where a scan begins.
    ///
    /// A key that is there from the first call to the last is shown exactly once, whatever happens to others between
    /// the calls. One that is removed and written again meanwhile may be shown again, or not at all.
    pub fn scan(&mut self, cursor: u64, count: usize, pattern: &Glob, found: &mut impl FnMut(&[u8])) -> u64 {
        let Ok(mut place) = usize::try_from(cursor) else { return 0 };
        let end = place.saturating_add(count.max(1));
        // The bound is asked for each time: removing the last entry gives all slots back.
        while place < self.slab.slots() {
            if place == end {
                return place as u64;
            }
            let at = place as u32;
            place += 1;
            if self.slab[at].deadline <= self.now {
                self.discard(at);
            } else if self.slab[at].is_occupied() && pattern.matches(self.slab[at].key()) {
                found(self.slab[at].key());
            }
        }
        0
    }

    /// Number of keys. Takes a walk over all slots where keys may have expired since the last one.
    pub fn len(&mut self) -> usize {
        if self.deadlines.any_passed(self.now) {
            self.deadlines.restart();
            self.sweep(usize::MAX);
        }
        self.slab.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Bytes that the entries occupy, by the measure of [`Limits::max_bytes`]; entries that have expired count until
    /// they are found.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many live entries had to go to make room, since the store was made.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Whether an entry of this key and a value of `value_len` bytes fits into an empty store.
    pub fn fits(&self, key: &[u8], value_len: usize) -> bool {
        key.len() < u32::MAX as usize && entry_size(key.len(), value_len) <= self.max_bytes
    }

    /// Removes everything.
    pub fn flush(&mut self) {
        self.slab.clear();
        self.index = HashTable::new();
        self.deadlines = Deadlines::new();
        self.bytes = 0;
    }

    fn hash(&self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        (hash ^ (hash >> 32)) as u32
    }

    /// The slot of a key that has not expired; one that has is removed.
    fn find(&mut self, key: &[u8], hash: u32) -> Option<u32> {
        let slab = &self.slab;
        let is_key = |&at: &u32| slab[at].hash == hash && slab[at].key() == key;
        let at = *self.index.find(spread(hash), is_key)?;
        if self.slab[at].deadline <= self.now {
            self.discard(at);
            return None;
        }
        Some(at)
    }

    /// The deadline in `ms` milliseconds, which is never [`NEVER`].
    fn deadline(&self, ms: u64) -> u64 {
        self.now.saturating_add(ms).min(NEVER - 1)
    }

    /// Removes the entry in an occupied slot.
    fn discard(&mut self, at: u32) {
        let slot = &self.slab[at];
        self.bytes -= ENTRY_OVERHEAD + slot.payload();
        if let Ok(entry) = self.index.find_entry(spread(slot.hash), |&other| other == at) {
            entry.remove();
        }
        self.slab.remove(at);
        if self.slab.len() == 0 {
            self.index.shrink_to(KEPT_SLOTS, |_| 0);
        }
    }

    /// Makes room for so many more bytes and entries: expired ones go where a short search finds them, then the least
    /// recently used. An entry that is to grow is not among them: it is the most recently used, and it fits alone.
    fn reserve(&mut self, bytes: usize, entries: usize) {
        if self.has_room(bytes, entries) {
            return;
        }
        self.sweep(SWEEP_BEFORE_EVICTION);
        while !self.has_room(bytes, entries) {
            let oldest = self.slab.oldest();
            if oldest == NIL {
                return;
            }
            self.evictions += u64::from(self.slab[oldest].deadline > self.now);
            self.discard(oldest);
        }
    }

    fn has_room(&self, bytes: usize, entries: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.max_bytes && self.slab.len() + entries <= self.max_entries
    }

    /// Removes what has expired in the next `budget` slots, going no further than the end of a round.
    fn sweep(&mut self, budget: usize) {
        if !self.deadlines.any_passed(self.now) {
            return;
        }
        for _ in 0..budget {
            let Some(at) = self.deadlines.next_slot(self.slab.slots()) else { return };
            let deadline = self.slab[at as u32].deadline;
            if deadline <= self.now {
                self.discard(at as u32);
            } else {
                self.deadlines.saw(deadline);
            }
        }
    }
}

/// The bytes that an entry counts for.
fn entry_size(key_len: usize, value_len: usize) -> usize {
    key_len.saturating_add(value_len).saturating_add(ENTRY_OVERHEAD)
}

/// The index takes slots from the low bits of a hash and tags from the highest seven: both come from the 32 that are
/// kept.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
#[path = "db_model_tests.rs"]
mod model_tests;
#[cfg(test)]
#[path = "db_tests.rs"]
mod tests;
