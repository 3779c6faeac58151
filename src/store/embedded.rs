//! The embedded store in the place of a server.

use super::memory::{self, Change, Db, Glob, MemoryStore, SetOutcome};
use super::{
    Answer, Bounds, Command, Condition, EventLoop, NodeState, Pending, Placement, Settled, Split, Spread,
    Store,
};
use crate::batch::{Entries, Keys};
use crate::error::{Error, Kind, Result};
use crate::resp::{Handler, Page, Sink, Status};
use redis::Value;
use std::sync::Arc;
use tokio::task::yield_now;
use tokio::time::Instant;

/// Slots that one page looks at when the caller gives no COUNT.
const SCAN_SLOTS: u64 = 1_000;

/// [`MemoryStore`] as a [`Store`].
pub struct Embedded {
    memory: Arc<MemoryStore>,
}

impl Embedded {
    /// On this memory.
    pub fn new(memory: Arc<MemoryStore>) -> Self {
        Self { memory }
    }

    fn carry_out(&self, command: &Command<'_>) -> Sink {
        self.memory.with(|db| carry_out(db, command, &mut ()))
    }
}

/// Hears what commands change.
pub(super) trait Witness {
    /// Whether it listens at all.
    const LISTENS: bool;

    /// Of one change.
    fn hear(&mut self, change: Change<'_>);
}

/// Nobody.
impl Witness for () {
    const LISTENS: bool = false;

    fn hear(&mut self, _change: Change<'_>) {}
}

/// Carries out `command` on the table.
pub(super) fn carry_out(db: &mut Db, command: &Command<'_>, witness: &mut impl Witness) -> Sink {
    match command {
        Command::Lookup { keys, items, .. } => read(db, keys, items, command.sink()),
        Command::Set { entries, items, condition } => {
            let statuses = items.iter().map(|&index| set(db, entries, index, *condition, witness));
            Sink::Statuses(statuses.collect())
        }
        Command::Mset { entries, items } => {
            let statuses: Vec<_> =
                items.iter().map(|&index| set(db, entries, index, Condition::Always, witness)).collect();
            let refused = statuses.into_iter().find(|status| matches!(status, Status::Refused(_)));
            Sink::Statuses(vec![refused.unwrap_or(Status::Done)])
        }
        Command::Delete { keys, items, split, .. } => {
            let existed = remove_each(db, keys, items, witness);
            Sink::Statuses(match split {
                Split::Together => vec![Status::Count(existed.filter(|existed| *existed).count() as i64)],
                // Runs are a matter of clusters.
                Split::Each | Split::Runs(_) => {
                    existed.map(|existed| Status::Count(i64::from(existed))).collect()
                }
            })
        }
        Command::Scan { query, cursor, .. } => {
            let mut page = Page::default();
            let glob = Glob::new(&query.pattern);
            let slots = usize::try_from(query.count.unwrap_or(SCAN_SLOTS)).unwrap_or(usize::MAX);
            // Strings are all it holds.
            let any = query.kind.as_deref().is_none_or(|kind| kind == "string");
            page.cursor = db.scan(*cursor, slots, &glob, &mut |key| {
                if any {
                    page.keys.push(key);
                }
            });
            Sink::from_page(page)
        }
        Command::Other { arguments } => {
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            let reply = memory::command(db, &arguments);
            if heard(witness) {
                memory::changes(db, &arguments, &reply, |change| witness.hear(change));
            }
            answer(reply)
        }
    }
}

fn heard<W: Witness>(_witness: &W) -> bool {
    W::LISTENS
}

fn read(db: &mut Db, keys: &Keys, items: &[u32], mut sink: Sink) -> Sink {
    let mut key = Vec::new();
    if let Sink::Values(values) = &mut sink {
        let values = values.values_mut();
        for &index in items {
            keys.write(index as usize, &mut key);
            match db.get(&key) {
                Some(value) => drop(values.push(value)),
                None => values.push_null(),
            }
        }
    }
    sink
}

fn set(
    db: &mut Db,
    entries: &Entries,
    index: u32,
    condition: Condition,
    witness: &mut impl Witness,
) -> Status {
    let index = index as usize;
    let condition = match condition {
        Condition::Always => memory::Condition::Always,
        Condition::IfAbsent => memory::Condition::IfAbsent,
        Condition::IfPresent => memory::Condition::IfPresent,
    };
    let mut key = Vec::with_capacity(entries.keys.size(index));
    entries.keys.write(index, &mut key);
    match db.set(&key, entries.values.get(index), entries.expiry.get(index), condition) {
        SetOutcome::Stored => {
            witness.hear(Change::Key(&key));
            Status::Done
        }
        SetOutcome::ConditionNotMet => Status::NotMet,
        SetOutcome::TooLarge => Status::Refused(Error::new(
            Kind::TooLarge,
            "the entry alone is larger than the embedded store may grow",
        )),
    }
}

fn remove_each(
    db: &mut Db,
    keys: &Keys,
    items: &[u32],
    witness: &mut impl Witness,
) -> impl Iterator<Item = bool> {
    let mut key = Vec::new();
    items.iter().map(move |&index| {
        keys.write(index as usize, &mut key);
        witness.hear(Change::Key(&key));
        db.remove(&key)
    })
}

/// A generic reply in the sink that a server's would be in.
fn answer(value: Value) -> Sink {
    let mut sink = Sink::any();
    if let Value::ServerError(error) = &value {
        let text = format!("{} {}", error.code(), error.details().unwrap_or(""));
        // An error is never of the wrong kind here.
        let _ = sink.error(text.trim_end().as_bytes());
        return sink;
    }
    Sink::from_value(value)
}

impl Store for Embedded {
    fn execute<'a>(&'a self, command: &'a Command<'a>, _bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(async move {
            let sink = self.carry_out(command);
            // A long call made of many chunks lets others have their turn.
            yield_now().await;
            Answer { sink, failure: None }
        })
    }

    fn execute_now(
        &self,
        command: &Command<'_>,
        _limit: Option<Instant>,
        _caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) -> Option<Settled> {
        settled(Answer { sink: self.carry_out(command), failure: None });
        None
    }

    fn wants_repeat(&self, _command: &Command<'_>, _answer: &Answer, _bounds: &Bounds) -> bool {
        false
    }

    fn spread(&self) -> Spread {
        Spread::Whole
    }

    fn placement<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Result<Placement>> {
        Box::pin(async { Ok(Placement::whole()) })
    }

    fn nodes<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>> {
        Box::pin(async { Vec::new() })
    }

    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn disconnect(&self) {}
}
