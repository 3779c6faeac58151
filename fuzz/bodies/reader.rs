//! Replies from a stream: the same in whatever pieces it arrives, in every kind of sink, and what the redis crate's
//! own parser says.
//!
//! Input: a byte for the kind of sink, one for how many items it expects, one for the pieces, then the stream.

use redis::Value;
use redis_bulk::batch::{Decoded, Form};
use redis_bulk::resp::{Reader, Reply, Sink};

/// Longest stream read: a longer one takes time and shows nothing new.
const LONGEST: usize = 4096;

pub(crate) fn run(data: &[u8]) {
    let [kind, count, step, stream @ ..] = data else { return };
    let stream = stream.get(..LONGEST).unwrap_or(stream);
    let count = usize::from(*count) % 9;
    let make: &dyn Fn() -> Sink = match kind % 6 {
        0 => &|| Sink::values(count),
        1 => &|| Sink::isolated_values(count),
        2 => &|| Sink::statuses(count),
        3 => &Sink::page,
        4 => &Sink::any,
        _ => &|| Sink::Skip,
    };
    let replies = if kind % 6 == 1 || kind % 6 == 2 { count.max(1) } else { 1 };
    let whole = read(stream, stream.len().max(1), replies, make);
    assert_eq!(whole, read(stream, usize::from(*step) % 16 + 1, replies, make), "in pieces");
    assert_eq!(whole, read(stream, 1, replies, make), "byte by byte");
    if kind % 6 == 4 {
        as_the_redis_crate(stream);
    }
}

/// What the stream comes to: a line for each filled sink, then how it ended and how many bytes were taken for it.
fn read(stream: &[u8], step: usize, replies: usize, make: &dyn Fn() -> Sink) -> Vec<String> {
    let mut seen = Vec::new();
    let mut reader = Reader::new();
    let (mut sink, mut filled) = (make(), 0);
    for piece in stream.chunks(step) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (used, complete) = match reader.read(rest, &mut sink) {
                Ok(progress) => progress,
                Err(error) => {
                    seen.push(error.0.to_owned());
                    return seen;
                }
            };
            assert!(used > 0 && used <= rest.len(), "a read takes something, and no more than there is");
            assert!(complete || used == rest.len(), "an incomplete reply takes all there is");
            assert_eq!(complete, reader.is_idle(), "idle between replies");
            rest = &rest[used..];
            if complete {
                filled += 1;
                if filled == replies {
                    seen.push(describe(std::mem::replace(&mut sink, make()), stream.len()));
                    filled = 0;
                }
            }
        }
    }
    // What has arrived of an unfinished reply is kept, and no more than that.
    seen.push(format!("unfinished: {}", describe(sink, stream.len())));
    seen
}

fn describe(mut sink: Sink, arrived: usize) -> String {
    let fault = sink.take_fault();
    match sink.into_reply() {
        Some(Reply::Values(values)) => {
            assert!(values.byte_len() <= arrived);
            let items: Vec<_> = values.iter().map(|item| item.map(<[u8]>::to_vec)).collect();
            let decoded = values.decode(Form::String);
            consistent(&decoded, items.len());
            format!("{fault:?} {items:?} {decoded:?}")
        }
        other => format!("{fault:?} {other:?}"),
    }
}

fn consistent(decoded: &Decoded, items: usize) {
    let there = decoded.lengths.iter().filter(|length| **length >= 0).count();
    assert_eq!((decoded.lengths.len(), decoded.hits as usize), (items, there));
    assert!(decoded.failures.iter().all(|failure| (failure.index as usize) < items));
}

/// A first reply that is accepted here is the same for the redis crate.
fn as_the_redis_crate(stream: &[u8]) {
    let (mut reader, mut sink) = (Reader::new(), Sink::any());
    let Ok((used, true)) = reader.read(stream, &mut sink) else { return };
    let fault = sink.take_fault();
    let theirs = redis::parse_redis_value(&stream[..used]);
    match (sink.into_reply(), theirs) {
        (Some(Reply::Value(ours)), Ok(theirs)) => assert_eq!(plain(ours), plain(theirs)),
        (None, Ok(Value::ServerError(_))) => assert!(fault.is_some()),
        // It wants UTF-8 where this reader takes any bytes.
        (_, Err(_)) => assert!(std::str::from_utf8(stream).is_err(), "refused by the crate: {stream:?}"),
        (ours, theirs) => panic!("{fault:?} {ours:?} is not {theirs:?}"),
    }
}

/// The crate has a value of its own for `OK`.
fn plain(value: Value) -> Value {
    match value {
        Value::Okay => Value::SimpleString("OK".to_owned()),
        Value::Array(elements) => Value::Array(elements.into_iter().map(plain).collect()),
        other => other,
    }
}
