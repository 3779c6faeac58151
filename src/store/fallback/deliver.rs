//! Bringing runs of keys to the server and going by its answers.

use super::Fallback;
use super::journal::Touched;
use super::run::{Run, RunBuilder};
use crate::error::{Error, Kind, Result};
use crate::resp::{Page, Reply, Status};
use crate::store::{Answer, Bounds, Command, ScanQuery, Shard};
use std::mem;
use tokio::sync::oneshot;

/// What could not be done.
#[derive(Default)]
pub(super) struct Refused {
    keys: usize,
    first: Option<Error>,
}

impl Refused {
    pub(super) fn add(&mut self, error: Error) {
        self.keys += 1;
        self.first.get_or_insert(error);
    }

    /// For the user, where there is anything to say.
    pub(super) fn describe(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!("the server did not take {} of the changes: {}", self.keys, first.message()))
    }
}

impl Fallback {
    /// Sends all runs one after the other, without waiting in between where that can be done, and goes by the answers.
    pub(super) async fn replay_runs(
        &self,
        runs: &[Run],
        left: &mut Taken<'_>,
        refused: &mut Refused,
    ) -> Result<()> {
        let all: Vec<Vec<u32>> = runs.iter().map(|run| (0..run.len() as u32).collect()).collect();
        let bounds = Bounds::default();
        let mut sent = Vec::with_capacity(runs.len());
        for (run, items) in runs.iter().zip(&all) {
            let command = run.command(items);
            let (sender, receiver) = oneshot::channel();
            let settled = Box::new(move |answer| drop(sender.send(answer)));
            if self.parts.line.execute_now(&command, None, None, settled).is_none() {
                sent.push(receiver);
                continue;
            }
            let (sender, receiver) = oneshot::channel();
            // Nobody listens only if this task has ended.
            let _ = sender.send(self.parts.line.execute(&command, &bounds).await);
            sent.push(receiver);
        }
        let mut first = 0;
        let mut outcome = Ok(());
        let mut doubtful: Vec<(usize, Vec<u8>)> = Vec::new();
        for (run, receiver) in runs.iter().zip(sent) {
            let answer = receiver.await.unwrap_or_else(|_| Answer::lost("the connection's driver ended"));
            let (statuses, failure) = answer.into_statuses();
            let count = statuses.len();
            for (at, status) in statuses.into_iter().enumerate() {
                match status {
                    Status::Done | Status::NotMet | Status::Count(_) => left.done(first + at),
                    Status::Refused(error) if is_lasting(&error) => {
                        // What cannot be written is deleted, so that nothing older stays. UNLINK may be too new for the
                        // server.
                        let again = match run {
                            Run::Write(_) => true,
                            Run::Delete(_) => error.code() == "ERR",
                        };
                        if again {
                            doubtful.push((first + at, run.key(at)));
                        } else {
                            left.done(first + at);
                            refused.add(error);
                        }
                    }
                    Status::Refused(error) | Status::Missing { error, .. } => outcome = Err(error),
                }
            }
            if count < run.len() {
                let error = failure.map_or_else(unexpected, |failure| failure.error);
                outcome = Err(error);
            }
            first += run.len();
        }
        for (index, key) in doubtful {
            match self.ask(&[b"DEL".to_vec(), key]).await {
                Ok(()) => left.done(index),
                Err(error) if is_lasting(&error) => {
                    left.done(index);
                    refused.add(error);
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Deletes the keys on the server that match and of which `wanted` says so.
    pub(super) async fn delete_found(
        &self,
        pattern: Vec<u8>,
        wanted: impl Fn(&[u8]) -> bool,
        refused: &mut Refused,
    ) -> Result<()> {
        /// The COUNT hint: a page in well under a millisecond.
        const COUNT: u64 = 1_000;
        let query = ScanQuery { pattern, count: Some(COUNT), kind: None };
        let bounds = Bounds::default();
        let mut cursor = 0;
        loop {
            let page = page(
                self.parts
                    .line
                    .execute(&Command::Scan { shard: Shard::default(), query: &query, cursor }, &bounds)
                    .await,
            )?;
            let mut run = RunBuilder::default();
            page.keys.iter().flatten().filter(|key| wanted(key)).for_each(|key| run.add(key, None, None));
            let runs: Vec<Run> = run.build().into_iter().collect();
            let count = runs.iter().map(Run::len).sum();
            // They are found again when the scan is repeated.
            let mut left = Taken { fallback: self, keys: (0..count).map(|_| None).collect() };
            self.replay_runs(&runs, &mut left, refused).await?;
            cursor = page.cursor;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// Sends one command and wants no error.
    pub(super) async fn ask(&self, arguments: &[Vec<u8>]) -> Result<()> {
        let mut answer = self.parts.line.execute(&Command::Other { arguments }, &Bounds::default()).await;
        match answer.failure.map(|failure| failure.error).or_else(|| answer.sink.take_fault()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Keys that were taken from the journal; those that are not done go back.
pub(super) struct Taken<'a> {
    pub(super) fallback: &'a Fallback,
    pub(super) keys: Vec<Option<Touched>>,
}

impl Taken<'_> {
    fn done(&mut self, index: usize) {
        if let Some(key) = self.keys.get_mut(index) {
            *key = None;
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut core = self.fallback.core();
        mem::take(&mut self.keys).into_iter().flatten().for_each(|key| core.journal.put_back(key));
    }
}

/// Whether the server will say the same next time. OOM is one of them: there may never be room for this entry.
pub(super) fn is_lasting(error: &Error) -> bool {
    error.kind().is_reply() && (!error.retryable() || error.code() == "OOM")
}

fn page(mut answer: Answer) -> Result<Page> {
    if let Some(error) = answer.failure.map(|failure| failure.error).or_else(|| answer.sink.take_fault()) {
        return Err(error);
    }
    match answer.sink.into_reply() {
        Some(Reply::Page(page)) => Ok(page),
        Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Value(_)) | None => Err(unexpected()),
    }
}

fn unexpected() -> Error {
    Error::new(Kind::Protocol, "an answer of another kind than the question")
}
