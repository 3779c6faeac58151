//! Commands by name, for callers that send what they like: the same replies as a server that holds only strings.

mod effects;
mod options;
mod refusal;

use redis::Value;

pub(crate) use self::effects::{Change, changes, may_be_done_again};
use self::options::{Expire, Reader, ScanOptions, SetOptions, Unit, cursor, integer};
use self::refusal::Refusal;
use super::{Condition, Db, Expiry, Glob, SetOutcome, Ttl};

/// What is known here; anything else is an unknown command.
const NAMES: &[&[u8]] = &[
    b"append",
    b"dbsize",
    b"decr",
    b"decrby",
    b"del",
    b"echo",
    b"exists",
    b"expire",
    b"flushall",
    b"flushdb",
    b"get",
    b"getdel",
    b"getex",
    b"getset",
    b"incr",
    b"incrby",
    b"mget",
    b"mset",
    b"persist",
    b"pexpire",
    b"ping",
    b"psetex",
    b"pttl",
    b"scan",
    b"set",
    b"setex",
    b"setnx",
    b"strlen",
    b"time",
    b"ttl",
    b"type",
    b"unlink",
];

/// Carries out any other command, its name first, and returns what a Redis server would reply; refusals are
/// [`Value::ServerError`] with the server's own texts.
///
/// Known are PING, ECHO, TIME; GET, SET, SETNX, SETEX, PSETEX, GETSET, GETDEL, GETEX, MGET, MSET, STRLEN, APPEND,
/// INCR, DECR, INCRBY, DECRBY; DEL, UNLINK, EXISTS, TYPE, SCAN, DBSIZE, FLUSHDB, FLUSHALL; EXPIRE, PEXPIRE, PERSIST,
/// TTL, PTTL. A value that is larger than the whole store may be is refused with the code `OOM`.
pub fn command(db: &mut Db, args: &[&[u8]]) -> Value {
    let (name, args) = match args {
        [] => (&b""[..], args),
        [name, args @ ..] => (*name, args),
    };
    run(db, &name.to_ascii_lowercase(), args).unwrap_or_else(|refusal| refusal.reply(name, args))
}

type Reply = Result<Value, Refusal>;

fn run(db: &mut Db, name: &[u8], args: &[&[u8]]) -> Reply {
    match (name, args) {
        (b"ping", []) => Ok(status("PONG")),
        (b"ping" | b"echo", [text]) => Ok(bulk(text)),
        (b"time", []) => Ok(time(db)),

        (b"get", [key]) => Ok(optional(db.get(key))),
        (b"mget", [_, ..]) => Ok(Value::Array(args.iter().map(|key| optional(db.get(key))).collect())),
        (b"getset", [key, value]) => {
            let old = optional(db.get(key));
            store(db, key, value, Expiry::Clear, Condition::Always)?;
            Ok(old)
        }
        (b"getdel", [key]) => {
            let old = optional(db.get(key));
            db.remove(key);
            Ok(old)
        }
        (b"getex", [key, options @ ..]) => getex(db, key, options),
        (b"set", [key, value, options @ ..]) => set(db, key, value, options),
        (b"setnx", [key, value]) => {
            store(db, key, value, Expiry::Clear, Condition::IfAbsent).map(|stored| count(stored.into()))
        }
        (b"setex", [key, time, value]) => set_for(db, key, value, Unit::Seconds, time),
        (b"psetex", [key, time, value]) => set_for(db, key, value, Unit::Milliseconds, time),
        (b"mset", [_, ..]) if args.len().is_multiple_of(2) => mset(db, args),

        (b"strlen", [key]) => Ok(count(db.get(key).map_or(0, <[u8]>::len))),
        (b"append", [key, tail]) => append(db, key, tail),
        (b"incr", [key]) => add(db, key, 1),
        (b"decr", [key]) => add(db, key, -1),
        (b"incrby", [key, by]) => add(db, key, integer(by)?),
        (b"decrby", [key, by]) => {
            let by = integer(by)?.checked_neg().ok_or(Refusal::DecrementOverflow)?;
            add(db, key, by)
        }

        (b"del" | b"unlink", [_, ..]) => Ok(count(args.iter().filter(|key| db.remove(key)).count())),
        (b"exists", [_, ..]) => Ok(count(args.iter().filter(|key| db.contains(key)).count())),
        (b"type", [key]) => Ok(status(if db.contains(key) { "string" } else { "none" })),
        (b"scan", [cursor, options @ ..]) => scan(db, cursor, options),
        (b"dbsize", []) => Ok(count(db.len())),
        (b"flushdb" | b"flushall", mode) => flush(db, mode),

        (b"expire", [key, time, flags @ ..]) => expire(db, key, Expire::parse(time, flags, 1000, db)?),
        (b"pexpire", [key, time, flags @ ..]) => expire(db, key, Expire::parse(time, flags, 1, db)?),
        (b"persist", [key]) => Ok(count(db.persist(key).into())),
        // Rounded to the nearest second, as the server does.
        (b"ttl", [key]) => Ok(time_left(db, key, |ms| ms.saturating_add(500) / 1000)),
        (b"pttl", [key]) => Ok(time_left(db, key, |ms| ms)),

        (known, _) if NAMES.contains(&known) => Err(Refusal::WrongArity),
        _ => Err(Refusal::UnknownCommand),
    }
}

fn status(text: &str) -> Value {
    Value::SimpleString(text.into())
}

fn bulk(bytes: &[u8]) -> Value {
    Value::BulkString(bytes.to_vec())
}

fn optional(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Nil, bulk)
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Whether it was stored.
fn store(
    db: &mut Db,
    key: &[u8],
    value: &[u8],
    expiry: Expiry,
    condition: Condition,
) -> Result<bool, Refusal> {
    match db.set_with(key, value, expiry, condition) {
        SetOutcome::Stored => Ok(true),
        SetOutcome::ConditionNotMet => Ok(false),
        SetOutcome::TooLarge => Err(Refusal::OutOfMemory),
    }
}

fn set(db: &mut Db, key: &[u8], value: &[u8], options: &[&[u8]]) -> Reply {
    let options = SetOptions::parse(options, Reader::Set)?;
    let expiry = match options.time {
        Some((unit, raw)) => unit.to_expiry(raw, db)?,
        None if options.keep_ttl => Expiry::Keep,
        None => Expiry::Clear,
    };
    let old = if options.get { Some(optional(db.get(key))) } else { None };
    let stored = store(db, key, value, expiry, options.condition)?;
    Ok(old.unwrap_or(if stored { Value::Okay } else { Value::Nil }))
}

fn set_for(db: &mut Db, key: &[u8], value: &[u8], unit: Unit, time: &[u8]) -> Reply {
    let expiry = unit.to_expiry(time, db)?;
    store(db, key, value, expiry, Condition::Always)?;
    Ok(Value::Okay)
}

fn mset(db: &mut Db, args: &[&[u8]]) -> Reply {
    let pairs = || args.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    // All or nothing: what does not fit is found before anything is written.
    if !pairs().all(|(key, value)| db.fits(key, value.len())) {
        return Err(Refusal::OutOfMemory);
    }
    for (key, value) in pairs() {
        store(db, key, value, Expiry::Clear, Condition::Always)?;
    }
    Ok(Value::Okay)
}

fn getex(db: &mut Db, key: &[u8], options: &[&[u8]]) -> Reply {
    let options = SetOptions::parse(options, Reader::GetEx)?;
    // Only where there is a key does the server look at the time at all.
    let Some(value) = db.get(key).map(bulk) else { return Ok(Value::Nil) };
    if let Some((unit, raw)) = options.time
        && let Expiry::After(ms) = unit.to_expiry(raw, db)?
    {
        db.expire(key, ms);
    } else if options.persist {
        db.persist(key);
    }
    Ok(value)
}

fn append(db: &mut Db, key: &[u8], tail: &[u8]) -> Reply {
    let mut value = db.get(key).map(<[u8]>::to_vec).unwrap_or_default();
    value.extend_from_slice(tail);
    store(db, key, &value, Expiry::Keep, Condition::Always)?;
    Ok(count(value.len()))
}

fn add(db: &mut Db, key: &[u8], by: i64) -> Reply {
    let old = db.get(key).map_or(Ok(0), integer)?;
    let new = old.checked_add(by).ok_or(Refusal::IncrementOverflow)?;
    store(db, key, itoa::Buffer::new().format(new).as_bytes(), Expiry::Keep, Condition::Always)?;
    Ok(Value::Int(new))
}

fn expire(db: &mut Db, key: &[u8], expire: Expire) -> Reply {
    let left = match db.ttl_ms(key) {
        Ttl::Absent => return Ok(count(0)),
        Ttl::Persistent => None,
        Ttl::Remaining(ms) => Some(ms),
    };
    let applies = expire.applies(left);
    if applies {
        db.expire(key, u64::try_from(expire.ms).unwrap_or(0));
    }
    Ok(count(applies.into()))
}

fn time_left(db: &mut Db, key: &[u8], unit: impl FnOnce(u64) -> u64) -> Value {
    Value::Int(match db.ttl_ms(key) {
        Ttl::Absent => -2,
        Ttl::Persistent => -1,
        Ttl::Remaining(ms) => i64::try_from(unit(ms)).unwrap_or(i64::MAX),
    })
}

fn scan(db: &mut Db, from: &[u8], options: &[&[u8]]) -> Reply {
    let from = cursor(from)?;
    let options = ScanOptions::parse(options)?;
    let mut keys = Vec::new();
    let next = db.scan(from, options.count, &Glob::new(options.pattern), &mut |key| {
        if options.strings {
            keys.push(bulk(key));
        }
    });
    Ok(Value::Array(vec![bulk(itoa::Buffer::new().format(next).as_bytes()), Value::Array(keys)]))
}

fn flush(db: &mut Db, mode: &[&[u8]]) -> Reply {
    match mode {
        [] => {}
        [mode] if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") => {}
        _ => return Err(Refusal::Syntax),
    }
    db.flush();
    Ok(Value::Okay)
}

/// Seconds and microseconds, as two strings.
fn time(db: &Db) -> Value {
    let now = db.wall_time();
    let mut buffer = itoa::Buffer::new();
    let seconds = bulk(buffer.format(now.as_secs()).as_bytes());
    Value::Array(vec![seconds, bulk(buffer.format(now.subsec_micros()).as_bytes())])
}

#[cfg(test)]
mod tests;
