//! Pack and unpack: what goes in as one text comes out as its items, and values cross as exactly what they are.
//!
//! Input: a byte of settings, then items, each behind a byte for its length. A length of 255 is an item that is not
//! there; 254, the first few times, is a long value of the byte that follows.

use redis_bulk::batch::{
    ChunkLimits, Decoded, Form, Packed, SEPARATOR, Text, Values, chunks, split_array, validate,
};
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Long values in one input: more only take time.
const MOST_LONG: usize = 3;

pub(crate) fn run(data: &[u8]) {
    let [settings, rest @ ..] = data else { return };
    let items = items(rest);
    packed(&items);
    planned(&items, usize::from(*settings));
    for form in [Form::String, Form::Json, Form::Objects, Form::Buffer] {
        crossed(&items, form);
    }
    // Whatever it is: no panic, and an array of that many only if it is one.
    let count = usize::from(*settings) % 8;
    if let Some(parts) = split_array(rest.to_vec(), count) {
        assert_eq!(parts.len(), count);
        if validate(rest) {
            assert!(parts.iter().all(validate), "the elements of a JSON array are JSON");
        }
    }
}

fn items(mut rest: &[u8]) -> Vec<Option<Cow<'_, [u8]>>> {
    let mut items = Vec::new();
    let mut long = 0;
    while let Some((&length, after)) = rest.split_first() {
        rest = after;
        items.push(match length {
            255 => None,
            254 if long < MOST_LONG => {
                long += 1;
                let (&fill, after) = rest.split_first().unwrap_or((&0, &[]));
                rest = after;
                // Enough for a slab of its own.
                Some(Cow::Owned(vec![fill; 40_000 + usize::from(fill) * 100]))
            }
            length => {
                let (item, after) = rest.split_at(usize::from(length).min(rest.len()));
                rest = after;
                Some(Cow::Borrowed(item))
            }
        });
        if items.len() == 200 {
            break;
        }
    }
    items
}

/// Both packed forms give the items back; the separated one refuses what it cannot carry.
fn packed(items: &[Option<Cow<'_, [u8]>>]) {
    let items: Vec<&[u8]> = items.iter().flatten().map(|item| &**item).collect();
    let lengths: Vec<u32> = items.iter().map(|item| item.len() as u32).collect();
    let counted = Packed::from_lengths(items.concat(), &lengths).expect("the lengths are theirs");
    assert!(counted.iter().eq(items.iter().copied()));
    assert_eq!(counted.get(items.len()), b"");
    let separated = Packed::from_separated(items.join(&SEPARATOR), items.len());
    if items.iter().any(|item| item.contains(&SEPARATOR)) {
        assert!(separated.is_none());
    } else {
        assert!(separated.expect("no item has the separator").iter().eq(items.iter().copied()));
    }
}

/// Every index stands in exactly one chunk, in order, within the limits.
fn planned(items: &[Option<Cow<'_, [u8]>>], settings: usize) {
    let sizes: Vec<usize> = items.iter().map(|item| item.as_ref().map_or(0, |item| item.len())).collect();
    let limits = ChunkLimits { items: settings % 16 + 1, bytes: settings * 300 };
    let mut next = 0;
    for range in chunks(sizes.len(), limits, |index| sizes[index]) {
        assert_eq!(range.start, next);
        assert!(!range.is_empty() && range.len() <= limits.items);
        assert!(range.len() == 1 || sizes[range.clone()].iter().sum::<usize>() <= limits.bytes);
        next = range.end;
    }
    assert_eq!(next, sizes.len());
}

/// Values cross to JavaScript as what they are, however they arrive.
fn crossed(items: &[Option<Cow<'_, [u8]>>], form: Form) {
    let mut values = Values::with_capacity(items.len());
    for item in items {
        match item {
            None => values.push_null(),
            Some(item) => {
                values.begin(item.len());
                item.chunks(7_000).for_each(|part| values.append(part));
                values.end();
            }
        }
    }
    assert!(values.iter().eq(items.iter().map(Option::as_deref)));
    let decoded = values.decode(form);
    assert_eq!(decoded.lengths.len(), items.len());
    assert_eq!(decoded.slabs.iter().map(|(_, entries)| *entries as usize).sum::<usize>(), items.len());
    let hits = decoded.lengths.iter().filter(|length| **length >= 0).count();
    assert_eq!(decoded.hits as usize, hits);
    match form {
        // Nothing is taken apart here: no shape comes often.
        Form::Objects if decoded.objects.any() => {}
        Form::Json | Form::Objects => json(&decoded, items),
        _ => cut(&decoded, items, form),
    }
}

/// Cuts the slabs as `lib/values.js` does and compares.
fn cut(decoded: &Decoded, items: &[Option<Cow<'_, [u8]>>], form: Form) {
    let mut index = 0;
    for (text, entries) in &decoded.slabs {
        let mut at = 0;
        for _ in 0..*entries {
            let (length, item) = (decoded.lengths[index], &items[index]);
            index += 1;
            let Some(item) = item else {
                assert_eq!(length, -1);
                continue;
            };
            let end = at + usize::try_from(length).expect("it is there");
            match text {
                Text::Bytes(bytes) => {
                    assert_eq!(form, Form::Buffer);
                    assert_eq!(&bytes[at..end], &**item);
                }
                Text::Latin1(bytes) => {
                    let text: String = bytes[at..end].iter().map(|&byte| char::from(byte)).collect();
                    assert_eq!(text, String::from_utf8_lossy(item));
                }
                Text::Utf16(units) => {
                    let text = String::from_utf16(&units[at..end]).expect("pairs of surrogates");
                    assert_eq!(text, String::from_utf8_lossy(item));
                }
                other => panic!("not known here: {other:?}"),
            }
            at = end;
        }
        let length = match text {
            Text::Bytes(bytes) | Text::Latin1(bytes) => bytes.len(),
            Text::Utf16(units) => units.len(),
            other => panic!("not known here: {other:?}"),
        };
        assert_eq!(at, length, "nothing is left of the slab");
    }
}

/// Each slab is an array of as many elements as it has entries, and what is not JSON is a failure of its own.
fn json(decoded: &Decoded, items: &[Option<Cow<'_, [u8]>>]) {
    let mut index = 0;
    for (text, entries) in &decoded.slabs {
        let text = match text {
            Text::Latin1(bytes) => bytes.iter().map(|&byte| char::from(byte)).collect(),
            Text::Utf16(units) => String::from_utf16(units).expect("pairs of surrogates"),
            other => panic!("not text: {other:?}"),
        };
        let all: Vec<IgnoredAny> = serde_json::from_str(&text).expect("an array");
        assert_eq!(all.len(), *entries as usize);
        for _ in 0..*entries {
            let valid = items[index].as_ref().is_some_and(|item| validate(item));
            assert_eq!(decoded.lengths[index] >= 0, valid);
            let failed = decoded.failures.iter().any(|failure| failure.index as usize == index);
            assert_eq!(failed, items[index].is_some() && !valid);
            index += 1;
        }
    }
}
