//! Shapes of JSON: whatever one takes is JSON, and its scalars give back what stood there.
//!
//! Input: a sample, a line feed, and a value.

use redis_bulk::batch::shape::{Scalars, Shape, word};
use redis_bulk::batch::validate;
use serde_json::Value;

pub(crate) fn run(data: &[u8]) {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (sample, value) = (&data[..at], &data[at + 1..]);
    // What has come as UTF-8 is looked at; the rest goes another way.
    if std::str::from_utf8(data).is_err() {
        return;
    }
    let Some(shape) = Shape::of(sample) else { return };
    assert!(validate(sample) && validate(shape.description().as_bytes()));
    assert_eq!(Shape::of(shape.description().as_bytes()).as_ref(), Some(&shape), "it describes itself");
    taken(&shape, value);
}

/// Whether the shape takes the value; then it is the same as what its scalars say.
pub(crate) fn taken(shape: &Shape, value: &[u8]) -> bool {
    let mut scalars = Scalars::default();
    if !shape.take(value, &mut scalars) {
        assert!(scalars.text.is_empty() && scalars.words.is_empty() && scalars.numbers.is_empty());
        return false;
    }
    assert!(validate(value));
    let text = rebuilt(shape.description(), &scalars);
    let (is, ought) = (serde_json::from_str(&text), serde_json::from_slice(value));
    // Infinite numbers are none for serde_json.
    if let (Ok(is), Ok(ought)) = (is, ought) {
        assert!(alike(&is, &ought), "{is} is not {ought}");
    }
    true
}

/// Numbers by their first 15 digits: serde_json does not read them exactly.
pub(crate) fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            one == other || (one - other).abs() <= other.abs() * 1e-15
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.keys().eq(other.keys())
                && one.values().zip(other.values()).all(|(one, other)| alike(one, other))
        }
        (one, other) => one == other,
    }
}

/// The JSON that a description and scalars make, as `lib/shapes.js` makes the value.
pub(crate) fn rebuilt(description: &str, scalars: &Scalars) -> String {
    let text: Vec<u16> =
        std::str::from_utf8(&scalars.text).expect("strings are UTF-8").encode_utf16().collect();
    let mut left = Left { text: &text, words: &scalars.words, numbers: &scalars.numbers };
    let out = left.next(description);
    assert!(left.is_empty(), "nothing is left");
    out
}

/// Scalars that were not used yet.
pub(crate) struct Left<'a> {
    pub(crate) text: &'a [u16],
    pub(crate) words: &'a [i32],
    pub(crate) numbers: &'a [f64],
}

impl Left<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.words.is_empty() && self.numbers.is_empty()
    }

    /// The next value, as JSON.
    pub(crate) fn next(&mut self, description: &str) -> String {
        let mut out = String::new();
        let mut at = 0;
        self.value(description.as_bytes(), &mut at, &mut out);
        assert_eq!(at, description.len());
        out
    }

    /// The characters of the next string.
    pub(crate) fn string(&mut self) -> String {
        let length = usize::try_from(self.word()).expect("a length");
        let (units, rest) = self.text.split_at(length);
        self.text = rest;
        String::from_utf16(units).expect("whole characters")
    }

    fn word(&mut self) -> i32 {
        let (&word, rest) = self.words.split_first().expect("a word for each");
        self.words = rest;
        word
    }

    fn value(&mut self, description: &[u8], at: &mut usize, out: &mut String) {
        match description[*at] {
            b'0' => {
                *at += 1;
                self.scalar(out);
            }
            b'[' => {
                let element = *at + 1;
                // Once without an element to repeat, to know where it ends.
                let count = self.word();
                out.push('[');
                *at = element;
                skip(description, at);
                let end = *at;
                for number in 0..count {
                    if number > 0 {
                        out.push(',');
                    }
                    *at = element;
                    self.value(description, at, out);
                }
                *at = end + 1;
                out.push(']');
            }
            _ => {
                while description[*at] != b'}' {
                    out.push(char::from(description[*at]));
                    *at += 1;
                    if description[*at] == b'}' {
                        break;
                    }
                    let start = *at;
                    skip_string(description, at);
                    *at += 1;
                    out.push_str(std::str::from_utf8(&description[start..*at]).expect("keys are UTF-8"));
                    self.value(description, at, out);
                }
                *at += 1;
                out.push('}');
            }
        }
    }

    fn scalar(&mut self, out: &mut String) {
        if self.words.first().is_some_and(|word| *word >= 0) {
            out.push_str(&serde_json::to_string(&self.string()).expect("a string"));
            return;
        }
        let text = match self.word() {
            word::NULL => "null".to_owned(),
            word::TRUE => "true".to_owned(),
            word::FALSE => "false".to_owned(),
            word::INTEGER => self.word().to_string(),
            word::NUMBER => {
                let (number, rest) = self.numbers.split_first().expect("a number for each");
                self.numbers = rest;
                format!("{number:e}")
            }
            other => panic!("no word is {other}"),
        };
        out.push_str(&text);
    }
}

fn skip(description: &[u8], at: &mut usize) {
    let mut depth = 0;
    loop {
        match description[*at] {
            b'"' => skip_string(description, at),
            b'[' | b'{' => {
                depth += 1;
                *at += 1;
            }
            b']' | b'}' => {
                depth -= 1;
                *at += 1;
            }
            _ => *at += 1,
        }
        if depth == 0 {
            return;
        }
    }
}

/// Past the closing quote; keys have no escapes.
fn skip_string(description: &[u8], at: &mut usize) {
    let length = description[*at + 1..].iter().position(|byte| *byte == b'"').expect("a closing quote");
    *at += length + 2;
}
