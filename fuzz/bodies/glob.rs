//! Patterns against keys: the compiled matcher says what the plain definition of the dialect says.
//!
//! Input: a byte for the length of the pattern, the pattern, the key.

use redis_bulk::store::memory::Glob;

/// The plain definition below takes time with the square of these.
const LONGEST_KEY: usize = 200;

pub(crate) fn run(data: &[u8]) {
    let [length, rest @ ..] = data else { return };
    let (pattern, key) = rest.split_at(usize::from(*length).min(rest.len()));
    let key = key.get(..LONGEST_KEY).unwrap_or(key);
    let glob = Glob::new(pattern);
    let expected = if key.is_empty() { matches!(pattern, b"" | b"*") } else { plain(pattern, key) };
    assert_eq!(glob.matches(key), expected, "{:?} on {:?}", pattern.escape_ascii(), key.escape_ascii());
    let literal: Vec<u8> = key.iter().flat_map(|&byte| [b'\\', byte]).collect();
    assert!(Glob::new(&literal).matches(key), "an escaped key matches itself");
}

/// Reads the pattern from its beginning each time, and keeps for every length of the key's beginning whether what was
/// read of the pattern matches it.
fn plain(mut pattern: &[u8], key: &[u8]) -> bool {
    let mut reached = vec![false; key.len() + 1];
    reached[0] = true;
    while let Some((&first, rest)) = pattern.split_first() {
        pattern = rest;
        if first == b'*' {
            // From the first place on, every later one can be reached.
            if let Some(start) = reached.iter().position(|&is| is) {
                reached[start..].fill(true);
            }
            continue;
        }
        let set: Box<dyn Fn(u8) -> bool> = match first {
            b'?' => Box::new(|_| true),
            b'[' => {
                let (class, after) = class(pattern);
                pattern = after;
                class
            }
            b'\\' if !pattern.is_empty() => {
                let literal = pattern[0];
                pattern = &pattern[1..];
                Box::new(move |byte| byte == literal)
            }
            literal => Box::new(move |byte| byte == literal),
        };
        for at in (0..key.len()).rev() {
            reached[at + 1] = reached[at] && set(key[at]);
        }
        reached[0] = false;
    }
    reached[key.len()]
}

type Set<'a> = Box<dyn Fn(u8) -> bool + 'a>;

/// The class behind a `[` as a list of ranges, and what follows it.
fn class(mut pattern: &[u8]) -> (Set<'_>, &[u8]) {
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut ranges: Vec<(i8, i8)> = Vec::new();
    loop {
        match *pattern {
            [] => break,
            [b']', ..] => {
                pattern = &pattern[1..];
                break;
            }
            [b'\\', escaped, ..] => {
                ranges.push((escaped as i8, escaped as i8));
                pattern = &pattern[2..];
            }
            [from, b'-', to, ..] => {
                let (from, to) = order(from, to);
                ranges.push((from, to));
                pattern = &pattern[3..];
            }
            [byte, ..] => {
                ranges.push((byte as i8, byte as i8));
                pattern = &pattern[1..];
            }
        }
    }
    let set = move |byte: u8| ranges.iter().any(|&(from, to)| within(byte, from, to)) != negated;
    (Box::new(set), pattern)
}

/// The server compares as C's `char` does, which is signed on some machines.
const SIGNED: bool = std::ffi::c_char::MIN != 0;

fn order(one: u8, other: u8) -> (i8, i8) {
    let swap = if SIGNED { (one as i8) > (other as i8) } else { one > other };
    if swap { (other as i8, one as i8) } else { (one as i8, other as i8) }
}

fn within(byte: u8, from: i8, to: i8) -> bool {
    if SIGNED { (from..=to).contains(&(byte as i8)) } else { (from as u8..=to as u8).contains(&byte) }
}
