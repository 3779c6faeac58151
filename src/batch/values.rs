//! The slab: values as they arrive, one after another in a few buffers, with a table of their lengths.

use super::decoded::{Decoded, Form};
use super::{ItemFailure, slab_pool};
use crate::error::Error;

/// A slab is closed at this size. A JavaScript string that was sliced from a parent keeps the parent alive: this is
/// the most that one short value can hold on to.
pub(super) const SLAB_BYTES: usize = 64 * 1024;
/// Length of an item that is not there.
pub(super) const NULL: u32 = u32::MAX;
/// Length of an item that failed.
pub(super) const FAILED: u32 = u32::MAX - 1;

/// The values of a slab; `None` for an entry that is missing or failed.
pub(super) fn cut<'a>(bytes: &'a [u8], lengths: &'a [u32]) -> impl Iterator<Item = Option<&'a [u8]>> {
    let mut at = 0;
    lengths.iter().map(move |&length| {
        if length >= FAILED {
            return None;
        }
        let start = at;
        at += length as usize;
        bytes.get(start..at)
    })
}

/// Some values' bytes, back to back.
#[derive(Debug, Default)]
pub struct Slab {
    pub(super) bytes: Vec<u8>,
    /// Table entries that belong to this slab, missing ones among them.
    pub(super) entries: u32,
}

impl Drop for Slab {
    fn drop(&mut self) {
        slab_pool::give_back(std::mem::take(&mut self.bytes));
    }
}

/// Values in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct Values {
    slabs: Vec<Slab>,
    lengths: Vec<u32>,
    /// Bytes of the item that is still arriving.
    partial: usize,
    failures: Vec<ItemFailure>,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    slab: u32,
    start: u32,
    end: u32,
}

impl Place {
    fn before(slab: usize, end: usize, length: usize) -> Self {
        Self { slab: slab as u32, start: (end - length) as u32, end: end as u32 }
    }
}

impl Values {
    /// An empty table with room for `count` items. The values' room grows with what arrives.
    pub fn with_capacity(count: usize) -> Self {
        Self { lengths: Vec::with_capacity(count), ..Self::default() }
    }

    /// Items so far.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no item yet.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Bytes of the values so far.
    pub fn byte_len(&self) -> usize {
        self.slabs.iter().map(|slab| slab.bytes.len()).sum()
    }

    /// Says that a value of `length` bytes comes next, so that a long one gets a slab of its own. Nothing is
    /// allocated by this claim.
    #[inline]
    pub fn begin(&mut self, length: usize) {
        if let Some(slab) = self.slabs.last()
            && slab.bytes.len() + length > SLAB_BYTES
            && slab.entries > 0
        {
            // A long value has its own room, which grows with what arrives.
            let bytes = if length > SLAB_BYTES { Vec::new() } else { slab_pool::take() };
            self.slabs.push(Slab { bytes, entries: 0 });
        }
    }

    /// Adds what has arrived of the value.
    #[inline]
    pub fn append(&mut self, part: &[u8]) {
        self.partial += part.len();
        self.slab().bytes.extend_from_slice(part);
    }

    /// Ends the value.
    #[inline]
    pub fn end(&mut self) {
        // The reader refuses lengths that do not fit long before this.
        let length = std::mem::take(&mut self.partial) as u32;
        self.entry(length);
    }

    /// Adds a whole value; says where it stands.
    #[inline]
    pub fn push(&mut self, value: &[u8]) -> Place {
        let number = self.slabs.len().saturating_sub(1);
        if let Some(slab) = self.slabs.last_mut()
            && slab.bytes.len() + value.len() <= SLAB_BYTES
        {
            slab.bytes.extend_from_slice(value);
            slab.entries += 1;
            self.lengths.push(value.len() as u32);
            return Place::before(number, slab.bytes.len(), value.len());
        }
        self.begin(value.len());
        self.append(value);
        self.end();
        let end = self.slabs.last().map_or(0, |slab| slab.bytes.len());
        Place::before(self.slabs.len().saturating_sub(1), end, value.len())
    }

    /// The bytes at a place that [`Values::push`] gave.
    #[inline]
    pub fn at(&self, place: Place) -> &[u8] {
        let slab = self.slabs.get(place.slab as usize);
        slab.and_then(|slab| slab.bytes.get(place.start as usize..place.end as usize)).unwrap_or(&[])
    }

    /// Adds an item that is not there.
    #[inline]
    pub fn push_null(&mut self) {
        self.entry(NULL);
    }

    /// Adds an item that failed.
    pub fn push_failed(&mut self, error: Error) {
        self.failures.push(ItemFailure::new(self.lengths.len() as u32, error));
        self.entry(FAILED);
    }

    /// Items that failed, in order.
    pub fn failures(&self) -> &[ItemFailure] {
        &self.failures
    }

    /// The values of several answers in the order of one question of `count` items. Each part says which items its
    /// values are for; of two values for an item the later part's counts. What no part has failed with `missing`.
    pub fn assemble(count: usize, parts: &[(&[u32], &Values)], missing: &Error) -> Self {
        #[derive(Clone, Copy)]
        enum Cell<'a> {
            Value(&'a [u8]),
            Null,
            Failed(&'a Error),
        }
        let mut cells = vec![Cell::Failed(missing); count];
        for (items, values) in parts {
            let mut failures = values.failures.iter().peekable();
            for (at, (&item, value)) in (0u32..).zip(items.iter().zip(values.iter())) {
                let failed = failures.next_if(|failure| failure.index == at);
                let cell = match (value, failed) {
                    (Some(bytes), _) => Cell::Value(bytes),
                    (None, Some(failure)) => Cell::Failed(&failure.error),
                    (None, None) => Cell::Null,
                };
                if let Some(place) = cells.get_mut(item as usize) {
                    *place = cell;
                }
            }
        }
        let mut whole = Self::with_capacity(count);
        for cell in cells {
            match cell {
                Cell::Value(bytes) => drop(whole.push(bytes)),
                Cell::Null => whole.push_null(),
                Cell::Failed(error) => whole.push_failed(error.clone()),
            }
        }
        whole
    }

    /// Each item's bytes; `None` where it is missing or failed.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut slabs = self.slabs.iter();
        let mut slab: &[u8] = &[];
        let mut entries = 0;
        self.lengths.iter().map(move |&length| {
            while entries == 0 {
                let Some(next) = slabs.next() else { break };
                (slab, entries) = (&next.bytes, next.entries);
            }
            entries = entries.saturating_sub(1);
            if length >= FAILED {
                return None;
            }
            let (value, rest) = slab.split_at_checked(length as usize)?;
            slab = rest;
            Some(value)
        })
    }

    /// Turns the bytes into what JavaScript takes fastest. This is the work that must not run on its thread.
    pub fn decode(self, form: Form) -> Decoded {
        let mut decoded = Decoded {
            lengths: Vec::with_capacity(self.lengths.len()),
            failures: self.failures,
            json: matches!(form, Form::Json | Form::Objects),
            ..Decoded::default()
        };
        let mut rest = self.lengths.as_slice();
        for slab in self.slabs {
            let (lengths, after) = rest.split_at(rest.len().min(slab.entries as usize));
            rest = after;
            match form {
                Form::String => decoded.push_text(slab, lengths),
                Form::Json => decoded.push_json(&slab, lengths),
                Form::Objects => decoded.push_objects(&slab, lengths, self.lengths.len()),
                Form::Buffer => decoded.push_bytes(slab, lengths),
            }
        }
        decoded
    }

    #[inline]
    fn slab(&mut self) -> &mut Slab {
        /// So many items have a whole slab from the start.
        const MANY: usize = 256;
        if self.slabs.is_empty() {
            let bytes = if self.lengths.capacity() < MANY { Vec::new() } else { slab_pool::take() };
            self.slabs.push(Slab { bytes, entries: 0 });
        }
        // There is one now.
        let last = self.slabs.len() - 1;
        &mut self.slabs[last]
    }

    #[inline]
    fn entry(&mut self, length: u32) {
        self.slab().entries += 1;
        self.lengths.push(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn parts_come_together_in_the_order_asked() {
        let values = |items: &[Option<&str>]| {
            let mut values = Values::default();
            for item in items {
                match item {
                    Some("!") => values.push_failed(Error::new(Kind::NotSet, "refused")),
                    Some(text) => drop(values.push(text.as_bytes())),
                    None => values.push_null(),
                }
            }
            values
        };
        let first = values(&[Some("c"), Some("!"), None]);
        let second = values(&[Some("b"), Some("!")]);
        let again = values(&[Some("f")]);
        let missing = Error::new(Kind::Timeout, "late");
        let parts: [(&[u32], &Values); 3] = [(&[2, 5, 0], &first), (&[1, 4], &second), (&[5], &again)];
        let whole = Values::assemble(7, &parts, &missing);
        let items: Vec<_> = whole.iter().map(|item| item.map(String::from_utf8_lossy)).collect();
        assert_eq!(items, [None, Some("b".into()), Some("c".into()), None, None, Some("f".into()), None]);
        let failed: Vec<_> =
            whole.failures().iter().map(|failure| (failure.index, failure.error.code())).collect();
        assert_eq!(failed, [(3, "TIMEOUT"), (4, "NOT_SET"), (6, "TIMEOUT")]);
    }

    #[test]
    fn a_long_value_gets_a_slab_of_its_own() {
        let mut values = Values::default();
        values.push(b"short");
        values.push(&vec![b'x'; SLAB_BYTES + 1]);
        values.push(b"short");
        assert_eq!(values.slabs.len(), 3);
    }
}
