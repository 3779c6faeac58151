//! The embedded store against a real server: the same random operations, the same replies.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking, outside its own function too"
)]
#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of other crates may grow")]

#[path = "support/memory_ops.rs"]
mod memory_ops;
#[path = "support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;

use memory_ops::{Args, Op, op};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use redis::{ConnectionLike, Value};
use redis_bulk::store::memory::{Clock, Condition, Db, Glob, Limits, SetOutcome, Ttl, command};
use support::Server;

/// Milliseconds by which times to live may differ: the two sides act one after the other, on a busy machine.
const TTL_TOLERANCE_MS: i64 = 20_000;
/// The same for replies in seconds.
const TTL_TOLERANCE: i64 = TTL_TOLERANCE_MS / 1000;

fn ask(server: &mut redis::Connection, args: &[&[u8]]) -> Value {
    let mut cmd = redis::Cmd::new();
    for arg in args {
        cmd.arg(*arg);
    }
    server.req_command(&cmd).unwrap_or_else(|error| {
        Value::ServerError(error.try_into().unwrap_or_else(|error| panic!("no reply to {args:?}: {error}")))
    })
}

fn slices(args: &Args) -> Vec<&[u8]> {
    args.iter().map(Vec::as_slice).collect()
}

/// A whole scan by `next`, which takes a SCAN command and replies to it. The keys in order, repetitions kept.
fn scan_all(mut next: impl FnMut(&[&[u8]]) -> Value, options: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut cursor = b"0".to_vec();
    loop {
        let reply = next(&[&[&b"SCAN"[..], &cursor], options].concat());
        let (next_cursor, found): (Vec<u8>, Vec<Vec<u8>>) =
            redis::from_redis_value(reply).expect("SCAN replies with a cursor and keys");
        keys.extend(found);
        cursor = next_cursor;
        if cursor == b"0" {
            keys.sort_unstable();
            return keys;
        }
    }
}

/// The server's DBSIZE counts what has expired until somebody looks at it; a scan looks at everything.
fn forget_expired(server: &mut redis::Connection) {
    scan_all(|args| ask(server, args), &[]);
}

/// Whether two replies to `name` say the same, times to live roughly.
fn same(name: &[u8], ours: &Value, theirs: &Value, exact_texts: bool) -> bool {
    let close = |ours: i64, theirs: i64, tolerance| {
        ours == theirs || (ours > 0 && (ours - theirs).abs() <= tolerance)
    };
    match (&*name.to_ascii_uppercase(), ours, theirs) {
        (b"TTL", Value::Int(ours), Value::Int(theirs)) => close(*ours, *theirs, TTL_TOLERANCE),
        (b"PTTL", Value::Int(ours), Value::Int(theirs)) => close(*ours, *theirs, TTL_TOLERANCE_MS),
        // Cursors differ, and with them what one step shows; whole scans are compared by themselves.
        (b"SCAN", Value::Array(ours), Value::Array(theirs)) => ours.len() == theirs.len(),
        (_, Value::ServerError(ours), Value::ServerError(theirs)) if !exact_texts => {
            ours.code() == theirs.code()
        }
        _ => ours == theirs,
    }
}

fn check(
    db: &mut Db,
    server: &mut redis::Connection,
    op: &Op,
    exact_texts: bool,
) -> Result<(), TestCaseError> {
    db.tick();
    match op {
        Op::Line(args) => {
            let args = slices(args);
            if args[0].eq_ignore_ascii_case(b"DBSIZE") {
                forget_expired(server);
            }
            let (ours, theirs) = (command(db, &args), ask(server, &args));
            prop_assert!(same(args[0], &ours, &theirs, exact_texts), "ours {ours:?}, theirs {theirs:?}");
        }
        Op::Set { key, value, ttl_ms, condition } => {
            let time = ttl_ms.map(|ms| ms.to_string());
            let mut args: Vec<&[u8]> = vec![b"SET", key, value];
            match condition {
                Condition::IfAbsent => args.push(b"NX"),
                Condition::IfPresent => args.push(b"XX"),
                _ => {}
            }
            if let Some(time) = &time {
                args.extend([&b"PX"[..], time.as_bytes()]);
            }
            let expected = match ask(server, &args) {
                Value::Okay => SetOutcome::Stored,
                Value::Nil => SetOutcome::ConditionNotMet,
                other => panic!("SET replied {other:?}"),
            };
            prop_assert_eq!(db.set(key, value, *ttl_ms, *condition), expected);
        }
        Op::Get(key) => {
            let ours = db.get(key).map_or(Value::Nil, |value| Value::BulkString(value.to_vec()));
            prop_assert_eq!(ours, ask(server, &[b"GET", key]));
        }
        Op::Remove(key) => {
            prop_assert_eq!(Value::Int(db.remove(key).into()), ask(server, &[b"UNLINK", key]));
        }
        Op::Ttl(key) => {
            let ours = match db.ttl_ms(key) {
                Ttl::Remaining(ms) => ms as i64,
                Ttl::Persistent => -1,
                _ => -2,
            };
            let theirs = ask(server, &[b"PTTL", key]);
            prop_assert!(same(b"PTTL", &Value::Int(ours), &theirs, true), "ours {ours}, theirs {theirs:?}");
        }
        Op::Scan { pattern, count, strings } => {
            let count = count.to_string();
            let mut options: Vec<&[u8]> = vec![b"MATCH", pattern, b"COUNT", count.as_bytes()];
            if let Some(strings) = strings {
                options.extend([&b"TYPE"[..], if *strings { b"STRING" } else { b"hash" }]);
            }
            let ours = scan_all(|args| command(db, args), &options);
            let mut theirs = scan_all(|args| ask(server, args), &options);
            // The server may show a key twice; the embedded store does not.
            theirs.dedup();
            prop_assert_eq!(ours, theirs);
        }
    }
    Ok(())
}

fn start() -> (Server, RefCell<redis::Connection>) {
    let server = Server::start();
    let connection = RefCell::new(server.connect());
    (server, connection)
}

/// Error texts changed between versions; 7.0 is the one whose texts the embedded store has.
fn has_our_texts(connection: &mut redis::Connection) -> bool {
    let info: String = redis::cmd("INFO").arg("server").query(connection).expect("INFO replies");
    info.contains("redis_version:7.0.")
}

fn config(cases: u32) -> ProptestConfig {
    // The environment may ask for more; failures are printed with their input rather than kept in files.
    let given = ProptestConfig::default();
    ProptestConfig { failure_persistence: None, cases: cases.max(given.cases), ..given }
}

#[test]
fn the_same_operations_have_the_same_replies() {
    let (_server, connection) = start();
    let exact_texts = has_our_texts(&mut connection.borrow_mut());
    let ops = prop::collection::vec(op(), 1..60);
    let outcome = TestRunner::new(config(512)).run(&ops, |ops| {
        let server = &mut *connection.borrow_mut();
        ask(server, &[b"FLUSHALL"]);
        let mut db = Db::new(Limits::default(), Clock::system());
        for op in &ops {
            check(&mut db, server, op, exact_texts)
                .map_err(|error| TestCaseError::fail(format!("{op:?}: {error}")))?;
        }
        forget_expired(server);
        prop_assert_eq!(Value::Int(db.len() as i64), ask(server, &[b"DBSIZE"]));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn time_is_the_same() {
    let (_server, connection) = start();
    let mut db = Db::new(Limits::default(), Clock::system());
    let of = |reply| redis::from_redis_value::<(i64, i64)>(reply).expect("two numbers").0;
    let (ours, theirs) =
        (of(command(&mut db, &[b"TIME"])), of(ask(&mut connection.borrow_mut(), &[b"TIME"])));
    assert!((ours - theirs).abs() <= TTL_TOLERANCE);
}

/// Compares `patterns` on `keys` with the server's own SCAN MATCH.
fn compare_globs(alphabet: &'static [u8], cases: u32) {
    let (_server, connection) = start();
    let bytes = |most| prop::collection::vec(prop::sample::select(alphabet), 0..=most);
    let input = (prop::collection::vec(bytes(8), 40), prop::collection::vec(bytes(5), 60));
    let outcome = TestRunner::new(config(cases)).run(&input, |(patterns, keys)| {
        let server = &mut *connection.borrow_mut();
        ask(server, &[b"FLUSHALL"]);
        let keys: BTreeSet<_> = keys.into_iter().collect();
        let mset = keys.iter().flat_map(|key| [&key[..], b""]);
        ask(server, &std::iter::once(&b"MSET"[..]).chain(mset).collect::<Vec<_>>());
        for pattern in &patterns {
            let theirs = scan_all(|args| ask(server, args), &[b"MATCH", pattern, b"COUNT", b"1000"]);
            let theirs: BTreeSet<_> = theirs.into_iter().collect();
            let glob = Glob::new(pattern);
            let ours: BTreeSet<_> = keys.iter().filter(|key| glob.matches(key)).cloned().collect();
            prop_assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(pattern));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn globs_match_as_on_the_server() {
    compare_globs(b"ab**?[]^-\\", 512);
}

/// Bytes that are not ASCII, where C's `char` is negative on some machines, and NUL.
#[test]
fn globs_of_any_bytes_match_as_on_the_server() {
    compare_globs(b"a\0\x7f\x80\xff*[[]^--", 256);
}
