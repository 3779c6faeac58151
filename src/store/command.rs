//! The commands of bulk work, each with its encoding, the shape of its answer and whether it may be repeated.

use super::memory::may_be_done_again;
use crate::batch::{Entries, Keys};
use crate::resp::{Sink, encode};

/// When a SET writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// In any case.
    Always,
    /// Where the key is absent (`NX`).
    IfAbsent,
    /// Where the key is present (`XX`).
    IfPresent,
}

/// How keys are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// Frees the memory on another thread of the server; since Redis 4.
    Unlink,
    /// Every server has it.
    Del,
}

/// How keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via<'a> {
    /// MGET: a key of another type is missing.
    Mget,
    /// The look-up script with this digest: a key of another type is an error of its own.
    Script(&'a str),
}

/// How many commands carry a chunk's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Split<'a> {
    /// One for all of them.
    Together,
    /// One for each, so that one refused key is one refusal and each answer is known.
    Each,
    /// One for each run of so many: keys of one slot.
    Runs(&'a [u32]),
}

/// One of the servers that a store's keys are spread over. A scan goes over each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub(crate) u64);

/// What a scan looks for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScanQuery {
    /// Redis glob for the full key.
    pub pattern: Vec<u8>,
    /// The COUNT hint; the server's default (10) where absent.
    pub count: Option<u64>,
    /// Type of the value; any where absent.
    pub kind: Option<String>,
}

impl ScanQuery {
    /// Keys that start with `prefix`, taken literally, and go on as `pattern` says. An empty `kind` is any type.
    pub fn below(prefix: &str, pattern: &str, count: Option<u64>, kind: String) -> Self {
        let mut full = literal(prefix.as_bytes());
        full.extend_from_slice(pattern.as_bytes());
        Self { pattern: full, count, kind: (!kind.is_empty()).then_some(kind) }
    }
}

/// A pattern that matches exactly these bytes.
pub(crate) fn literal(bytes: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'\\' | b'-') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

/// One or several pipelined commands on the items that `items` lists.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// Reads keys.
    Lookup {
        /// All keys of the call.
        keys: &'a Keys,
        /// Which of them.
        items: &'a [u32],
        /// With which command.
        via: Via<'a>,
        /// With how many.
        split: Split<'a>,
    },
    /// A SET for each entry.
    Set {
        /// All entries of the call.
        entries: &'a Entries,
        /// Which of them.
        items: &'a [u32],
        /// When each is written.
        condition: Condition,
    },
    /// One MSET; the entries have no time to live.
    Mset {
        /// All entries of the call.
        entries: &'a Entries,
        /// Which of them.
        items: &'a [u32],
    },
    /// Deletes keys; the answer is how many existed.
    Delete {
        /// All keys of the call.
        keys: &'a Keys,
        /// Which of them.
        items: &'a [u32],
        /// With which command.
        verb: Verb,
        /// With how many.
        split: Split<'a>,
    },
    /// A page of SCAN.
    Scan {
        /// Where.
        shard: Shard,
        /// What is looked for.
        query: &'a ScanQuery,
        /// Where the last page ended; 0 at first.
        cursor: u64,
    },
    /// Anything else.
    Other {
        /// The name of the command and what follows.
        arguments: &'a [Vec<u8>],
    },
}

impl Command<'_> {
    /// The keys that it writes, without their prefix, which those of one call share.
    pub(crate) fn written_keys(&self) -> impl Iterator<Item = &[u8]> {
        let written = match self {
            Self::Set { entries, items, .. } | Self::Mset { entries, items } => Some((entries, *items)),
            Self::Lookup { .. } | Self::Delete { .. } | Self::Scan { .. } | Self::Other { .. } => None,
        };
        written
            .into_iter()
            .flat_map(|(entries, items)| items.iter().map(|&index| entries.keys.parts(index as usize).1))
    }

    /// Replies that the server gives.
    pub(crate) fn replies(&self) -> usize {
        match self {
            Self::Set { items, .. } => items.len(),
            Self::Lookup { items, split, .. } | Self::Delete { items, split, .. } => match split {
                Split::Together => 1,
                Split::Each => items.len(),
                Split::Runs(runs) => runs.len(),
            },
            Self::Mset { .. } | Self::Scan { .. } | Self::Other { .. } => 1,
        }
    }

    /// A sink for them.
    pub fn sink(&self) -> Sink {
        match self {
            Self::Lookup { items, split, .. } => match split {
                Split::Together => Sink::values(items.len()),
                Split::Each => Sink::isolated_values(items.len()),
                Split::Runs(runs) => Sink::runs_of_values(runs),
            },
            Self::Set { .. } | Self::Mset { .. } | Self::Delete { .. } => Sink::statuses(self.replies()),
            Self::Scan { .. } => Sink::page(),
            Self::Other { .. } => Sink::any(),
        }
    }

    /// Whether carrying it out twice leaves what carrying it out once leaves, and is answered alike. What counts or
    /// has a condition is not repeated; of a command that is not known here nothing is assumed.
    pub(crate) fn repeatable(&self) -> bool {
        match self {
            Self::Lookup { .. } | Self::Mset { .. } | Self::Scan { .. } => true,
            Self::Set { condition, .. } => match condition {
                Condition::Always => true,
                Condition::IfAbsent | Condition::IfPresent => false,
            },
            Self::Delete { .. } | Self::Other { .. } => false,
        }
    }

    /// Whether carrying it out once more elsewhere leaves what was asked for. Unlike [`Command::repeatable`], the answer may
    /// be another one: of a deletion, how many keys there were.
    pub(crate) fn leaves_the_same(&self) -> bool {
        match self {
            Self::Lookup { .. } | Self::Set { .. } | Self::Mset { .. } | Self::Scan { .. } => {
                self.repeatable()
            }
            // With an answer for each key the caller wants to know exactly.
            Self::Delete { split, .. } => match split {
                Split::Together => true,
                Split::Each | Split::Runs(_) => false,
            },
            Self::Other { arguments } => may_be_done_again(arguments),
        }
    }

    /// Whether it changes what is stored; its answers are small.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Set { .. } | Self::Mset { .. } | Self::Delete { .. } => true,
            Self::Lookup { .. } | Self::Scan { .. } | Self::Other { .. } => false,
        }
    }

    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Lookup { keys, items, via, split } => {
                for part in parts(items, *split) {
                    out.reserve(key_bytes(keys, part));
                    match via {
                        Via::Mget => {
                            encode::header(&mut out, part.len() + 1);
                            encode::argument(&mut out, b"MGET");
                        }
                        Via::Script(sha) => {
                            encode::header(&mut out, part.len() + 3);
                            encode::argument(&mut out, b"EVALSHA");
                            encode::argument(&mut out, sha.as_bytes());
                            encode::number(&mut out, part.len() as i64);
                        }
                    }
                    put_keys(&mut out, keys, part);
                }
            }
            Self::Set { entries, items, condition } => put_sets(&mut out, entries, items, *condition),
            Self::Mset { entries, items } => {
                out.reserve(entry_bytes(entries, items));
                encode::header(&mut out, items.len() * 2 + 1);
                encode::argument(&mut out, b"MSET");
                for &index in *items {
                    let (prefix, name) = entries.keys.parts(index as usize);
                    encode::joined(&mut out, prefix, name);
                    encode::argument(&mut out, entries.values.get(index as usize));
                }
            }
            Self::Delete { keys, items, verb, split } => {
                for part in parts(items, *split) {
                    out.reserve(key_bytes(keys, part));
                    encode::header(&mut out, part.len() + 1);
                    encode::argument(&mut out, verb.name());
                    put_keys(&mut out, keys, part);
                }
            }
            Self::Scan { query, cursor, .. } => put_scan(&mut out, query, *cursor),
            Self::Other { arguments } => encode::command(&mut out, arguments.iter()),
        }
        out
    }
}

/// The items of each command.
fn parts<'a>(items: &'a [u32], split: Split<'a>) -> impl Iterator<Item = &'a [u32]> {
    let mut rest = items;
    let mut runs = match split {
        Split::Together | Split::Each => [].iter(),
        Split::Runs(runs) => runs.iter(),
    };
    std::iter::from_fn(move || {
        let width = match split {
            Split::Together => rest.len(),
            Split::Each => 1,
            Split::Runs(_) => *runs.next()? as usize,
        };
        let (part, others) = rest.split_at_checked(width)?;
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

impl Verb {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Unlink => b"UNLINK",
            Self::Del => b"DEL",
        }
    }
}

/// Room for the name, the digest of a script and the frame of a command beside its keys.
const COMMAND_OVERHEAD: usize = 96;

fn key_bytes(keys: &Keys, items: &[u32]) -> usize {
    let sizes: usize = items.iter().map(|&index| keys.size(index as usize) + encode::ARGUMENT_OVERHEAD).sum();
    sizes + COMMAND_OVERHEAD
}

fn entry_bytes(entries: &Entries, items: &[u32]) -> usize {
    let sizes: usize =
        items.iter().map(|&index| entries.size(index as usize) + 2 * encode::ARGUMENT_OVERHEAD).sum();
    sizes + COMMAND_OVERHEAD
}

fn put_keys(out: &mut Vec<u8>, keys: &Keys, items: &[u32]) {
    for &index in items {
        let (prefix, name) = keys.parts(index as usize);
        encode::joined(out, prefix, name);
    }
}

fn put_sets(out: &mut Vec<u8>, entries: &Entries, items: &[u32], condition: Condition) {
    // `*6`, `SET`, `PX` with up to twenty digits and `NX` in their frames.
    const SET_OVERHEAD: usize = 80;
    out.reserve(entry_bytes(entries, items) + items.len() * SET_OVERHEAD);
    let flag: Option<&[u8]> = match condition {
        Condition::Always => None,
        Condition::IfAbsent => Some(b"NX"),
        Condition::IfPresent => Some(b"XX"),
    };
    for &index in items {
        let index = index as usize;
        let expiry = entries.expiry.get(index);
        encode::header(out, 3 + 2 * usize::from(expiry.is_some()) + usize::from(flag.is_some()));
        encode::argument(out, b"SET");
        let (prefix, name) = entries.keys.parts(index);
        encode::joined(out, prefix, name);
        encode::argument(out, entries.values.get(index));
        if let Some(millis) = expiry {
            encode::argument(out, b"PX");
            encode::number(out, i64::try_from(millis).unwrap_or(i64::MAX));
        }
        if let Some(flag) = flag {
            encode::argument(out, flag);
        }
    }
}

fn put_scan(out: &mut Vec<u8>, query: &ScanQuery, cursor: u64) {
    encode::header(out, 4 + 2 * usize::from(query.count.is_some()) + 2 * usize::from(query.kind.is_some()));
    encode::argument(out, b"SCAN");
    encode::argument(out, cursor.to_string().as_bytes());
    encode::argument(out, b"MATCH");
    encode::argument(out, &query.pattern);
    if let Some(count) = query.count {
        encode::argument(out, b"COUNT");
        encode::argument(out, count.to_string().as_bytes());
    }
    if let Some(kind) = &query.kind {
        encode::argument(out, b"TYPE");
        encode::argument(out, kind.as_bytes());
    }
}
