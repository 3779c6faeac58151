//! JSON texts, looked at off the JavaScript thread.

use super::Packed;
use memchr::memchr2;
use serde::de::IgnoredAny;

/// Whether `JSON.parse` would accept `text`. The grammar is RFC 8259's for both; nesting is not limited, as in V8.
pub fn validate(text: &[u8]) -> bool {
    // Ignoring a value walks it without recursion.
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Splits the text of a JSON array, as `JSON.stringify` writes it (no white space), into its elements' texts.
/// `None` when it is not such an array of `count` elements.
pub fn split_array(mut text: Vec<u8>, count: usize) -> Option<Packed> {
    if u32::try_from(text.len()).is_err() || text.first() != Some(&b'[') || text.pop() != Some(b']') {
        return None;
    }
    // Nothing between the brackets is no element, not an empty one.
    if (text.len() == 1) != (count == 0) {
        return None;
    }
    let mut ends = Vec::with_capacity(count);
    let mut depth = 0usize;
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = skip_string(&text, at)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => ends.push(at as u32),
            _ => {}
        }
        at += 1;
    }
    if count > 0 {
        ends.push(text.len() as u32);
    }
    if depth != 0 || ends.len() != count {
        return None;
    }
    // The first element starts after the bracket; giving it a gap of one like the others needs it to go.
    text.remove(0);
    for end in &mut ends {
        *end -= 1;
    }
    Some(Packed::from_gapped(text, ends, 1))
}

/// The position of the quote that closes the string which opens at `open`.
fn skip_string(text: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn accepts_what_json_parse_accepts() {
        for text in ["1", "-0", "1e999", "\"\\ud800\"", " [1 , 2]\n", "null", "{\"a\":{}}"] {
            assert!(validate(text.as_bytes()), "{text}");
        }
        for text in
            ["", "01", "1.", "NaN", "'a'", "[1,]", "{\"a\":1,}", "\u{feff}1", "1 2", "\"\u{1}\"", "undefined"]
        {
            assert!(!validate(text.as_bytes()), "{text}");
        }
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(validate(deep.as_bytes()));
    }

    #[test]
    fn refuses_what_is_not_an_array_of_that_many() {
        assert!(split_array(b"[1,2]".to_vec(), 3).is_none());
        assert!(split_array(b"{}".to_vec(), 1).is_none());
        assert!(split_array(b"[]".to_vec(), 1).is_none());
        assert!(split_array(b"[1]".to_vec(), 0).is_none());
        assert!(split_array(b"]".to_vec(), 0).is_none());
        assert!(split_array(b"[\"a]".to_vec(), 1).is_none());
        assert!(split_array(b"".to_vec(), 0).is_none());
        assert!(split_array(b"[]".to_vec(), 0).is_some_and(|packed| packed.is_empty()));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\"\\\\,\\[\\]{}a-z\u{e9}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[\",a-c\\\\]{0,3}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn splits_into_the_elements(elements in prop::collection::vec(any_json(), 0..12)) {
            let packed = split_array(serde_json::to_vec(&elements).expect("serialises"), elements.len())
                .expect("it is an array of that many");
            for (part, element) in packed.iter().zip(&elements) {
                prop_assert_eq!(part, serde_json::to_vec(element).expect("serialises"));
            }
        }
    }
}
