//! Entries in numbered slots that never move, linked in order of use.
//!
//! Every occupied slot is on one list from the most to the least recently used; every vacant one is on the free
//! list. Both run through the slots' own links, so that neither costs an allocation.

use std::ops::{Index, IndexMut};

/// The end of a list, and the number of no slot.
pub(super) const NIL: u32 = u32::MAX;

/// Slots whose memory is kept when the last entry goes (about 40 KiB), so that a single key that comes and goes does
/// not allocate each time.
pub(super) const KEPT_SLOTS: usize = 1024;

/// The deadline of an entry that does not expire.
pub(super) const NEVER: u64 = u64::MAX;

/// One place for an entry.
#[derive(Debug)]
pub(super) struct Slot {
    /// Key and value in one allocation; `None` where the slot is vacant.
    data: Option<Box<[u8]>>,
    /// Monotonic milliseconds from which on the entry is gone, or [`NEVER`].
    pub(super) deadline: u64,
    key_len: u32,
    /// The key's hash: growing the index then reads no keys, and most unequal keys are told apart by it.
    pub(super) hash: u32,
    /// Towards the more recently used.
    prev: u32,
    /// Towards the less recently used; in a vacant slot the next vacant one.
    next: u32,
}

impl Slot {
    /// Whether an entry is in here.
    pub(super) fn is_occupied(&self) -> bool {
        self.data.is_some()
    }

    fn bytes(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }

    /// The entry's key; empty where the slot is vacant.
    pub(super) fn key(&self) -> &[u8] {
        self.bytes().get(..self.key_len as usize).unwrap_or_default()
    }

    /// The entry's value; empty where the slot is vacant.
    pub(super) fn value(&self) -> &[u8] {
        self.bytes().get(self.key_len as usize..).unwrap_or_default()
    }

    /// Bytes of key and value together.
    pub(super) fn payload(&self) -> usize {
        self.bytes().len()
    }

    /// Puts another value in the place of the old one; of the same length, it needs no allocation.
    pub(super) fn replace_value(&mut self, value: &[u8]) {
        let key_len = self.key_len as usize;
        let Some(data) = self.data.as_mut() else { return };
        if data.len() == key_len + value.len() {
            data[key_len..].copy_from_slice(value);
        } else {
            *data = joined(&data[..key_len], value);
        }
    }
}

/// All slots and the two lists through them.
#[derive(Debug)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free: u32,
    newest: u32,
    oldest: u32,
    len: usize,
}

impl Slab {
    pub(super) fn new() -> Self {
        Slab { slots: Vec::new(), free: NIL, newest: NIL, oldest: NIL, len: 0 }
    }

    /// Occupied slots.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All slots, vacant ones too: one more than the highest number in use.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The least recently used entry, or [`NIL`].
    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    /// Stores an entry as the most recently used. `key` is shorter than `u32::MAX` and there are fewer than
    /// `u32::MAX` entries; the caller sees to both.
    pub(super) fn insert(&mut self, key: &[u8], value: &[u8], hash: u32, deadline: u64) -> u32 {
        let slot = Slot {
            data: Some(joined(key, value)),
            deadline,
            key_len: key.len() as u32,
            hash,
            prev: NIL,
            next: NIL,
        };
        let at = self.free;
        let at = if at == NIL {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        } else {
            self.free = self[at].next;
            self[at] = slot;
            at
        };
        self.link_newest(at);
        self.len += 1;
        at
    }

    /// Vacates a slot. The memory of the slots themselves is given back when the last entry goes.
    pub(super) fn remove(&mut self, at: u32) {
        self.unlink(at);
        self.len -= 1;
        if self.len == 0 {
            self.clear();
            return;
        }
        let free = self.free;
        let slot = &mut self[at];
        slot.data = None;
        slot.deadline = NEVER;
        slot.next = free;
        self.free = at;
    }

    /// Removes every entry.
    pub(super) fn clear(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.shrink_to(KEPT_SLOTS);
        *self = Slab { slots, ..Slab::new() };
    }

    /// Makes an entry the most recently used.
    pub(super) fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    fn link_newest(&mut self, at: u32) {
        let second = self.newest;
        self[at].prev = NIL;
        self[at].next = second;
        if second == NIL {
            self.oldest = at;
        } else {
            self[second].prev = at;
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Slot { prev, next, .. } = self[at];
        if prev == NIL {
            self.newest = next;
        } else {
            self[prev].next = next;
        }
        if next == NIL {
            self.oldest = prev;
        } else {
            self[next].prev = prev;
        }
    }
}

impl Index<u32> for Slab {
    type Output = Slot;

    fn index(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }
}

impl IndexMut<u32> for Slab {
    fn index_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }
}

/// Both parts in one allocation of exactly their length.
fn joined(key: &[u8], value: &[u8]) -> Box<[u8]> {
    let mut data = Vec::with_capacity(key.len() + value.len());
    data.extend_from_slice(key);
    data.extend_from_slice(value);
    data.into_boxed_slice()
}

#[cfg(test)]
impl Slab {
    /// Slots from the least to the most recently used, each link checked against the one that leads back.
    pub(super) fn by_age(&self) -> impl Iterator<Item = u32> {
        let real = |at: u32| (at != NIL).then_some(at);
        std::iter::successors(real(self.oldest), move |&at| {
            let newer = real(self[at].prev);
            match newer {
                Some(newer) => assert_eq!(self[newer].next, at),
                None => assert_eq!(self.newest, at),
            }
            newer
        })
    }
}
