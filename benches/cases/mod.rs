//! What the benchmarks run: the pure parts of a call, from packed arguments to what crosses back to JavaScript, on
//! inputs that are the same in every run.

#![expect(
    clippy::expect_used,
    reason = "the inputs are made here; a case that cannot run must not look fast"
)]

use redis_bulk::batch::{ChunkLimits, Entries, Expiry, Form, Keys, Packed, SEPARATOR, Values};
use redis_bulk::batch::{chunks, split_array, validate};
use redis_bulk::resp::{Reader, Sink};
use redis_bulk::store::{Command, Condition, Split, Via};
use std::any::Any;
use std::cell::LazyCell;
use std::hint::black_box;
use std::rc::Rc;

/// One run of a case. Its result is dropped outside of what is measured.
pub(crate) type Work = Box<dyn FnOnce() -> Box<dyn Any>>;

/// Something to measure.
pub(crate) struct Case {
    /// Part of the core and what it does.
    pub(crate) name: &'static str,
    /// Items that one run treats.
    pub(crate) items: usize,
    prepare: Box<dyn Fn() -> Work>,
}

impl Case {
    /// A run that is ready to go: what it uses up is its own.
    pub(crate) fn work(&self) -> Work {
        (self.prepare)()
    }
}

/// Items of most cases.
const COUNT: usize = 10_000;
/// Items of one chunk, where a case is about one command.
const CHUNK: usize = ChunkLimits::READ_ITEMS;
/// Bytes that a connection reads at once.
const PIECE: usize = 64 * 1024;
const PREFIX: &[u8] = b"app:product:";

/// A case whose runs share their input, made when the first of them is prepared.
fn sharing<I: 'static, T: 'static>(
    name: &'static str,
    items: usize,
    input: impl Fn() -> I + 'static,
    run: impl Fn(&I) -> T + Copy + 'static,
) -> Case {
    let input = Rc::new(LazyCell::new(input));
    let prepare = move || -> Work {
        let input = input.clone();
        LazyCell::force(&input);
        Box::new(move || Box::new(run(&input)))
    };
    Case { name, items, prepare: Box::new(prepare) }
}

/// A case whose runs use up their input.
fn consuming<I: 'static, T: 'static>(
    name: &'static str,
    items: usize,
    input: impl Fn() -> I + 'static,
    run: impl Fn(I) -> T + Copy + 'static,
) -> Case {
    let prepare = move || -> Work {
        let input = input();
        Box::new(move || Box::new(run(input)))
    };
    Case { name, items, prepare: Box::new(prepare) }
}

/// Names of eight digits.
fn names(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("{:08}", index * 7919 % 100_000_000).into_bytes()).collect()
}

fn keys(count: usize) -> Keys {
    let text = names(count).join(&SEPARATOR);
    Keys::new(PREFIX.to_vec(), Packed::from_separated(text, count).expect("no name has a separator"))
}

/// A value of `bytes` bytes that differs from item to item and starts with `start`.
fn value(index: usize, start: &str, bytes: usize) -> Vec<u8> {
    let mut text = format!("{start}{index:08} ");
    while text.len() < bytes {
        text.push(char::from(b'a' + (text.len() * 31 + index) as u8 % 26));
    }
    text.into_bytes()
}

/// About 200 bytes of JSON.
fn object(index: usize) -> Vec<u8> {
    let name = String::from_utf8(value(index, "", 100)).expect("ASCII");
    format!(r#"{{"id":{index},"name":"{name}","price":{index}.25,"tags":["a","b \"c\""],"stock":{{"north":3,"south":null}}}}"#)
        .into_bytes()
}

fn entries(count: usize, expiry: Expiry) -> Entries {
    let values: Vec<Vec<u8>> = (0..count).map(|index| value(index, "", 200)).collect();
    let lengths: Vec<u32> = values.iter().map(|value| value.len() as u32).collect();
    let values = Packed::from_lengths(values.concat(), &lengths).expect("the lengths are theirs");
    Entries { keys: keys(count), values, expiry }
}

fn indices(count: usize) -> Vec<u32> {
    (0..count as u32).collect()
}

/// The reply to MGET, every tenth item missing.
fn array_reply(values: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = format!("*{}\r\n", values.len()).into_bytes();
    for (index, value) in values.enumerate() {
        if index % 10 == 9 {
            out.extend_from_slice(b"$-1\r\n");
            continue;
        }
        out.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
        out.extend_from_slice(&value);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Reads `reply` as a connection does, piece by piece.
fn read(reply: &[u8], mut sink: Sink) -> Sink {
    let mut reader = Reader::new();
    for piece in reply.chunks(PIECE) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (used, _) = reader.read(black_box(rest), &mut sink).expect("a reply as servers give it");
            rest = rest.get(used..).unwrap_or(&[]);
        }
    }
    sink
}

/// Values as they stand in the slab once their replies were read.
fn slab(values: impl Iterator<Item = Vec<u8>>) -> Values {
    let mut slab = Values::default();
    for (index, value) in values.enumerate() {
        if index % 10 == 9 {
            slab.push_null();
        } else {
            slab.push(&value);
        }
    }
    slab
}

/// Every case, in the order in which a call comes by.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = pack();
    cases.extend(encode());
    cases.extend(replies());
    cases.extend(decode());
    cases.extend(json());
    cases
}

fn pack() -> Vec<Case> {
    vec![
        consuming(
            "pack: split joined keys",
            COUNT,
            || names(COUNT).join(&SEPARATOR),
            |text| Packed::from_separated(text, COUNT).expect("no name has a separator"),
        ),
        consuming(
            "pack: split values by their lengths",
            COUNT,
            || vec![b'x'; COUNT * 200],
            |bytes| Packed::from_lengths(bytes, black_box(&[200; COUNT])).expect("they add up"),
        ),
        sharing(
            "plan: cut keys into chunks",
            COUNT,
            || keys(COUNT),
            |keys| {
                let limits = ChunkLimits::new(None, ChunkLimits::READ_ITEMS, 1);
                chunks(keys.len(), limits, |index| keys.size(index)).map(|range| range.end).max()
            },
        ),
    ]
}

fn encode() -> Vec<Case> {
    vec![
        sharing(
            "encode: one MGET",
            CHUNK,
            || (keys(CHUNK), indices(CHUNK)),
            |(keys, items)| {
                black_box(Command::Lookup { keys, items, via: Via::Mget, split: Split::Together }).encode()
            },
        ),
        sharing(
            "encode: SET with PX for each entry",
            CHUNK,
            || (entries(CHUNK, Expiry::Same(60_000)), indices(CHUNK)),
            |(entries, items)| {
                black_box(Command::Set { entries, items, condition: Condition::Always }).encode()
            },
        ),
        sharing(
            "encode: one MSET",
            CHUNK,
            || (entries(CHUNK, Expiry::Never), indices(CHUNK)),
            |(entries, items)| black_box(Command::Mset { entries, items }).encode(),
        ),
    ]
}

fn page() -> Vec<u8> {
    let mut reply = format!("*2\r\n$5\r\n12345\r\n*{CHUNK}\r\n").into_bytes();
    reply.extend(names(CHUNK).iter().flat_map(|name| [b"$8\r\n", &name[..], b"\r\n"].concat()));
    reply
}

fn replies() -> Vec<Case> {
    let values = |count, bytes| move || array_reply((0..count).map(|index| value(index, "", bytes)));
    vec![
        sharing("read: values of 20 bytes", COUNT, values(COUNT, 20), |reply| {
            read(reply, Sink::values(COUNT))
        }),
        sharing("read: values of 200 bytes", COUNT, values(COUNT, 200), |reply| {
            read(reply, Sink::values(COUNT))
        }),
        sharing("read: values of 20,000 bytes", CHUNK, values(CHUNK, 20_000), |reply| {
            read(reply, Sink::values(CHUNK))
        }),
        sharing(
            "read: a status for each SET",
            COUNT,
            || b"+OK\r\n".repeat(COUNT),
            |reply| read(reply, Sink::statuses(COUNT)),
        ),
        sharing("read: a page of SCAN", CHUNK, page, |reply| read(reply, Sink::page())),
    ]
}

fn decode() -> Vec<Case> {
    let texts = |start: &'static str| move || slab((0..COUNT).map(move |index| value(index, start, 200)));
    vec![
        consuming("slab: ASCII as strings", COUNT, texts(""), |values| values.decode(Form::String)),
        consuming("slab: Latin-1 as strings", COUNT, texts("größe "), |values| values.decode(Form::String)),
        consuming("slab: CJK and emoji as strings", COUNT, texts("漢字 😀 "), |values| {
            values.decode(Form::String)
        }),
        consuming("slab: as Buffers", COUNT, texts(""), |values| values.decode(Form::Buffer)),
        consuming(
            "slab: as JSON, checked and spliced",
            COUNT,
            || slab((0..COUNT).map(object)),
            |values| values.decode(Form::Json),
        ),
        consuming(
            "slab: as JSON, objects of a known shape",
            COUNT,
            || {
                let objects = || slab((0..COUNT).map(object));
                // Known after some thousand.
                drop(objects().decode(Form::Objects));
                objects()
            },
            |values| values.decode(Form::Objects),
        ),
    ]
}

fn json() -> Vec<Case> {
    let objects = || (0..COUNT).map(object).collect::<Vec<_>>();
    vec![
        sharing("json: check objects", COUNT, objects, |objects| {
            objects.iter().filter(|text| validate(text)).count()
        }),
        consuming(
            "json: split an array into its elements",
            COUNT,
            move || [b"[".to_vec(), objects().join(&b','), b"]".to_vec()].concat(),
            |text| split_array(text, COUNT).expect("an array of that many"),
        ),
    ]
}
