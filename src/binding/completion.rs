//! What has settled, in the form in which JavaScript gets it.

use super::js::{Js, Value};
use crate::batch::{Decoded, ItemFailure, Objects, Text, slab_pool};
use crate::error::{Applied, Class, Error, Kind, Result as CoreResult};
use crate::ops::{DeleteOutcome, Part, Progress, SetOutcome};
use crate::panic::{caught, hook};
use crate::state::Change;
use napi::Result;
use std::iter::Peekable;
use std::vec::IntoIter;

/// What an operation came to.
pub(super) enum Outcome {
    /// Values of a look-up that was answered at once, or keys of a scan.
    Values(Part),
    /// Not the end: values of a long look-up.
    Part(Part),
    /// The last values of a long look-up.
    LastPart(Part),
    Set(SetOutcome),
    Deleted(DeleteOutcome),
    Reply(redis::Value),
    /// JSON for the rarer answers.
    Json(String),
    Done,
    /// Not the end: how far the operation has come.
    Progress(Progress),
    /// Not the end: the state of the connection changed.
    State(Change),
    /// Of no operation: a question for a password, with its number. The completion's number is that of the function.
    Ask(u32),
    /// Not the end: keys changed, and are to be taken.
    Changed,
}

/// An outcome with the number of the operation, which JavaScript chose.
pub(super) struct Completion {
    pub(super) id: u32,
    pub(super) outcome: CoreResult<Outcome>,
}

/// Kinds of records, the same numbers as in `lib/bridge.js`.
mod kind {
    pub(super) const STRINGS: i32 = 0;
    pub(super) const COUNT: i32 = 1;
    pub(super) const VALUES: i32 = 2;
    pub(super) const SET: i32 = 3;
    pub(super) const DELETED: i32 = 4;
    pub(super) const REPLY: i32 = 5;
    pub(super) const JSON: i32 = 6;
    pub(super) const FAILED: i32 = 7;
    pub(super) const PROGRESS: i32 = 8;
    pub(super) const STATE: i32 = 9;
    pub(super) const PART: i32 = 10;
    pub(super) const LAST_PART: i32 = 11;
    pub(super) const ASK: i32 = 12;
    pub(super) const CHANGED: i32 = 13;
}

/// The arguments of one call of the JavaScript callback: how many numbers of the table count, the text that their
/// lengths cut, and an array of records that do not fit that form (or undefined).
///
/// In the table: `[id, STRINGS, hits, entries, length…]` with lengths in characters, -1 for a miss, and
/// `[id, COUNT, number]`.
pub(super) struct Delivery {
    pub(super) arguments: [Value; 3],
}

/// Values that go through the table: enough for any small look-up.
const SMALL_ENTRIES: usize = 512;
const SMALL_TEXT: usize = 64 * 1024;

impl Completion {
    /// Whether the operation has ended.
    pub(super) fn is_final(&self) -> bool {
        !matches!(
            self.outcome,
            Ok(Outcome::Part(_)
                | Outcome::Progress(_)
                | Outcome::State(_)
                | Outcome::Ask(_)
                | Outcome::Changed)
        )
    }

    /// Text that goes through the table.
    fn text(&self) -> &[u8] {
        match &self.outcome {
            Ok(Outcome::Values(all)) => small_text(&all.values).unwrap_or(&[]),
            Ok(
                Outcome::Part(_)
                | Outcome::LastPart(_)
                | Outcome::Set(_)
                | Outcome::Deleted(_)
                | Outcome::Reply(_)
                | Outcome::Json(_)
                | Outcome::Done
                | Outcome::Progress(_)
                | Outcome::State(_)
                | Outcome::Ask(_)
                | Outcome::Changed,
            )
            | Err(_) => &[],
        }
    }

    /// Numbers in the table, where the completion is small and plain enough.
    fn words(&self) -> Option<usize> {
        match &self.outcome {
            Ok(Outcome::Values(all)) => small_text(&all.values).map(|_| all.values.lengths.len() + 4),
            Ok(Outcome::Set(outcome)) => outcome.failures.is_empty().then_some(3),
            Ok(Outcome::Deleted(outcome)) => {
                (outcome.failures.is_empty() && outcome.existed.is_empty()).then_some(3)
            }
            Ok(Outcome::Done) => Some(3),
            Ok(
                Outcome::Part(_)
                | Outcome::LastPart(_)
                | Outcome::Reply(_)
                | Outcome::Json(_)
                | Outcome::Progress(_)
                | Outcome::State(_)
                | Outcome::Ask(_)
                | Outcome::Changed,
            )
            | Err(_) => None,
        }
    }
}

fn small_text(decoded: &Decoded) -> Option<&[u8]> {
    let text = match decoded.slabs.as_slice() {
        [] => &[][..],
        [(Text::Latin1(text), _)] if !decoded.json => text,
        _ => return None,
    };
    let small = decoded.lengths.len() <= SMALL_ENTRIES && text.len() <= SMALL_TEXT;
    (small && decoded.failures.is_empty()).then_some(text)
}

impl Delivery {
    /// Takes as many completions as the table has room for; at least one.
    pub(super) fn pack(js: Js, rest: &mut Peekable<IntoIter<Completion>>, table: &mut [i32]) -> Result<Self> {
        let mut used = 0;
        let mut text: Vec<u8> = Vec::new();
        let mut extras = Vec::new();
        while let Some(next) = rest.peek() {
            let words = next.words().filter(|words| *words <= table.len());
            let more = next.text().len();
            // A string that was cut from a text keeps it alive, so that a text is no longer than a slab.
            let full = used > 0 && !text.is_empty() && text.len() + more > SMALL_TEXT;
            if words.is_some_and(|words| used + words > table.len() || full) {
                break;
            }
            let Some(completion) = rest.next() else { break };
            match words.and_then(|words| table.get_mut(used..used + words)) {
                Some(record) => {
                    used += record.len();
                    completion.write(record, &mut text);
                }
                None => extras.push(completion.record_or_failure(js)?),
            }
        }
        let text = if text.is_empty() { js.undefined()? } else { copied(text, |text| js.latin1(text))? };
        let extras = if extras.is_empty() { js.undefined()? } else { js.array(&extras)? };
        Ok(Self { arguments: [js.number(used as f64)?, text, extras] })
    }
}

impl Completion {
    fn write(self, record: &mut [i32], text: &mut Vec<u8>) {
        let mut words = record.iter_mut();
        let mut put = |word: i32| {
            if let Some(place) = words.next() {
                *place = word;
            }
        };
        put(self.id as i32);
        match self.outcome {
            Ok(Outcome::Values(Part { values: decoded, .. })) => {
                put(kind::STRINGS);
                put(decoded.hits as i32);
                put(decoded.lengths.len() as i32);
                decoded.lengths.iter().copied().for_each(put);
                match decoded.slabs.into_iter().next() {
                    // The only text of most wakes: no copy.
                    Some((Text::Latin1(only), _)) if text.is_empty() => *text = only,
                    Some((Text::Latin1(more), _)) => text.extend_from_slice(&more),
                    Some((Text::Utf16(_) | Text::Bytes(_), _)) | None => {}
                }
            }
            Ok(Outcome::Set(outcome)) => {
                put(kind::COUNT);
                put(outcome.written as i32);
            }
            Ok(Outcome::Deleted(outcome)) => {
                put(kind::COUNT);
                put(outcome.deleted as i32);
            }
            // `words` lets nothing else come here.
            Ok(
                Outcome::Done
                | Outcome::Part(_)
                | Outcome::LastPart(_)
                | Outcome::Reply(_)
                | Outcome::Json(_)
                | Outcome::Progress(_)
                | Outcome::State(_)
                | Outcome::Ask(_)
                | Outcome::Changed,
            )
            | Err(_) => {
                put(kind::COUNT);
                put(0);
            }
        }
    }

    /// `[id, kind, …]`; a failure where JavaScript has no room for the answer. Somebody waits for either.
    fn record_or_failure(self, js: Js) -> Result<Value> {
        let id = self.id;
        let recorded = caught(|| {
            hook::pass("delivery");
            self.record(js)
        });
        let error = match recorded {
            Ok(Ok(record)) => return Ok(record),
            Ok(Err(_)) => {
                Error::new(Kind::TooLarge, "the answer is larger than JavaScript strings and buffers may be")
                    .with_applied(Applied::Unknown)
            }
            Err(fault) => fault,
        };
        js.clear_exception();
        let kind = js.number(f64::from(kind::FAILED))?;
        js.array(&[js.number(f64::from(id))?, kind, failure(js, None, &error)?])
    }

    /// `[id, kind, …]`.
    fn record(self, js: Js) -> Result<Value> {
        let id = js.number(f64::from(self.id))?;
        let number = |number: usize| js.number(number as f64);
        let kind = |kind: i32| js.number(f64::from(kind));
        match self.outcome {
            Ok(Outcome::Values(all)) => values(js, id, kind::VALUES, 0, all.values),
            Ok(Outcome::Part(part)) => values(js, id, kind::PART, part.offset, part.values),
            Ok(Outcome::LastPart(part)) => values(js, id, kind::LAST_PART, part.offset, part.values),
            Ok(Outcome::Set(outcome)) => {
                js.array(&[id, kind(kind::SET)?, number(outcome.written)?, failures(js, &outcome.failures)?])
            }
            Ok(Outcome::Deleted(outcome)) => {
                let existed: Vec<u8> = outcome.existed.iter().map(|existed| u8::from(*existed)).collect();
                js.array(&[
                    id,
                    kind(kind::DELETED)?,
                    number(outcome.deleted)?,
                    failures(js, &outcome.failures)?,
                    js.buffer(&existed)?,
                ])
            }
            Ok(Outcome::Reply(value)) => js.array(&[id, kind(kind::REPLY)?, reply(js, value)?]),
            Ok(Outcome::Json(text)) => js.array(&[id, kind(kind::JSON)?, js.string(&text)?]),
            Ok(Outcome::Done) => js.array(&[id, kind(kind::COUNT)?, number(0)?]),
            Ok(Outcome::Progress(progress)) => {
                js.array(&[id, kind(kind::PROGRESS)?, number(progress.scanned)?, number(progress.done)?])
            }
            Ok(Outcome::State(change)) => js.array(&[
                id,
                kind(kind::STATE)?,
                js.string(change.from.name())?,
                js.string(change.to.name())?,
                change.reason.as_deref().map_or_else(|| js.undefined(), |reason| js.string(reason))?,
                js.number(change.at as f64)?,
            ]),
            Ok(Outcome::Ask(question)) => js.array(&[id, kind(kind::ASK)?, js.number(f64::from(question))?]),
            Ok(Outcome::Changed) => js.array(&[id, kind(kind::CHANGED)?]),
            Err(error) => js.array(&[id, kind(kind::FAILED)?, failure(js, None, &error)?]),
        }
    }
}

/// What `copy` makes of a slab, whose memory is used again.
fn copied(slab: Vec<u8>, copy: impl FnOnce(&[u8]) -> Result<Value>) -> Result<Value> {
    let value = copy(&slab);
    slab_pool::give_back(slab);
    value
}

/// `[id, kind, offset, slabs, entries, lengths, hits, failures]`, and where JSON is in parts `[runs, words, numbers]`.
fn values(js: Js, id: Value, kind: i32, offset: usize, decoded: Decoded) -> Result<Value> {
    let mut slabs = Vec::with_capacity(decoded.slabs.len());
    let mut entries = Vec::with_capacity(decoded.slabs.len());
    for (text, count) in decoded.slabs {
        slabs.push(match text {
            Text::Latin1(text) if decoded.in_place => js.latin1_owned(text)?,
            Text::Utf16(text) if decoded.in_place => js.utf16_owned(text)?,
            Text::Latin1(text) => copied(text, |text| js.latin1(text))?,
            Text::Utf16(text) => js.utf16(&text)?,
            Text::Bytes(bytes) => copied(bytes, |bytes| js.buffer(bytes))?,
        });
        entries.push(count as i32);
    }
    // Of JSON JavaScript needs none.
    let lengths = if decoded.json { &[][..] } else { &decoded.lengths };
    let mut record = vec![
        id,
        js.number(f64::from(kind))?,
        js.number(offset as f64)?,
        js.array(&slabs)?,
        js.int32_array(&entries)?,
        js.int32_array(lengths)?,
        js.number(f64::from(decoded.hits))?,
        failures(js, &decoded.failures)?,
    ];
    if decoded.objects.any() {
        let Objects { runs, words, numbers } = &decoded.objects;
        record.push(js.array(&[
            js.int32_array(runs)?,
            js.int32_array(words)?,
            js.float64_array(numbers)?,
        ])?);
    }
    js.array(&record)
}

/// `[rows, indices, places]`: item `indices[i]` failed as `rows[places[i]]` says. Many items mostly fail alike, and a row
/// costs as much as a hundred numbers.
fn failures(js: Js, failures: &[ItemFailure]) -> Result<Value> {
    let mut rows = Vec::new();
    let mut indices = Vec::with_capacity(failures.len());
    let mut places = Vec::with_capacity(failures.len());
    let mut last: Option<&Error> = None;
    for item in failures {
        if last.is_none_or(|last| !last.is_like(&item.error)) {
            rows.push(failure(js, None, &item.error)?);
        }
        last = Some(&item.error);
        indices.push(item.index as i32);
        places.push(rows.len() as i32 - 1);
    }
    js.array(&[js.array(&rows)?, js.int32_array(&indices)?, js.int32_array(&places)?])
}

/// `[index, code, message, retryable, applied, class, cause]`.
fn failure(js: Js, index: Option<u32>, error: &Error) -> Result<Value> {
    let applied = match error.applied() {
        Applied::No => js.boolean(false)?,
        Applied::Yes => js.boolean(true)?,
        Applied::Unknown => js.latin1(b"unknown")?,
    };
    let class = match error.kind().class() {
        Class::Base => "RedisBulkError",
        Class::Connection => "ConnectionError",
        Class::Timeout => "TimeoutError",
        Class::Reply => "ReplyError",
        Class::Config => "ConfigError",
        Class::Argument => "TypeError",
    };
    js.array(&[
        index.map_or_else(|| js.null(), |index| js.number(f64::from(index)))?,
        js.string(error.code())?,
        js.string(error.message())?,
        js.boolean(error.retryable())?,
        applied,
        js.latin1(class.as_bytes())?,
        error.cause().map_or_else(|| js.undefined(), |cause| js.string(cause))?,
    ])
}

/// A reply as strings, numbers, arrays and null. An error inside an array is its
/// text, as redis-cli shows it.
fn reply(js: Js, value: redis::Value) -> Result<Value> {
    /// Whole numbers up to here are exact in a JavaScript number; others come as text.
    const MAX_SAFE: u64 = (1 << 53) - 1;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the wire is RESP2: what is left belongs to RESP3")]
    match value {
        redis::Value::Nil => js.null(),
        redis::Value::Int(number) if number.unsigned_abs() <= MAX_SAFE => js.number(number as f64),
        redis::Value::Int(number) => js.string(&number.to_string()),
        redis::Value::BulkString(bytes) => match crate::batch::text_of(bytes) {
            Text::Latin1(text) => js.latin1_owned(text),
            Text::Utf16(text) => js.utf16_owned(text),
            Text::Bytes(bytes) => js.buffer(&bytes),
        },
        redis::Value::SimpleString(text) => js.string(&text),
        redis::Value::Okay => js.string("OK"),
        redis::Value::Array(elements) => {
            let elements: Result<Vec<Value>> =
                elements.into_iter().map(|element| reply(js, element)).collect();
            js.array(&elements?)
        }
        redis::Value::ServerError(error) => {
            js.string(format!("{} {}", error.code(), error.details().unwrap_or("")).trim_end())
        }
        other => js.string(&format!("{other:?}")),
    }
}
