use super::*;
use crate::store::memory::{Clock, Limits, ManualClock};

fn run(db: &mut Db, line: &str) -> Value {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    command(db, &args)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of another crate may grow")]
fn error_text(reply: Value) -> String {
    match reply {
        Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
        other => panic!("{other:?} is no error"),
    }
}

fn db() -> (Db, ManualClock) {
    let hand = ManualClock::default();
    (Db::new(Limits::default(), Clock::manual(&hand)), hand)
}

#[test]
fn a_value_that_never_fits_is_refused_and_changes_nothing() {
    let mut db = Db::new(Limits::new(200, None), Clock::system());
    assert_eq!(run(&mut db, "SET a 1"), Value::Okay);
    let large = "x".repeat(200);
    for line in [format!("SET a {large}"), format!("MSET a 2 b {large}"), format!("APPEND a {large}")] {
        assert!(error_text(run(&mut db, &line)).starts_with("OOM "), "{line}");
    }
    assert_eq!(run(&mut db, "GET a"), Value::BulkString(b"1".to_vec()));
    assert_eq!(run(&mut db, "EXISTS b"), Value::Int(0));
}

#[test]
fn times_to_live_are_kept_cleared_and_rounded() {
    let (mut db, hand) = db();
    run(&mut db, "SET a 1 PX 1400");
    assert_eq!(run(&mut db, "TTL a"), Value::Int(1));
    run(&mut db, "PEXPIRE a 1500");
    assert_eq!(run(&mut db, "TTL a"), Value::Int(2));
    run(&mut db, "PEXPIRE a 1400");
    assert_eq!(run(&mut db, "INCR a"), Value::Int(2));
    run(&mut db, "APPEND a 0");
    run(&mut db, "SET a 5 KEEPTTL");
    hand.advance(400);
    db.tick();
    assert_eq!(run(&mut db, "PTTL a"), Value::Int(1000));
    hand.advance(999);
    db.tick();
    assert_eq!(run(&mut db, "PTTL a"), Value::Int(1));
    hand.advance(1);
    db.tick();
    assert_eq!(run(&mut db, "PTTL a"), Value::Int(-2));
    assert_eq!(run(&mut db, "DBSIZE"), Value::Int(0));
    run(&mut db, "SET a 1 EX 5");
    run(&mut db, "SET a 2");
    assert_eq!(run(&mut db, "TTL a"), Value::Int(-1));
}

/// Equal times are neither greater nor less; no expiry at all is greater than any.
#[test]
fn expire_compares_with_the_time_that_is_left() {
    let (mut db, _hand) = db();
    let cases = [
        ("GT", 99, 0),
        ("GT", 100, 0),
        ("GT", 101, 1),
        ("LT", 101, 0),
        ("LT", 100, 0),
        ("LT", 99, 1),
        ("LT", -1, 1),
    ];
    for (flag, time, expected) in cases {
        run(&mut db, "SET a 1 EX 100");
        assert_eq!(run(&mut db, &format!("EXPIRE a {time} {flag}")), Value::Int(expected), "{flag} {time}");
    }
    run(&mut db, "SET a 1");
    assert_eq!(run(&mut db, "EXPIRE a 100 GT"), Value::Int(0));
    assert_eq!(run(&mut db, "EXPIRE a 100 LT"), Value::Int(1));
}

#[test]
fn absolute_times_follow_the_wall_clock() {
    let (mut db, _hand) = db();
    let now = db.wall_time().as_secs();
    run(&mut db, &format!("SET a 1 EXAT {}", now + 7));
    assert_eq!(run(&mut db, "PTTL a"), Value::Int(7000));
    assert_eq!(run(&mut db, &format!("SET a 1 EXAT {now}")), Value::Okay);
    assert_eq!(run(&mut db, "EXISTS a"), Value::Int(0));
}

#[test]
fn an_empty_command_is_unknown() {
    let (mut db, _hand) = db();
    let text = error_text(command(&mut db, &[]));
    assert_eq!(text, "ERR unknown command '', with args beginning with: ");
}

#[test]
fn every_name_in_the_list_is_a_command() {
    let (mut db, _hand) = db();
    for name in NAMES {
        let known = (0..4).any(|args| {
            let line: Vec<&[u8]> =
                std::iter::once(*name).chain(std::iter::repeat_n(&b"1"[..], args)).collect();
            !matches!(command(&mut db, &line), Value::ServerError(error)
                if error.details().is_some_and(|text| text.starts_with("wrong number")))
        });
        assert!(known, "{}", String::from_utf8_lossy(name));
    }
}
