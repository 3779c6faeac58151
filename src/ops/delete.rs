//! Deleting many keys.

use super::{Call, indices, window};
use crate::batch::{ChunkLimits, ItemFailure, Keys, chunks};
use crate::error::{Applied, Error, Kind, Result};
use crate::resp::Status;
use crate::store::{Answer, Command, Failure, Split, Spread, Verb};
use std::mem;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Most keys in one command when the caller does not say.
const DELETE_ITEMS: usize = 500;

/// Options of [`delete`].
#[derive(Clone, Copy, Debug)]
pub struct DeleteOptions {
    /// Keys in one command.
    pub batch_size: Option<usize>,
    /// Whether to find out of each key if it existed.
    pub report: bool,
}

/// What became of the keys.
#[derive(Debug, Default)]
pub struct DeleteOutcome {
    /// Keys that existed and are gone.
    pub deleted: usize,
    /// Keys that were not deleted, or of which it is not known.
    pub failures: Vec<ItemFailure>,
    /// Of each key whether it existed; empty without `report`.
    pub existed: Vec<bool>,
}

/// Deletes `keys`. An error when nothing was sent.
pub async fn delete(call: &Call, keys: &Keys, options: DeleteOptions) -> Result<DeleteOutcome> {
    let items = indices(keys.len());
    let spread = call.store.spread();
    let limits = ChunkLimits::new(options.batch_size, DELETE_ITEMS, spread.servers());
    let split = if options.report || spread != Spread::Whole { Split::Each } else { Split::Together };
    let mut deleting = Deleting {
        call,
        keys,
        outcome: DeleteOutcome::default(),
        refused: Vec::new(),
        unsent: None,
        sent: false,
        seen: 0,
        answered: 0,
    };
    if options.report {
        deleting.outcome.existed.resize(keys.len(), false);
    }
    let verb = if call.habits.no_unlink.load(Ordering::Relaxed) { Verb::Del } else { Verb::Unlink };
    deleting.run(&items, limits, verb, split).await;
    // A batch that was refused deleted nothing. First it is asked whether the server lacks UNLINK; then each key by
    // itself, so that one refused key does not spoil the others.
    if let Some((_, error)) = deleting.refused.first()
        && verb == Verb::Unlink
        && error.code() == "ERR"
    {
        let refused: Vec<u32> =
            mem::take(&mut deleting.refused).into_iter().map(|(index, _)| index).collect();
        let deleted = deleting.answered;
        deleting.run(&refused, limits, Verb::Del, split).await;
        if deleting.answered > deleted {
            call.habits.no_unlink.store(true, Ordering::Relaxed);
        }
    }
    if split == Split::Together && !deleting.refused.is_empty() {
        let verb = if call.habits.no_unlink.load(Ordering::Relaxed) { Verb::Del } else { Verb::Unlink };
        let refused: Vec<u32> =
            mem::take(&mut deleting.refused).into_iter().map(|(index, _)| index).collect();
        deleting.run(&refused, limits, verb, Split::Each).await;
    }
    for (index, error) in mem::take(&mut deleting.refused) {
        deleting.outcome.failures.push(ItemFailure::new(index, error));
    }
    match deleting.unsent {
        Some(error) if !deleting.sent => Err(error),
        _ => {
            deleting.outcome.failures.sort_by_key(|failure| failure.index);
            Ok(deleting.outcome)
        }
    }
}

struct Deleting<'a> {
    call: &'a Call,
    keys: &'a Keys,
    outcome: DeleteOutcome,
    /// Keys that an error reply concerns, which deleted nothing.
    refused: Vec<(u32, Error)>,
    /// Why the first chunk that did not leave did not.
    unsent: Option<Error>,
    /// Whether anything may have reached the server.
    sent: bool,
    seen: usize,
    /// Commands that were answered with a number.
    answered: usize,
}

impl Deleting<'_> {
    async fn run(&mut self, items: &[u32], limits: ChunkLimits, verb: Verb, split: Split<'_>) {
        let (call, keys) = (self.call, self.keys);
        let size_of = |at: usize| items.get(at).map_or(0, |&index| keys.size(index as usize));
        let command_of = |range: Range<usize>| {
            let items = items.get(range).unwrap_or(&[]);
            Command::Delete { keys, items, verb, split }
        };
        window::run(
            call,
            window::WRITES,
            chunks(items.len(), limits, size_of),
            command_of,
            |range, answer| {
                self.settle(items.get(range).unwrap_or(&[]), answer, split);
                call.progress(self.seen, self.outcome.deleted);
            },
        )
        .await;
    }

    fn settle(&mut self, items: &[u32], answer: Answer, split: Split<'_>) {
        let (statuses, failure) = answer.into_statuses();
        let missing = match failure {
            None => Error::new(Kind::Protocol, "an answer of another length than the question")
                .with_applied(Applied::Unknown),
            Some(failure) => self.missing(failure),
        };
        self.sent |= statuses.iter().any(|status| !matches!(status, Status::Missing { .. }));
        let width = match split {
            Split::Together => items.len().max(1),
            Split::Each | Split::Runs(_) => 1,
        };
        let mut statuses = statuses.into_iter();
        for part in items.chunks(width) {
            match statuses.next() {
                Some(Status::Count(count)) => {
                    self.answered += 1;
                    self.outcome.deleted += usize::try_from(count).unwrap_or(0);
                    self.seen += part.len();
                    if let ([index], true) = (part, count > 0)
                        && let Some(existed) = self.outcome.existed.get_mut(*index as usize)
                    {
                        *existed = true;
                    }
                }
                Some(Status::Refused(error)) => {
                    self.refused.extend(part.iter().map(|&index| (index, error.clone())));
                }
                Some(Status::Missing { error, sent }) => {
                    let missing = self.missing(Failure { error, sent });
                    self.fail(part, &missing);
                }
                Some(Status::Done | Status::NotMet) | None => self.fail(part, &missing),
            }
        }
    }

    /// The error of what has no answer.
    fn missing(&mut self, failure: Failure) -> Error {
        if !failure.sent {
            self.unsent.get_or_insert_with(|| failure.error.clone());
        }
        self.sent |= failure.sent;
        failure.into_error()
    }

    fn fail(&mut self, part: &[u32], missing: &Error) {
        self.seen += part.len();
        let failed = part.iter().map(|&index| ItemFailure::new(index, missing.clone()));
        self.outcome.failures.extend(failed);
    }
}
