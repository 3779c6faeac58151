//! Redis's glob dialect, on bytes.
//!
//! `*` any bytes, `?` one byte, `[abc]` `[^a]` `[a-z]` one byte of a class, `\` takes the next byte as it is. The
//! dialect differs from a shell's in its corners, and these are kept as the server has them:
//!
//! - `]` closes a class wherever it stands unescaped: `[]` matches nothing and `[^]` any byte.
//! - A class without `]` ends where the pattern ends.
//! - `-` between two bytes is a range even where the second is `]` or `\`: `[a-]` runs from `]` to `a`, unclosed.
//!   Ends in the wrong order are swapped.
//! - A `\` at the very end stands for itself, in a class too.
//! - The empty key is matched by the empty pattern and by a single `*`, and by no other pattern.
//!
//! A pattern is compiled once, because a scan asks it of every key.

use std::ffi::c_char;

/// A compiled pattern.
///
/// ```
/// use redis_bulk::store::memory::Glob;
///
/// let glob = Glob::new(b"user:[0-9]*");
/// assert!(glob.matches(b"user:42"));
/// assert!(!glob.matches(b"user:x"));
/// ```
#[derive(Clone, Debug)]
pub struct Glob {
    /// The bytes before the first wildcard: most patterns are a prefix and a star, which is then one comparison.
    prefix: Box<[u8]>,
    rest: Box<[Token]>,
    matches_empty: bool,
}

/// Every token but `Star` takes exactly one byte. Two stars never stand side by side.
#[derive(Clone, Debug)]
enum Token {
    Star,
    Any,
    Byte(u8),
    Class(Box<Class>),
}

impl Glob {
    /// Compiles a pattern; every sequence of bytes is one.
    pub fn new(pattern: &[u8]) -> Self {
        let mut prefix = Vec::new();
        let mut rest: Vec<Token> = Vec::new();
        let mut left = pattern;
        while let Some((&first, after)) = left.split_first() {
            left = after;
            let token = match first {
                b'*' if matches!(rest.last(), Some(Token::Star)) => continue,
                b'*' => Token::Star,
                b'?' => Token::Any,
                b'[' => {
                    let (class, after) = Class::parse(left);
                    left = after;
                    Token::Class(Box::new(class))
                }
                b'\\' => match left.split_first() {
                    Some((&escaped, after)) => {
                        left = after;
                        Token::Byte(escaped)
                    }
                    None => Token::Byte(b'\\'),
                },
                literal => Token::Byte(literal),
            };
            match token {
                Token::Byte(byte) if rest.is_empty() => prefix.push(byte),
                Token::Star | Token::Any | Token::Byte(_) | Token::Class(_) => rest.push(token),
            }
        }
        Glob { prefix: prefix.into(), rest: rest.into(), matches_empty: matches!(pattern, b"" | b"*") }
    }

    /// Whether `key` as a whole matches. The work is bounded by pattern length times key length.
    pub fn matches(&self, key: &[u8]) -> bool {
        if key.is_empty() {
            return self.matches_empty;
        }
        key.strip_prefix(&*self.prefix).is_some_and(|key| matches_tokens(&self.rest, key))
    }
}

/// Goes back to the last star only. An earlier star never needs to take more: what stands between two stars was
/// matched as early as it could be, and any later place leaves less of the key for the rest.
fn matches_tokens(tokens: &[Token], key: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    // Token after the last star, and where in the key it is tried.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let fits = match tokens.get(token) {
            None if at == key.len() => return true,
            None => false,
            Some(Token::Star) => {
                token += 1;
                if token == tokens.len() {
                    return true;
                }
                retry = Some((token, at));
                continue;
            }
            Some(Token::Any) => at < key.len(),
            Some(Token::Byte(byte)) => key.get(at) == Some(byte),
            Some(Token::Class(class)) => key.get(at).is_some_and(|&byte| class.contains(byte)),
        };
        if fits {
            token += 1;
            at += 1;
            continue;
        }
        let Some((first, tried)) = retry else { return false };
        let Some(later) = key.get(tried + 1..) else { return false };
        let skipped = match &tokens[first] {
            Token::Byte(byte) => match memchr::memchr(*byte, later) {
                Some(skipped) => skipped,
                None => return false,
            },
            Token::Star | Token::Any | Token::Class(_) => 0,
        };
        at = tried + 1 + skipped;
        if at == key.len() {
            return false;
        }
        token = first;
        retry = Some((first, at));
    }
}

/// A set of bytes, one bit for each.
#[derive(Clone, Debug, Default)]
struct Class([u64; 4]);

impl Class {
    /// Reads a class from behind its `[`; what is left behind its `]` comes back too.
    fn parse(pattern: &[u8]) -> (Self, &[u8]) {
        let (negated, mut left) = match pattern {
            [b'^', left @ ..] => (true, left),
            left => (false, left),
        };
        let mut class = Class::default();
        loop {
            left = match left {
                [] => break,
                [b'\\', escaped, after @ ..] => {
                    class.insert(*escaped);
                    after
                }
                [b']', after @ ..] => {
                    left = after;
                    break;
                }
                [start, b'-', end, after @ ..] => {
                    class.insert_range(*start, *end);
                    after
                }
                [byte, after @ ..] => {
                    class.insert(*byte);
                    after
                }
            };
        }
        if negated {
            class.0 = class.0.map(|bits| !bits);
        }
        (class, left)
    }

    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// The server compares in C's `char`, whose sign depends on the machine; `c_char` has that same sign, so that a
    /// range between an ASCII and a non-ASCII byte means what it means to a server on this kind of machine.
    fn insert_range(&mut self, one: u8, other: u8) {
        let (one, other) = (one as c_char, other as c_char);
        for member in one.min(other)..=one.max(other) {
            self.insert(member as u8);
        }
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
