//! Which keys a command has changed, for those who have to do the same elsewhere.

use super::options::{Reader, SetOptions};
use crate::store::memory::{Condition, Db};
use redis::Value;

/// What a command has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// This key was written, deleted or given another time to live; also where it was deleted and had not been there.
    Key(&'a [u8]),
    /// All keys of the database were deleted.
    FlushDatabase,
    /// All keys of all databases.
    FlushAll,
}

/// Tells `changed` what a command, answered with `reply` by [`super::command`] just now, has changed.
pub(crate) fn changes<'a>(
    db: &mut Db,
    args: &[&'a [u8]],
    reply: &Value,
    mut changed: impl FnMut(Change<'a>),
) {
    let [name, args @ ..] = args else { return };
    if matches!(reply, Value::ServerError(_)) {
        return;
    }
    let did = matches!(reply, Value::Int(1));
    match (name.to_ascii_lowercase().as_slice(), args) {
        (b"del" | b"unlink" | b"getdel", keys) => keys.iter().for_each(|key| changed(Change::Key(key))),
        (b"mset", pairs) => pairs.iter().step_by(2).for_each(|key| changed(Change::Key(key))),
        // Only with XX can it be that nothing was written and the key is not there.
        (b"set", [key, _, options @ ..]) => {
            let only_present = SetOptions::parse(options, Reader::Set)
                .is_ok_and(|options| options.condition == Condition::IfPresent);
            if !only_present || db.contains(key) {
                changed(Change::Key(key));
            }
        }
        // A refused SETNX found the key, so that saying it again is no harm.
        (
            b"setnx" | b"setex" | b"psetex" | b"getset" | b"append" | b"incr" | b"decr" | b"incrby"
            | b"decrby",
            [key, ..],
        ) => changed(Change::Key(key)),
        (b"expire" | b"pexpire" | b"persist", [key, ..]) if did => changed(Change::Key(key)),
        (b"getex", [key, _, ..]) if !matches!(reply, Value::Nil) => changed(Change::Key(key)),
        (b"flushdb", _) => changed(Change::FlushDatabase),
        (b"flushall", _) => changed(Change::FlushAll),
        _ => {}
    }
}

/// Whether carrying the command out twice leaves what carrying it out once leaves. The reply may be another one: of a
/// deletion, how many keys there were.
pub(crate) fn may_be_done_again(args: &[Vec<u8>]) -> bool {
    let [name, args @ ..] = args else { return false };
    match (name.to_ascii_lowercase().as_slice(), args) {
        (
            b"get" | b"mget" | b"strlen" | b"exists" | b"type" | b"scan" | b"dbsize" | b"ttl" | b"pttl"
            | b"ping" | b"echo" | b"time" | b"del" | b"unlink" | b"mset" | b"setex" | b"psetex",
            _,
        ) => true,
        (b"set", [_, _, options @ ..]) => {
            let options: Vec<&[u8]> = options.iter().map(Vec::as_slice).collect();
            SetOptions::parse(&options, Reader::Set)
                .is_ok_and(|options| options.condition == Condition::Always && !options.get)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NAMES, command};
    use super::*;
    use crate::store::memory::{Clock, Limits};

    /// The keys that the last of `lines` has changed.
    fn changed(lines: &[&str]) -> Vec<String> {
        let mut db = Db::new(Limits::default(), Clock::system());
        let mut found = Vec::new();
        for line in lines {
            found.clear();
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let reply = command(&mut db, &args);
            changes(&mut db, &args, &reply, |change| {
                found.push(match change {
                    Change::Key(key) => String::from_utf8_lossy(key).into_owned(),
                    Change::FlushDatabase => "(database)".to_owned(),
                    Change::FlushAll => "(all)".to_owned(),
                });
            });
        }
        found
    }

    #[test]
    fn what_changes_a_key_says_so() {
        for (lines, keys) in [
            (&["SET a 1"][..], &["a"][..]),
            (&["set a 1 NX"], &["a"]),
            (&["SET a 1 XX"], &[]),
            (&["SET a 1", "SET a 2 XX GET"], &["a"]),
            (&["SET a 1", "SET a 2 PXAT 1"], &["a"]),
            (&["MSET a 1 b 2"], &["a", "b"]),
            (&["MSET a 1 b"], &[]),
            (&["SETNX a 1"], &["a"]),
            (&["SETEX a 10 1"], &["a"]),
            (&["PSETEX a 10 1"], &["a"]),
            (&["SETEX a 0 1"], &[]),
            (&["GETSET a 1"], &["a"]),
            (&["APPEND a 1"], &["a"]),
            (&["INCR a"], &["a"]),
            (&["SET a x", "INCRBY a 2"], &[]),
            (&["DECRBY a 2"], &["a"]),
            (&["DECR a"], &["a"]),
            (&["DEL a b"], &["a", "b"]),
            (&["UNLINK a"], &["a"]),
            (&["GETDEL a"], &["a"]),
            (&["EXPIRE a 10"], &[]),
            (&["SET a 1", "EXPIRE a 10"], &["a"]),
            (&["SET a 1", "PEXPIRE a -1"], &["a"]),
            (&["SET a 1", "PERSIST a"], &[]),
            (&["SET a 1 EX 10", "PERSIST a"], &["a"]),
            (&["GETEX a EX 10"], &[]),
            (&["SET a 1", "GETEX a EX 10"], &["a"]),
            (&["SET a 1", "GETEX a"], &[]),
            (&["SET a 1", "GET a"], &[]),
            (&["FLUSHDB"], &["(database)"]),
            (&["FLUSHALL ASYNC"], &["(all)"]),
        ] {
            assert_eq!(changed(lines), keys, "{lines:?}");
        }
    }

    #[test]
    fn no_command_is_left_out() {
        let reads = [
            "dbsize", "echo", "exists", "get", "mget", "ping", "pttl", "scan", "strlen", "time", "ttl",
            "type",
        ];
        let writes = [
            "append", "decr", "decrby", "del", "expire", "flushall", "flushdb", "getdel", "getex", "getset",
            "incr", "incrby", "mset", "persist", "pexpire", "psetex", "set", "setex", "setnx", "unlink",
        ];
        let mut known: Vec<&[u8]> = reads.iter().chain(&writes).map(|name| name.as_bytes()).collect();
        known.sort_unstable();
        assert_eq!(known, NAMES);
    }

    #[test]
    fn what_counts_or_has_a_condition_is_not_done_again() {
        let again = |line: &str| {
            may_be_done_again(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
        };
        for line in ["GET a", "set a 1", "SET a 1 EX 5", "DEL a", "MSET a 1", "SCAN 0"] {
            assert!(again(line), "{line}");
        }
        for line in
            ["INCR a", "SET a 1 NX", "SET a 1 GET", "GETDEL a", "APPEND a 1", "EVAL x 0", "LPOP a", "SET a"]
        {
            assert!(!again(line), "{line}");
        }
    }
}
