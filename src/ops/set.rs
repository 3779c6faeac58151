//! Writing many entries.

use super::{Call, indices, window};
use crate::batch::{ChunkLimits, Entries, Expiry, ItemFailure, chunks};
use crate::error::{Applied, Error, Kind, Result};
use crate::resp::{Sink, Status};
use crate::store::{Answer, Command, Condition, Failure, Spread};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Most entries in one chunk when the caller does not say.
const WRITE_ITEMS: usize = 1_000;

/// Options of [`set`].
#[derive(Clone, Copy, Debug)]
pub struct SetOptions {
    /// When an entry is written.
    pub condition: Condition,
    /// Entries in one chunk.
    pub batch_size: Option<usize>,
}

/// What became of the entries; those that are not in `failures` were written.
#[derive(Debug, Default)]
pub struct SetOutcome {
    /// Entries that were written.
    pub written: usize,
    /// Entries that were not written, or of which it is not known.
    pub failures: Vec<ItemFailure>,
}

/// Writes `entries`. An error when nothing was sent.
pub async fn set(call: &Call, entries: &Entries, options: SetOptions) -> Result<SetOutcome> {
    let items = indices(entries.keys.len());
    let spread = call.store.spread();
    let limits = ChunkLimits::new(options.batch_size, WRITE_ITEMS, spread.servers());
    let plain =
        entries.expiry == Expiry::Never && options.condition == Condition::Always && spread == Spread::Whole;
    let mut writing = Writing {
        call,
        entries,
        options,
        outcome: SetOutcome::default(),
        doubtful: HashSet::new(),
        unsent: None,
        sent: false,
    };
    let refused = writing.run(&items, limits, plain).await;
    let refused = writing.without_overtaken(refused);
    if !refused.is_empty() {
        // An MSET that was refused wrote nothing: each of its entries gets its own answer.
        writing.run(&refused, limits, false).await;
    }
    match writing.unsent {
        Some(error) if !writing.sent => Err(error),
        _ => Ok(writing.outcome),
    }
}

struct Writing<'a> {
    call: &'a Call,
    entries: &'a Entries,
    options: SetOptions,
    outcome: SetOutcome,
    /// Entries of an MSET that was refused, an earlier attempt of which may have been carried out.
    doubtful: HashSet<u32>,
    /// Why the first chunk that did not leave did not.
    unsent: Option<Error>,
    /// Whether anything may have reached the server.
    sent: bool,
}

impl Writing<'_> {
    /// Writes `items`, with MSET where they are `plain`; returns those whose MSET was refused.
    async fn run(&mut self, items: &[u32], limits: ChunkLimits, plain: bool) -> Vec<u32> {
        let (call, entries, condition) = (self.call, self.entries, self.options.condition);
        let mut refused = Vec::new();
        let size_of = |at: usize| items.get(at).map_or(0, |&index| entries.size(index as usize));
        let command_of = |range: Range<usize>| {
            let items = items.get(range).unwrap_or(&[]);
            if plain { Command::Mset { entries, items } } else { Command::Set { entries, items, condition } }
        };
        window::run(
            call,
            window::WRITES,
            chunks(items.len(), limits, size_of),
            command_of,
            |range, answer| {
                let items = items.get(range).unwrap_or(&[]);
                if plain {
                    self.settle_mset(items, answer, &mut refused);
                } else {
                    self.settle(items, answer);
                }
            },
        )
        .await;
        refused
    }

    /// Leaves out entries whose key a later command has written meanwhile: the later one stands. They count as
    /// written, as they would have been, one after the other.
    fn without_overtaken(&mut self, refused: Vec<u32>) -> Vec<u32> {
        if refused.is_empty() {
            return refused;
        }
        let keys = &self.entries.keys;
        let mut last: HashMap<(&[u8], &[u8]), u32> = HashMap::new();
        for index in 0..keys.len() {
            last.insert(keys.parts(index), index as u32);
        }
        let mut pending: HashSet<u32> = refused.iter().copied().collect();
        pending.extend(self.outcome.failures.iter().map(|failure| failure.index));
        let before = refused.len();
        let kept: Vec<u32> = refused
            .into_iter()
            .filter(|&index| last.get(&keys.parts(index as usize)).is_none_or(|last| pending.contains(last)))
            .collect();
        self.outcome.written += before - kept.len();
        kept
    }

    fn settle_mset(&mut self, items: &[u32], answer: Answer, refused: &mut Vec<u32>) {
        if matches!(&answer.sink, Sink::Statuses(statuses) if statuses.len() > 1) {
            // Written, but not all of it is known to stand.
            return self.settle(items, answer);
        }
        let (statuses, missing) = self.split(answer);
        match (statuses.into_iter().next(), missing) {
            (Some(Status::Done), _) => self.outcome.written += items.len(),
            (Some(status @ (Status::Refused(_) | Status::NotMet | Status::Count(_))), _) => {
                if matches!(status, Status::Refused(error) if error.applied() == Applied::Unknown) {
                    self.doubtful.extend(items);
                }
                refused.extend_from_slice(items);
            }
            (Some(Status::Missing { error, sent }), _) => {
                let missing = self.missing(Failure { error, sent });
                items.iter().for_each(|&index| self.fail(index, missing.clone()));
            }
            (None, missing) => items.iter().for_each(|&index| self.fail(index, missing.clone())),
        }
    }

    fn settle(&mut self, items: &[u32], answer: Answer) {
        let (statuses, missing) = self.split(answer);
        let mut statuses = statuses.into_iter();
        for &index in items {
            match statuses.next() {
                Some(Status::Done) => self.outcome.written += 1,
                Some(Status::NotMet) => {
                    let text = match self.options.condition {
                        Condition::IfPresent => "the key is absent",
                        Condition::IfAbsent | Condition::Always => "the key is present",
                    };
                    self.fail(index, Error::new(Kind::NotSet, text));
                }
                Some(Status::Refused(error)) => self.fail(index, error),
                Some(Status::Missing { error, sent }) => {
                    let missing = self.missing(Failure { error, sent });
                    self.fail(index, missing);
                }
                Some(Status::Count(_)) => self.fail(index, unexpected()),
                None => self.fail(index, missing.clone()),
            }
        }
    }

    /// The statuses that arrived and the error of those that did not.
    fn split(&mut self, answer: Answer) -> (Vec<Status>, Error) {
        let (statuses, failure) = answer.into_statuses();
        let missing = match failure {
            None => unexpected(),
            Some(failure) => self.missing(failure),
        };
        self.sent |= statuses.iter().any(|status| !matches!(status, Status::Missing { .. }));
        (statuses, missing)
    }

    /// The error of what has no answer.
    fn missing(&mut self, failure: Failure) -> Error {
        if !failure.sent {
            self.unsent.get_or_insert_with(|| failure.error.clone());
        }
        self.sent |= failure.sent;
        failure.into_error()
    }

    fn fail(&mut self, index: u32, mut error: Error) {
        if self.doubtful.contains(&index) {
            error = error.with_applied(Applied::Unknown);
        }
        self.outcome.failures.push(ItemFailure::new(index, error));
    }
}

fn unexpected() -> Error {
    Error::new(Kind::Protocol, "an answer of another length than the question").with_applied(Applied::Unknown)
}
