//! Random operations that an embedded store and a server can both carry out.

use proptest::prelude::*;
use redis_bulk::store::memory::Condition;

/// A command, its name first.
pub(crate) type Args = Vec<Vec<u8>>;

/// Times to live end long after the test or have ended before it, so that nothing expires in between.
const TIMES: &[&str] = &[
    "100000",
    "200000",
    "300000",
    "300000",
    "400000000",
    "0",
    "-1",
    "-100000",
    "x",
    "",
    "1.5",
    "+100000",
    "0100000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
    "9223372036854774",
    "99999999999999999999",
];
/// Absolute ones: seconds and milliseconds of the year 2100, and of 1970.
const DATES: &[&str] = &["4102444800", "4102444800000", "100000", "1", "0", "-5", "x", "9223372036854775807"];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-7",
    "41",
    "abc",
    "007",
    " 1",
    "1 ",
    "-0",
    "+3",
    "1e3",
    "-",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "päß",
    "line\r\nline",
];
const KEYS: &[&str] = &["a", "b", "ab", "a:1", "a:2", "[a]", "*", "", "ü", "a b"];
const PATTERNS: &[&str] =
    &["*", "a*", "?", "a:[0-9]", "\\*", "[[]a]", "", "**", "*b", "[^a]*", "\\", "ü", "x"];

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(from).prop_map(|text| text.as_bytes().to_vec())
}

fn time_option() -> impl Strategy<Value = Args> {
    prop_oneof![
        (pick(&["EX", "px", "Ex", "PX"]), pick(TIMES)).prop_map(|(unit, time)| vec![unit, time]),
        (pick(&["EXAT", "pxat"]), pick(DATES)).prop_map(|(unit, time)| vec![unit, time]),
    ]
}

/// For GT and LT: of two equal times, which is later depends on the millisecond in which each side came to them.
fn distinct_time() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => (400_000u64..2_000_000_000).prop_map(|time| time.to_string().into_bytes()), 1 => pick(&["-1", "x"])]
}

/// Mostly sensible options, now and then too many or cut short.
fn options(flags: &'static [&'static str]) -> impl Strategy<Value = Args> {
    let one = prop_oneof![3 => pick(flags).prop_map(|flag| vec![flag]), 3 => time_option()];
    let many = prop::collection::vec(one, 0..3).prop_map(|options| options.concat());
    (many, prop::bool::weighted(0.05)).prop_map(|(mut options, cut)| {
        if cut {
            options.pop();
        }
        options
    })
}

fn line(name: &'static [&'static str], rest: impl Strategy<Value = Args> + 'static) -> BoxedStrategy<Args> {
    (pick(name), rest).prop_map(|(name, rest)| [vec![name], rest].concat()).boxed()
}

fn some(from: &'static [&'static str], least: usize, most: usize) -> impl Strategy<Value = Args> {
    prop::collection::vec(pick(from), least..=most)
}

fn then<A: Strategy<Value = Args> + 'static>(
    from: &'static [&'static str],
    rest: A,
) -> impl Strategy<Value = Args> {
    (pick(from), rest).prop_map(|(first, rest)| [vec![first], rest].concat())
}

/// Lines for `command`, each as a caller could send it.
fn command_line() -> impl Strategy<Value = Args> {
    let set_flags: &[&str] = &["NX", "xx", "GET", "KEEPTTL", "persist", "what"];
    let expire_flags: &[&str] = &["NX", "xx", "GT", "lt", "Bad", "b\r\nad"];
    prop_oneof![
        12 => line(&["SET", "set"], then(KEYS, then(VALUES, options(set_flags)))),
        4 => line(&["GETEX"], then(KEYS, options(&["persist", "PERSIST", "NX", "what"]))),
        3 => line(&["SETEX", "psetex"], then(KEYS, then(TIMES, some(VALUES, 1, 1)))),
        4 => line(&["SETNX", "GETSET", "getset", "APPEND"], then(KEYS, some(VALUES, 1, 1))),
        6 => line(&["GET", "STRLEN", "TYPE", "GETDEL", "PERSIST", "INCR", "decr"], some(KEYS, 1, 1)),
        3 => line(&["TTL", "PTTL"], some(KEYS, 1, 1)),
        4 => line(&["INCRBY", "DECRBY"], then(KEYS, some(VALUES, 1, 1))),
        3 => line(&["EXPIRE", "pexpire"], then(KEYS, some(TIMES, 1, 1))),
        5 => line(&["EXPIRE", "pexpire"], (pick(KEYS), distinct_time(), some(expire_flags, 1, 2))
            .prop_map(|(key, time, flags)| [vec![key, time], flags].concat())),
        3 => line(&["MGET", "DEL", "UNLINK", "EXISTS"], some(KEYS, 0, 4)),
        3 => line(&["MSET"], some(KEYS, 0, 6)),
        1 => line(&["FLUSHDB", "FLUSHALL"], some(&["SYNC", "async", "what"], 0, 2)),
        2 => line(&["DBSIZE"], some(KEYS, 0, 0)),
        1 => line(&["PING", "ECHO"], some(VALUES, 0, 2)),
        // ASCII only: the server cuts what it repeats in its error by bytes, and the client takes no half characters.
        1 => line(&["nosuch", "no\r\nsuch", ""], some(&["a", "line\r\nline", "", "0123456789abcdef0123"], 0, 30)),
        2 => line(&["SCAN"], then(
            &["0", "x", "", "-1", "+1", "1 ", "18446744073709551615", "18446744073709551616", "-"],
            some(&["MATCH", "a*", "count", "COUNT", "10", "0", "-1", "x", "TYPE", "string", "hash"], 0, 4),
        )),
        // Any number of arguments to any command.
        2 => line(
            &["GET", "SET", "SETNX", "SETEX", "PSETEX", "GETSET", "GETDEL", "GETEX", "MGET", "MSET", "DEL", "UNLINK",
              "EXISTS", "TYPE", "STRLEN", "APPEND", "INCR", "DECR", "INCRBY", "DECRBY", "EXPIRE", "PEXPIRE", "PERSIST",
              "TTL", "PTTL", "DBSIZE", "PING", "ECHO"],
            some(&["a", "b", "300000", "abc"], 0, 5),
        ),
    ]
}

/// One operation for both sides.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// `command`, literally.
    Line(Args),
    /// `Db::set`, which the bulk operations use.
    Set {
        key: Vec<u8>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        condition: Condition,
    },
    Get(Vec<u8>),
    Remove(Vec<u8>),
    Ttl(Vec<u8>),
    /// A whole scan.
    Scan {
        pattern: Vec<u8>,
        count: usize,
        strings: Option<bool>,
    },
}

/// Any of them.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let any_bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let ttl = prop::option::of(100_000u64..1_000_000);
    let condition = prop::sample::select(vec![Condition::Always, Condition::IfAbsent, Condition::IfPresent]);
    prop_oneof![
        40 => command_line().prop_map(Op::Line),
        4 => (pick(KEYS), any_bytes(), ttl, condition)
            .prop_map(|(key, value, ttl_ms, condition)| Op::Set { key, value, ttl_ms, condition }),
        2 => pick(KEYS).prop_map(Op::Get),
        2 => pick(KEYS).prop_map(Op::Remove),
        2 => pick(KEYS).prop_map(Op::Ttl),
        4 => (pick(PATTERNS), 1usize..20, prop::option::weighted(0.2, any::<bool>()))
            .prop_map(|(pattern, count, strings)| Op::Scan { pattern, count, strings }),
    ]
}
