//! Objects in parts are the objects that were stored, whatever shapes they have.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking, outside its own function too"
)]
#![expect(clippy::wildcard_enum_match_arm, reason = "enums may grow")]

use proptest::prelude::*;
use redis_bulk::batch::shape::{Scalars, Shape, describe};
use redis_bulk::batch::{Decoded, Form, Text, Values, validate};
use serde_json::{Map, Value};

#[path = "../fuzz/bodies/shape.rs"]
mod shape;

/// Whether a value has the shape of a sample.
fn has(sample: &str, value: &str) -> bool {
    let known = Shape::of(sample.as_bytes()).unwrap_or_else(|| panic!("{sample} has a shape"));
    shape::run(format!("{sample}\n{value}").as_bytes());
    shape::taken(&known, value.as_bytes())
}

#[test]
fn scalars_may_be_of_any_kind_and_lists_of_any_length() {
    let sample = r#"{"id":1,"tags":["a"],"of":{"x":1}}"#;
    for value in [
        r#"{"id":null,"tags":[],"of":{"x":true}}"#,
        r#"{"id":"","tags":[1,-2.5,"c",false],"of":{"x":"\u00e9\n\ud83d\ude00"}}"#,
        r#"{"id":-0,"tags":[1e400,123456789012345678901234567890],"of":{"x":0.1}}"#,
        r#"{"id":999999999,"tags":[-999999999,1000000000,2147483648],"of":{"x":1E-3}}"#,
        r#"{"id":"größe 漢字 😀","tags":["eight by","te chars"],"of":{"x":"/\/"}}"#,
    ] {
        assert!(has(sample, value), "{value}");
    }
}

#[test]
fn what_differs_or_is_no_json_is_not_taken() {
    let sample = r#"{"id":1,"tags":["a"],"of":{"x":1}}"#;
    for value in [
        "",
        "{}",
        r#"{"id":1,"tags":["a"],"of":{"x":1}} "#,
        r#"{"id": 1,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":1,"tags":["a"],"of":{"x":1}"#,
        r#"{"id":1,"tags":["a"],"of":{"y":1}}"#,
        r#"{"id":1,"tags":["a"],"of":null}"#,
        r#"{"id":1,"tags":["a",],"of":{"x":1}}"#,
        r#"{"id":1,"tags":["a"["b"]],"of":{"x":1}}"#,
        r#"{"id":{},"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":01,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":+1,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":.5,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":5.,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":1e,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":-,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":truE,"tags":["a"],"of":{"x":1}}"#,
        r#"{"id":"\x","tags":["a"],"of":{"x":1}}"#,
        r#"{"id":"\u12g4","tags":["a"],"of":{"x":1}}"#,
        // Half a pair has no UTF-8.
        r#"{"id":"\ud83d","tags":["a"],"of":{"x":1}}"#,
        r#"{"id":"\ud83dA","tags":["a"],"of":{"x":1}}"#,
        r#"{"id":"\udc00","tags":["a"],"of":{"x":1}}"#,
        "{\"id\":\"\u{1}\",\"tags\":[\"a\"],\"of\":{\"x\":1}}",
        "{\"id\":\"a line\nfeed\",\"tags\":[\"a\"],\"of\":{\"x\":1}}",
    ] {
        assert!(!has(sample, value), "{value}");
    }
}

#[test]
fn shapes_that_a_literal_would_not_keep_are_none() {
    let deep = format!("{}1{}", "{\"a\":".repeat(20), "}".repeat(20));
    let wide: String = (0..400).map(|key| format!("\"k{key}\":0,")).collect();
    let wide = format!("{{{}}}", wide.trim_end_matches(','));
    for sample in [
        "1",
        "\"a\"",
        "[1,2]",
        "null",
        "{",
        r#"{"a":1,"a":2}"#,
        r#"{"__proto__":1}"#,
        r#"{"7":1}"#,
        r#"{"":1}"#,
        r#"{"a\n":1}"#,
        r#"{"a":[1,{}]}"#,
        r#"{"a":[{"b":1},{"c":1}]}"#,
        r#"{"a": 1}"#,
        r#"{"a":1}}"#,
        &deep,
        &wide,
    ] {
        assert!(Shape::of(sample.as_bytes()).is_none(), "{sample}");
    }
    let long = format!("{{\"a\":[{}1]}}", "1,".repeat(5000));
    assert_eq!(Shape::of(long.as_bytes()).expect("a list is one shape").description(), r#"{"a":[0]}"#);
}

/// An object of the given keys, with random scalars and lists of them.
fn object(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,30}".prop_map(Value::from),
    ];
    let field =
        prop_oneof![3 => scalar.clone(), 1 => prop::collection::vec(scalar, 0..5).prop_map(Value::from)];
    prop::collection::vec(field, keys.len()).prop_map(move |fields| {
        Value::from(keys.iter().map(|key| (*key).to_owned()).zip(fields).collect::<Map<_, _>>())
    })
}

const KEYS: &[&str] = &["a", "b-c", "constructor", "größe", "😀"];

/// What JavaScript makes of each item; `None` where it gets null for one that is not there.
fn made(decoded: &Decoded) -> Vec<Option<Value>> {
    let slab = |text: &Text| match text {
        Text::Latin1(bytes) => bytes.iter().map(|&byte| u16::from(byte)).collect::<Vec<_>>(),
        Text::Utf16(units) => units.clone(),
        other => panic!("not text: {other:?}"),
    };
    let slabs: Vec<_> = decoded.slabs.iter().map(|(text, entries)| (slab(text), *entries as usize)).collect();
    let mut runs = decoded.objects.runs.chunks(2);
    let mut left =
        shape::Left { text: &[], words: &decoded.objects.words, numbers: &decoded.objects.numbers };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let mut all = Vec::new();
    for (units, entries) in &slabs {
        left.text = units;
        let end = all.len() + entries;
        while all.len() < end {
            let run = runs.next().expect("a run for all");
            for _ in 0..run[1] {
                match run[0] {
                    -1 => all.push(None),
                    -2 => all.push(Some(parsed(&left.string()))),
                    -3 => panic!("most are of one shape"),
                    number => {
                        let description = describe(number as usize).expect("a known shape");
                        all.push(Some(parsed(&left.next(&description))));
                    }
                }
            }
        }
        assert_eq!(all.len(), end, "each slab has runs of its own");
        assert!(left.text.is_empty());
    }
    assert!(left.is_empty() && runs.next().is_none());
    all
}

fn decoded(items: &[Option<String>]) -> Decoded {
    let mut values = Values::with_capacity(items.len());
    for item in items {
        match item {
            Some(text) => drop(values.push(text.as_bytes())),
            None => values.push_null(),
        }
    }
    values.decode(Form::Objects)
}

/// Shows so many values of the shape that it is known from then on.
fn make_known(sample: &str) {
    for _ in 0..10 {
        decoded(&vec![Some(sample.to_owned()); 300]);
    }
}

#[test]
fn only_shapes_that_come_often_and_in_numbers_are_taken_apart() {
    let sample = r#"{"only":1,"here":[true]}"#.to_owned();
    for _ in 0..100 {
        assert!(!decoded(&vec![Some(sample.clone()); 10]).objects.any(), "few values are one array");
    }
    assert!(!decoded(&vec![Some(sample.clone()); 300]).objects.any(), "the first ones are one array");
    make_known(&sample);
    let all = decoded(&vec![Some(sample.clone()); 300]);
    assert!(all.objects.any());
    assert_eq!(all.objects.runs.len(), 2);
    // What keeps one of the strings keeps its text, which is small.
    let long = format!("{{\"only\":\"{}\",\"here\":[true]}}", "x".repeat(300));
    let all = decoded(&vec![Some(long); 1000]);
    assert!(all.objects.any());
    assert!(all.byte_len() > 300_000 && all.slabs.len() >= 18);
    assert!(all.slabs.iter().all(|(text, _)| matches!(text, Text::Latin1(bytes) if bytes.len() < 17_000)));
    assert!(!decoded(&vec![Some(sample.clone()); 10]).objects.any(), "few values are one array still");
    let strangers: Vec<_> = (0..300).map(|number| Some(format!("{{\"stranger{number}\":1}}"))).collect();
    assert!(!decoded(&strangers).objects.any(), "and so are many of which each is another");
    // What is not UTF-8 goes the other way, too.
    let mut values = Values::with_capacity(100);
    for _ in 0..100 {
        values.push(b"{\"only\":\"\xff\",\"here\":[]}");
    }
    assert!(!values.decode(Form::Objects).objects.any());
}

#[test]
fn what_is_missing_strange_or_no_json_stands_between_the_others() {
    let sample = r#"{"between":1}"#;
    make_known(sample);
    let items: Vec<_> = (0..20_000)
        .map(|number| match number % 50 {
            7 => None,
            13 => Some(format!("{{\"strange\": \"größe {number}\"}}")),
            29 => Some("no json".to_owned()),
            _ => Some(format!("{{\"between\":\"😀 {number}\"}}")),
        })
        .collect();
    let decoded = decoded(&items);
    assert_eq!(decoded.hits, 20_000 - 800);
    assert_eq!(decoded.failures.len(), 400);
    assert!(
        decoded
            .failures
            .iter()
            .all(|failure| failure.index % 50 == 29 && failure.error.code() == "INVALID_JSON")
    );
    let expected: Vec<_> = items
        .iter()
        .map(|item| {
            item.as_ref()
                .filter(|text| validate(text.as_bytes()))
                .map(|text| serde_json::from_str(text).expect("JSON"))
        })
        .collect();
    assert_eq!(made(&decoded), expected);
    let there = decoded.lengths.iter().map(|length| *length >= 0);
    assert!(there.eq(expected.iter().map(Option::is_some)));
}

proptest! {
    #[test]
    fn a_value_has_its_own_shape(value in object(KEYS)) {
        let text = value.to_string();
        // Lists of both kinds of elements have none, which these do not.
        prop_assert!(has(&text, &text));
    }

    #[test]
    fn one_byte_more_or_less_or_other_is_another_value_or_none(
        value in object(KEYS), at in any::<prop::sample::Index>(), byte in any::<u8>(), change in 0..3u8,
    ) {
        let sample = value.to_string();
        let shape = Shape::of(sample.as_bytes()).expect("it has one");
        let mut text = sample.into_bytes();
        let at = at.index(text.len());
        match change {
            0 => text.insert(at, byte),
            1 => drop(text.remove(at)),
            _ => text[at] = byte,
        }
        if std::str::from_utf8(&text).is_ok() {
            // Whatever is taken is compared with what it is.
            shape::taken(&shape, &text);
        } else {
            // Never looked at for what it says, and no panic.
            shape.take(&text, &mut Scalars::default());
        }
    }

    #[test]
    fn values_come_back(values in prop::collection::vec(prop::option::weighted(0.9, object(&["p", "q"])), 64..200)) {
        static KNOWN: std::sync::Once = std::sync::Once::new();
        KNOWN.call_once(|| make_known(r#"{"p":0,"q":0}"#));
        let items: Vec<_> = values.iter().map(|value| value.as_ref().map(Value::to_string)).collect();
        let decoded = decoded(&items);
        if decoded.objects.any() {
            for (is, ought) in made(&decoded).iter().zip(&values) {
                match (is, ought) {
                    (Some(is), Some(ought)) => prop_assert!(shape::alike(is, ought), "{} is not {}", is, ought),
                    (is, ought) => prop_assert_eq!(is, ought),
                }
            }
        }
        prop_assert_eq!(decoded.hits as usize, values.iter().flatten().count());
    }
}
