//! Values of JSON in parts: what [`shape`](super::shape) finds in a slab, in the form in which it crosses.

use super::ItemFailure;
use super::decoded::{Decoded, Text, text_of};
use super::json::validate;
use super::shape::{Scalars, Shape, hot, learn};
use super::values::{SLAB_BYTES, Slab, cut};
use crate::error::{Error, Kind};
use std::sync::Arc;

/// How many entries are made from what, slab after slab.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Objects {
    /// Pairs: a shape's number or one of [`kind`], and how many entries of that follow each other. Each text begins anew.
    pub runs: Vec<i32>,
    /// The words of all scalars ([`Scalars`]), and the length of each text.
    pub words: Vec<i32>,
    /// Their numbers.
    pub numbers: Vec<f64>,
}

/// What is no shape. The same numbers as in `lib/shapes.js`.
mod kind {
    /// Missing, or failed.
    pub(super) const NOTHING: i32 = -1;
    /// A JSON text of its own.
    pub(super) const TEXT: i32 = -2;
    /// An element of the slab, which is a JSON array.
    pub(super) const ELEMENT: i32 = -3;
}

/// Of fewer values at once the arrays cost more than they save.
const FEWEST: usize = 64;

impl Objects {
    /// Bytes that cross.
    pub(super) fn byte_len(&self) -> usize {
        size_of_val(self.words.as_slice()) + size_of_val(self.numbers.as_slice())
    }

    /// Whether anything is in parts. Otherwise each slab is an array of its entries.
    pub fn any(&self) -> bool {
        self.runs.chunks(2).any(|run| run.first() != Some(&kind::ELEMENT))
    }

    pub(super) fn append(&mut self, other: &mut Self) {
        self.runs.append(&mut other.runs);
        self.words.append(&mut other.words);
        self.numbers.append(&mut other.numbers);
    }

    /// Adds a slab that is an array.
    pub(super) fn push_array(&mut self, entries: u32) {
        self.runs.extend([kind::ELEMENT, entries as i32]);
    }
}

/// A text is closed at this size. A string of an object that is kept for long keeps the whole text: of a few objects out of
/// many that is to be little.
const TEXT_BYTES: usize = 16 * 1024;

/// One slab in parts.
#[derive(Default)]
struct Shaped {
    /// Texts that are closed, with the entries of each.
    texts: Vec<(Text, u32)>,
    /// Entries of the text that is open, and where its runs begin.
    entries: u32,
    first_run: usize,
    runs: Vec<i32>,
    /// Their text is the open one.
    scalars: Scalars,
    lengths: Vec<i32>,
    failures: Vec<(usize, Error)>,
}

impl Shaped {
    fn push(&mut self, what: i32) {
        match self.runs.get_mut(self.first_run..) {
            Some([.., last, count]) if *last == what => *count += 1,
            Some(_) | None => self.runs.extend([what, 1]),
        }
        self.entries += 1;
        self.lengths.push(if what == kind::NOTHING { -1 } else { 0 });
        if self.scalars.text.len() >= TEXT_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.entries > 0 {
            let text = std::mem::take(&mut self.scalars.text);
            self.texts.push((text_of(text), std::mem::take(&mut self.entries)));
            self.first_run = self.runs.len();
        }
    }
}

impl Decoded {
    /// Takes the slab's objects apart where most are of shapes that are seen often, else writes one JSON array.
    /// `values` are there in all.
    pub(super) fn push_objects(&mut self, slab: &Slab, lengths: &[u32], values: usize) {
        // A larger slab has one long value: an object of many scalars is not worth it, and may be longer than a string may be.
        if values < FEWEST || slab.bytes.len() > SLAB_BYTES || !is_utf8(&slab.bytes) {
            return self.push_json(slab, lengths);
        }
        let (shaped, stranger) = take_apart(&slab.bytes, lengths, &hot());
        if let Some(stranger) = stranger {
            learn(stranger, cut(&slab.bytes, lengths).flatten());
        }
        let Some(Shaped { mut texts, runs, scalars, lengths: table, failures, .. }) = shaped else {
            return self.push_json(slab, lengths);
        };
        let offset = self.lengths.len();
        let failures = failures.into_iter();
        self.failures.extend(failures.map(|(at, error)| ItemFailure::new((offset + at) as u32, error)));
        self.hits += table.iter().filter(|length| **length >= 0).count() as u32;
        self.lengths.extend(table);
        let Scalars { words, numbers, .. } = scalars;
        self.slabs.append(&mut texts);
        self.objects.append(&mut Objects { runs, words, numbers });
    }
}

fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// No parts where too many values are strangers: `JSON.parse` is faster with many at once. Also the first stranger.
fn take_apart<'a>(
    bytes: &'a [u8],
    lengths: &'a [u32],
    hot: &[Arc<Shape>],
) -> (Option<Shaped>, Option<&'a [u8]>) {
    /// So many are no sign yet.
    const SOME: usize = 16;
    /// Shapes that may be tried in vain for each value and each shape; after that only so few. Many that differ in their
    /// last key would else cost more than parsing.
    const PATIENCE: usize = 4;
    const FEW: usize = 4;
    let mut shaped = Shaped { lengths: Vec::with_capacity(lengths.len()), ..Shaped::default() };
    let mut stranger = None;
    let mut strangers = 0;
    // Those that were found last come first.
    let mut order: Vec<usize> = (0..hot.len()).collect();
    let mut patience = PATIENCE * (lengths.len() + hot.len());
    for (at, value) in cut(bytes, lengths).enumerate() {
        let Some(value) = value else {
            shaped.push(kind::NOTHING);
            continue;
        };
        let tried = if patience == 0 { FEW } else { hot.len() };
        let mut has =
            |number: usize| hot.get(number).is_some_and(|shape| shape.take(value, &mut shaped.scalars));
        let found = order.iter().take(tried).position(|&number| has(number));
        patience = patience.saturating_sub(found.unwrap_or(tried));
        if let Some(place) = found
            && let Some(recent) = order.get_mut(..=place)
        {
            recent.rotate_right(1);
            shaped.push(order.first().map_or(kind::NOTHING, |number| *number as i32));
            continue;
        }
        if !validate(value) {
            shaped.failures.push((at, Error::new(Kind::InvalidJson, NOT_JSON)));
            shaped.push(kind::NOTHING);
            continue;
        }
        stranger.get_or_insert(value);
        strangers += 1;
        if hot.is_empty() || strangers > SOME + at / 2 {
            // The others are as strange, for all that is known.
            return (None, stranger);
        }
        shaped.scalars.push_text(value);
        shaped.push(kind::TEXT);
    }
    shaped.close();
    (Some(shaped), stranger)
}

/// The message of an item that is no JSON.
pub(super) const NOT_JSON: &str = "the stored value is not valid JSON";
