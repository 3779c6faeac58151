//! The options of commands, read in the server's order and with its rules on what goes together.

use super::refusal::Refusal;
use crate::store::memory::{Condition, Db, Expiry};

/// An integer as the server reads it: decimal digits without a plus sign, leading zeros or blanks.
pub(super) fn integer(bytes: &[u8]) -> Result<i64, Refusal> {
    let value = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
    value.filter(|&value| itoa::Buffer::new().format(value).as_bytes() == bytes).ok_or(Refusal::NotAnInteger)
}

/// Wall time in milliseconds.
fn wall_ms(db: &Db) -> i64 {
    i64::try_from(db.wall_time().as_millis()).unwrap_or(i64::MAX)
}

/// How a time is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

impl Unit {
    /// Milliseconds from now for a time that SET, SETEX, PSETEX or GETEX was given; zero where it has passed.
    pub(super) fn to_expiry(self, raw: &[u8], db: &Db) -> Result<Expiry, Refusal> {
        let given = integer(raw)?;
        if given <= 0 {
            return Err(Refusal::InvalidExpire);
        }
        let ms = match self {
            Unit::Seconds | Unit::UnixSeconds => given.checked_mul(1000).ok_or(Refusal::InvalidExpire)?,
            Unit::Milliseconds | Unit::UnixMilliseconds => given,
        };
        let left = match self {
            Unit::Seconds | Unit::Milliseconds => {
                // The server keeps the sum with its wall clock, which has to be in range.
                ms.checked_add(wall_ms(db)).ok_or(Refusal::InvalidExpire)?;
                ms
            }
            Unit::UnixSeconds | Unit::UnixMilliseconds => ms - wall_ms(db),
        };
        Ok(Expiry::After(u64::try_from(left).unwrap_or(0)))
    }
}

/// What stands behind SET's value or GETEX's key.
pub(super) struct SetOptions<'a> {
    pub(super) condition: Condition,
    pub(super) get: bool,
    pub(super) keep_ttl: bool,
    pub(super) persist: bool,
    pub(super) time: Option<(Unit, &'a [u8])>,
}

/// The commands that share these options.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Set,
    GetEx,
}

impl<'a> SetOptions<'a> {
    /// Repeating an option is allowed, as on the server; the last time counts.
    pub(super) fn parse(mut args: &[&'a [u8]], reader: Reader) -> Result<Self, Refusal> {
        let mut options = SetOptions {
            condition: Condition::Always,
            get: false,
            keep_ttl: false,
            persist: false,
            time: None,
        };
        let set = reader == Reader::Set;
        while let [name, rest @ ..] = args {
            args = rest;
            let name = name.to_ascii_lowercase();
            match &*name {
                b"nx" if set && options.condition != Condition::IfPresent => {
                    options.condition = Condition::IfAbsent;
                }
                b"xx" if set && options.condition != Condition::IfAbsent => {
                    options.condition = Condition::IfPresent;
                }
                b"get" if set => options.get = true,
                b"keepttl" if set && options.time.is_none() => options.keep_ttl = true,
                b"persist" if !set && options.time.is_none() => options.persist = true,
                time => {
                    let unit = match time {
                        b"ex" => Unit::Seconds,
                        b"px" => Unit::Milliseconds,
                        b"exat" => Unit::UnixSeconds,
                        b"pxat" => Unit::UnixMilliseconds,
                        _ => return Err(Refusal::Syntax),
                    };
                    let clash = options.time.is_some_and(|(other, _)| other != unit);
                    let [raw, rest @ ..] = args else { return Err(Refusal::Syntax) };
                    if clash || options.keep_ttl || options.persist {
                        return Err(Refusal::Syntax);
                    }
                    args = rest;
                    options.time = Some((unit, raw));
                }
            }
        }
        Ok(options)
    }
}

/// What stands behind EXPIRE's time.
#[derive(Default)]
struct ExpireFlags {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl ExpireFlags {
    fn parse(args: &[&[u8]]) -> Result<Self, Refusal> {
        let mut flags = ExpireFlags::default();
        for arg in args {
            match &*arg.to_ascii_lowercase() {
                b"nx" => flags.absent = true,
                b"xx" => flags.present = true,
                b"gt" => flags.greater = true,
                b"lt" => flags.less = true,
                _ => return Err(Refusal::UnsupportedOption(arg.to_vec())),
            }
        }
        if flags.absent && (flags.present || flags.greater || flags.less) {
            return Err(Refusal::AbsentAndOther);
        }
        if flags.greater && flags.less {
            return Err(Refusal::GreaterAndLess);
        }
        Ok(flags)
    }
}

/// EXPIRE's and PEXPIRE's arguments behind the key.
pub(super) struct Expire {
    /// Milliseconds from now; zero and less remove the key.
    pub(super) ms: i64,
    flags: ExpireFlags,
}

impl Expire {
    pub(super) fn parse(raw: &[u8], flags: &[&[u8]], unit_ms: i64, db: &Db) -> Result<Self, Refusal> {
        let flags = ExpireFlags::parse(flags)?;
        let ms = integer(raw)?.checked_mul(unit_ms).ok_or(Refusal::InvalidExpire)?;
        // The server keeps the sum with its wall clock, which has to be in range.
        ms.checked_add(wall_ms(db)).ok_or(Refusal::InvalidExpire)?;
        Ok(Expire { ms, flags })
    }

    /// Whether a key with so much time left (`None`: it does not expire) is to be given the new time.
    pub(super) fn applies(&self, left_ms: Option<u64>) -> bool {
        let ms = i128::from(self.ms);
        match left_ms.map(i128::from) {
            None => !self.flags.present && !self.flags.greater,
            Some(left) => {
                let ExpireFlags { absent, present: _, greater, less } = self.flags;
                !absent && (!greater || ms > left) && (!less || ms < left)
            }
        }
    }
}

/// What stands behind SCAN's cursor.
pub(super) struct ScanOptions<'a> {
    pub(super) count: usize,
    pub(super) pattern: &'a [u8],
    /// False where TYPE asks for anything but strings: then no key is shown.
    pub(super) strings: bool,
}

impl<'a> ScanOptions<'a> {
    pub(super) fn parse(mut args: &[&'a [u8]]) -> Result<Self, Refusal> {
        let mut options = ScanOptions { count: 10, pattern: b"*", strings: true };
        while let [name, rest @ ..] = args {
            let [given, rest @ ..] = rest else { return Err(Refusal::Syntax) };
            args = rest;
            match &*name.to_ascii_lowercase() {
                b"count" => {
                    let count = integer(given)?;
                    if count < 1 {
                        return Err(Refusal::Syntax);
                    }
                    options.count = usize::try_from(count).unwrap_or(usize::MAX);
                }
                b"match" => options.pattern = given,
                b"type" => options.strings = given.eq_ignore_ascii_case(b"string"),
                _ => return Err(Refusal::Syntax),
            }
        }
        Ok(options)
    }
}

/// A cursor as C's `strtoul` reads it: nothing is zero, and a minus sign counts down from 2⁶⁴.
pub(super) fn cursor(raw: &[u8]) -> Result<u64, Refusal> {
    let (negative, digits) = match raw {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::InvalidCursor);
    }
    let value = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
    let value = value.ok_or(Refusal::InvalidCursor)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}
