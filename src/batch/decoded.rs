//! Values in the form in which JavaScript takes them fastest.

use super::json::validate;
use super::objects::{NOT_JSON, Objects};
use super::values::{FAILED, NULL, Slab};
use super::{ItemFailure, slab_pool};
use crate::error::{Error, Kind};
use encoding_rs::mem;

/// V8's longest string in UTF-16 units (2^29 - 24 on 64-bit systems).
pub const MAX_STRING: usize = (1 << 29) - 24;

/// Of an answer with so many bytes V8 does not copy the texts: it would copy them twice more at its next collections of
/// young objects. Smaller answers come in memory that is used again at once, which is worth more.
pub(super) const IN_PLACE_BYTES: u64 = 4 * 1024 * 1024;

/// In what form the caller wants values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// JavaScript strings, decoded as `Buffer.toString()` does.
    String,
    /// Values of `JSON.parse`.
    Json,
    /// The same, objects of known shapes as their parts ([`super::shape`]).
    Objects,
    /// Bytes as they are stored.
    Buffer,
}

/// Characters or bytes that JavaScript cuts into items.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Text {
    /// Text of one byte a character; ASCII for the most part.
    Latin1(Vec<u8>),
    /// Text of two bytes a character.
    Utf16(Vec<u16>),
    /// Bytes that are not text.
    Bytes(Vec<u8>),
}

/// [`Values`] in the form in which they cross to JavaScript.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Decoded {
    /// The slabs with the number of table entries that belong to each.
    pub slabs: Vec<(Text, u32)>,
    /// Length of each item in the units of its slab; -1 where there is none.
    pub lengths: Vec<i32>,
    /// Items that were there.
    pub hits: u32,
    /// Items that failed.
    pub failures: Vec<ItemFailure>,
    /// Whether the slabs are JSON, and not their texts back to back.
    pub json: bool,
    /// How entries are to be made from the slabs of JSON, where some are in parts; else each slab is an array.
    pub objects: Objects,
    /// Whether JavaScript is to use the texts where they stand; else it copies them, and their memory is used again.
    pub in_place: bool,
}

impl Decoded {
    /// Bytes of the slabs.
    pub fn byte_len(&self) -> usize {
        let sizes = self.slabs.iter().map(|(text, _)| match text {
            Text::Latin1(bytes) | Text::Bytes(bytes) => bytes.len(),
            Text::Utf16(units) => units.len() * 2,
        });
        sizes.sum::<usize>() + self.objects.byte_len()
    }

    /// Decides whether JavaScript is to use the texts where they stand: these are of an answer with `items` items in all.
    pub fn decide_in_place(&mut self, items: usize) {
        let expected = self.byte_len() as u64 * items as u64 / self.lengths.len().max(1) as u64;
        self.in_place |= expected >= IN_PLACE_BYTES;
    }

    /// Takes the items of `other` after the own ones.
    pub fn append(&mut self, mut other: Decoded) {
        let offset = self.lengths.len() as u32;
        self.slabs.append(&mut other.slabs);
        self.lengths.append(&mut other.lengths);
        self.hits += other.hits;
        self.in_place |= other.in_place;
        self.objects.append(&mut other.objects);
        self.failures.extend(other.failures.into_iter().map(|mut failure| {
            failure.index += offset;
            failure
        }));
    }

    pub(super) fn push_bytes(&mut self, mut slab: Slab, lengths: &[u32]) {
        for &length in lengths {
            let table = match length {
                NULL | FAILED => -1,
                _ => i32::try_from(length).unwrap_or(i32::MAX),
            };
            self.hits += u32::from(table >= 0);
            self.lengths.push(table);
        }
        self.slabs.push((Text::Bytes(std::mem::take(&mut slab.bytes)), slab.entries));
    }

    pub(super) fn push_text(&mut self, slab: Slab, lengths: &[u32]) {
        if slab.bytes.is_ascii() && slab.bytes.len() <= MAX_STRING {
            self.push_bytes(slab, lengths);
            if let Some((text, _)) = self.slabs.last_mut()
                && let Text::Bytes(bytes) = text
            {
                *text = Text::Latin1(std::mem::take(bytes));
            }
            return;
        }
        let first = self.lengths.len();
        if mem::is_utf8_latin1(&slab.bytes) && begin_whole(&slab.bytes, lengths) {
            let mut text = zeroed(slab.bytes.len());
            let used = self.transcode(&slab.bytes, lengths, &mut text, |item, room| {
                mem::convert_utf8_to_latin1_lossy(item, room)
            });
            text.truncate(used);
            self.slabs.push((Text::Latin1(text), slab.entries));
        } else {
            // encoding_rs asks for one unit more than there are bytes.
            let mut text = vec![0u16; slab.bytes.len() + 1];
            let used = self.transcode(&slab.bytes, lengths, &mut text, mem::convert_utf8_to_utf16);
            text.truncate(used);
            self.slabs.push((Text::Utf16(text), slab.entries));
        }
        if self.lengths.iter().skip(first).any(|&length| length > MAX_STRING as i32) {
            // Only a slab that holds one value gets that long.
            self.fail_slab(first);
        }
    }

    /// Converts item by item, so that a sequence cut off at the end of one value does not reach into the next.
    fn transcode<Unit>(
        &mut self,
        bytes: &[u8],
        lengths: &[u32],
        text: &mut [Unit],
        convert: impl Fn(&[u8], &mut [Unit]) -> usize,
    ) -> usize {
        let (mut read, mut written) = (0, 0);
        for &length in lengths {
            if length >= FAILED {
                self.lengths.push(-1);
                continue;
            }
            let end = read + length as usize;
            let units = match (bytes.get(read..end), text.get_mut(written..)) {
                (Some(item), Some(room)) => convert(item, room),
                _ => 0,
            };
            (read, written) = (end, written + units);
            self.lengths.push(units as i32);
            self.hits += 1;
        }
        written
    }

    /// Replaces the last slab, whose entries start at `first`, by failures: it is longer than a string may be.
    fn fail_slab(&mut self, first: usize) {
        if let Some((text, _)) = self.slabs.last_mut() {
            *text = Text::Latin1(Vec::new());
        }
        for index in first..self.lengths.len() {
            if self.lengths[index] >= 0 {
                self.lengths[index] = -1;
                self.hits -= 1;
                self.failures.push(ItemFailure::new(index as u32, too_large()));
            }
        }
    }

    /// Writes the slab's values as one JSON array, with null for what is missing or is not JSON.
    pub(super) fn push_json(&mut self, slab: &Slab, lengths: &[u32]) {
        let mut array = slab_pool::take_for(slab.bytes.len() + lengths.len() * 5 + 2);
        array.push(b'[');
        let mut read = 0;
        for &length in lengths {
            if array.len() > 1 {
                array.push(b',');
            }
            let index = self.lengths.len() as u32;
            let value = (length < FAILED).then(|| slab.bytes.get(read..read + length as usize)).flatten();
            read += value.map_or(0, <[u8]>::len);
            let refusal = value.and_then(|value| {
                // Two brackets stand around it.
                if value.len() > MAX_STRING - 2 {
                    Some(too_large())
                } else if validate(value) {
                    None
                } else {
                    Some(Error::new(Kind::InvalidJson, NOT_JSON))
                }
            });
            match (value, refusal) {
                (Some(value), None) => {
                    array.extend_from_slice(value);
                    self.hits += 1;
                    self.lengths.push(0);
                }
                (_, refusal) => {
                    array.extend_from_slice(b"null");
                    self.lengths.push(-1);
                    self.failures.extend(refusal.map(|error| ItemFailure::new(index, error)));
                }
            }
        }
        array.push(b']');
        self.slabs.push((text_of(array), slab.entries));
        self.objects.push_array(slab.entries);
    }
}

/// Whether every value begins with the first byte of a character. Where all of them together are UTF-8 and one does
/// not, a character is cut in two by a border.
fn begin_whole(bytes: &[u8], lengths: &[u32]) -> bool {
    let mut at = 0;
    lengths.iter().filter(|length| **length < FAILED).all(|&length| {
        let first = bytes.get(at).copied().unwrap_or(0);
        at += length as usize;
        length == 0 || first & 0xc0 != 0x80
    })
}

/// The whole of `bytes` as text, decoded like `Buffer.toString()`.
pub fn text_of(bytes: Vec<u8>) -> Text {
    if bytes.is_ascii() {
        return Text::Latin1(bytes);
    }
    let text = if mem::is_utf8_latin1(&bytes) {
        let mut text = zeroed(bytes.len());
        let used = mem::convert_utf8_to_latin1_lossy(&bytes, &mut text);
        text.truncate(used);
        Text::Latin1(text)
    } else {
        let mut text = vec![0u16; bytes.len() + 1];
        let used = mem::convert_utf8_to_utf16(&bytes, &mut text);
        text.truncate(used);
        Text::Utf16(text)
    };
    slab_pool::give_back(bytes);
    text
}

fn zeroed(bytes: usize) -> Vec<u8> {
    let mut room = slab_pool::take_for(bytes);
    room.resize(bytes, 0);
    room
}

fn too_large() -> Error {
    Error::new(Kind::TooLarge, "the value is longer than a JavaScript string may be; ask for it as a Buffer")
}

#[cfg(test)]
mod tests {
    use super::super::Values;
    use super::*;
    use proptest::prelude::*;

    fn cut(decoded: &Decoded) -> Vec<Option<String>> {
        let mut items = Vec::new();
        let mut lengths = decoded.lengths.iter();
        for (text, entries) in &decoded.slabs {
            let mut at = 0;
            for _ in 0..*entries {
                let length = *lengths.next().expect("an entry for each");
                items.push((length >= 0).then(|| {
                    let range = at..at + length as usize;
                    at = range.end;
                    match text {
                        Text::Latin1(text) => text[range].iter().map(|&byte| byte as char).collect(),
                        Text::Utf16(text) => String::from_utf16(&text[range]).expect("well formed"),
                        Text::Bytes(bytes) => String::from_utf8_lossy(&bytes[range]).into_owned(),
                    }
                }));
            }
        }
        items
    }

    #[test]
    fn a_cut_sequence_does_not_reach_into_the_next_value() {
        let mut values = Values::default();
        values.push(b"\xe2\x82");
        values.push(b"\xac!");
        assert_eq!(cut(&values.decode(Form::String)), [Some("\u{fffd}".into()), Some("\u{fffd}!".into())]);
        let mut values = Values::default();
        values.push(b"\xc3");
        values.push_null();
        values.push(b"\xa9");
        let expected = [Some("\u{fffd}".to_owned()), None, Some("\u{fffd}".to_owned())];
        assert_eq!(cut(&values.decode(Form::String)), expected);
    }

    #[test]
    fn json_marks_what_is_not_json() {
        let mut values = Values::default();
        values.push(b"{\"a\":1}");
        values.push(b"nope");
        values.push_null();
        values.push(b"null");
        let decoded = values.decode(Form::Json);
        assert_eq!(decoded.slabs, [(Text::Latin1(b"[{\"a\":1},null,null,null]".to_vec()), 4)]);
        assert_eq!(decoded.hits, 2);
        assert_eq!(decoded.failures.len(), 1);
        assert_eq!(decoded.failures[0].error.code(), "INVALID_JSON");
    }

    #[test]
    fn only_texts_of_large_answers_stay_in_place() {
        let in_place = |items: usize| {
            let mut values = Values::default();
            for _ in 0..64 {
                values.push(&[b'x'; 1024]);
            }
            let mut decoded = values.decode(Form::String);
            decoded.decide_in_place(items);
            decoded.in_place
        };
        assert_eq!([64, 4095, 4096, 100_000].map(in_place), [false, false, true, true]);
    }

    fn any_value() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop_oneof![
            "[a-z]{0,10}".prop_map(String::into_bytes),
            "[a-z\u{e0}-\u{ff}]{0,10}".prop_map(String::into_bytes),
            any::<String>().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..20),
            (40_000usize..70_000).prop_map(|length| vec![b'y'; length]),
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn values_come_back(items in prop::collection::vec(any_value(), 0..12), pieces in 1usize..7) {
            let mut values = Values::default();
            for item in &items {
                match item {
                    None => values.push_null(),
                    Some(item) => {
                        values.begin(item.len());
                        for part in item.chunks(item.len().div_ceil(pieces).max(1)) {
                            values.append(part);
                        }
                        values.end();
                    }
                }
            }
            let raw: Vec<_> = values.iter().map(|item| item.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(&raw, &items);
            let expected: Vec<_> =
                items.iter().map(|item| item.as_ref().map(|item| String::from_utf8_lossy(item).into_owned())).collect();
            let decoded = values.decode(Form::String);
            prop_assert_eq!(decoded.hits as usize, items.iter().flatten().count());
            prop_assert_eq!(cut(&decoded), expected);
        }
    }
}
