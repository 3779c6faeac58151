//! Objects of one shape: the same keys in the same order, as rows of a table, elements of a list, or what one program wrote
//! with `JSON.stringify` have them.
//!
//! `JSON.parse` reads every key of every object. Here the core compares the text of the keys with what it expects, which
//! checks the grammar as well, and takes the scalars between them; JavaScript makes the objects from literals with those
//! keys. What does not have a known shape goes to `JSON.parse` as before.

mod known;
mod scalar;
mod steps;

pub use known::{describe, hot, learn};
pub use steps::Shape;

/// Scalars in a row, in the form in which JavaScript reads them.
///
/// `words` has for each: the length of a string in UTF-16 units (its characters are the next ones of `text`), or one of the
/// numbers in [`word`]; for each list the number of its elements, before them.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Scalars {
    /// The characters of all strings, as UTF-8.
    pub text: Vec<u8>,
    /// Lengths and marks.
    pub words: Vec<i32>,
    /// Numbers that are no words.
    pub numbers: Vec<f64>,
}

/// What stands in [`Scalars::words`] where there is no string. The same numbers as in `lib/shapes.js`.
pub mod word {
    /// `null`
    pub const NULL: i32 = -1;
    /// `true`
    pub const TRUE: i32 = -2;
    /// `false`
    pub const FALSE: i32 = -3;
    /// The next word is the number.
    pub const INTEGER: i32 = -4;
    /// The next one of the numbers is it.
    pub const NUMBER: i32 = -5;
}

/// How far [`Scalars`] are filled.
#[derive(Clone, Copy, Debug)]
struct Mark {
    text: usize,
    words: usize,
    numbers: usize,
}

impl Scalars {
    /// Adds a text that is a value of its own.
    pub(super) fn push_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        // Values are shorter than 2^31 bytes.
        self.words.push(scalar::utf16_len(text) as i32);
    }

    fn mark(&self) -> Mark {
        Mark { text: self.text.len(), words: self.words.len(), numbers: self.numbers.len() }
    }

    fn go_back(&mut self, mark: Mark) {
        self.text.truncate(mark.text);
        self.words.truncate(mark.words);
        self.numbers.truncate(mark.numbers);
    }
}
