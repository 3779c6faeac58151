//! One scalar of a JSON text. The grammar is RFC 8259's, as that of `JSON.parse`.

use super::{Scalars, word};

/// Adds the scalar that begins at `at`; says where it ends. `None` where there is none.
#[inline]
pub(super) fn take(value: &[u8], at: usize, to: &mut Scalars) -> Option<usize> {
    match value.get(at)? {
        b'"' => string(value, at + 1, to),
        b'-' | b'0'..=b'9' => number(value, at, to),
        b't' => constant(value, at, b"true", word::TRUE, to),
        b'f' => constant(value, at, b"false", word::FALSE, to),
        b'n' => constant(value, at, b"null", word::NULL, to),
        _ => None,
    }
}

fn constant(value: &[u8], at: usize, text: &[u8], mark: i32, to: &mut Scalars) -> Option<usize> {
    let end = at + text.len();
    if value.get(at..end)? != text {
        return None;
    }
    to.words.push(mark);
    Some(end)
}

/// A string whose first character is at `start`. One with half a surrogate pair has no UTF-8: `None`.
fn string(value: &[u8], start: usize, to: &mut Scalars) -> Option<usize> {
    let mut at = start;
    let mut units = 0;
    loop {
        let rest = value.get(at..)?;
        let length = plain(rest)?;
        let piece = rest.get(..length)?;
        to.text.extend_from_slice(piece);
        units += utf16_len(piece);
        at += length;
        if rest.get(length) == Some(&b'"') {
            // Values are shorter than 2^31 bytes.
            to.words.push(units as i32);
            return Some(at + 1);
        }
        let (character, used) = escaped(value.get(at..)?)?;
        to.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        units += character.len_utf16();
        at += used;
    }
}

/// Bytes before the first quote or backslash; `None` where a control character comes first, or neither.
#[inline]
fn plain(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Marks of bytes that are zero. One that is behind a zero may be marked without being one, so only the first counts.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    while let Some(chunk) = text.get(at..at + 8).and_then(|chunk| <[u8; 8]>::try_from(chunk).ok()) {
        let word = u64::from_le_bytes(chunk);
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let slashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let marks = quotes | slashes | controls;
        if marks != 0 {
            at += (marks.trailing_zeros() / 8) as usize;
            break;
        }
        at += 8;
    }
    let length = text.get(at..)?.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    at += length;
    (*text.get(at)? >= 0x20).then_some(at)
}

/// The character of an escape, and the bytes that it takes.
fn escaped(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text),
        _ => return None,
    };
    Some((character, 2))
}

fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |value, &digit| Some((value << 4) | char::from(digit).to_digit(16)? as u16))
    };
    let first = unit(0)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some((character, 6));
    }
    let pair = char::decode_utf16([first, unit(6)?]).next()?;
    Some((pair.ok()?, 12))
}

/// Length of well-formed UTF-8 in UTF-16 units.
pub(super) fn utf16_len(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    // A character has one byte that is no continuation; those of four bytes have two units.
    text.iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

fn number(value: &[u8], start: usize, to: &mut Scalars) -> Option<usize> {
    let digits = |from: usize| {
        let count = value.get(from..).unwrap_or(&[]).iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let negative = value.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut end = digits(first)?;
    if value.get(first) == Some(&b'0') && end > first + 1 {
        return None;
    }
    let whole = end;
    if value.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(value.get(end), Some(b'e' | b'E')) {
        let sign = matches!(value.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(sign))?;
    }
    let text = value.get(start..end)?;
    // Up to nine digits fit a word; minus zero is no whole number in JavaScript.
    if end == whole && end - first <= 9 && text != b"-0" {
        let digits = value.get(first..end)?;
        let size = digits.iter().fold(0, |size, &digit| size * 10 + i32::from(digit - b'0'));
        to.words.extend([word::INTEGER, if negative { -size } else { size }]);
    } else {
        // The nearest double, as in JavaScript; what is too large is infinite in both.
        to.numbers.push(std::str::from_utf8(text).ok()?.parse().ok()?);
        to.words.push(word::NUMBER);
    }
    Some(end)
}
