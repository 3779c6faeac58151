//! Finding keys by pattern.

use super::Call;
use crate::batch::{Decoded, Form, Values};
use crate::error::{Error, Kind, Result};
use crate::resp::{Page, Reply};
use crate::store::{Answer, Command, Placement, ScanQuery, Shard};
use hashbrown::HashTable;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::mem;
use tokio::sync::oneshot;

/// Passes over the servers before a scan ends although slots keep moving back and forth.
const MOST_PASSES: u32 = 16;

/// Options of [`scan`].
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// What is looked for, prefix included.
    pub query: ScanQuery,
    /// Most keys to find.
    pub limit: Option<usize>,
    /// Bytes of the key prefix, which the found keys are given without.
    pub prefix: usize,
}

/// Every key that matches, each once. A server may give a key several times while its table is rehashed.
pub async fn scan(call: &Call, options: &ScanOptions) -> Result<Decoded> {
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut found = Found::default();
    let mut scanned = 0;
    let mut scanner = Scanner::new(options.query.clone(), options.prefix);
    while !scanner.ended {
        let pages = scanner.receive(call).await?;
        let most = found.len() + pages.iter().map(|page| page.keys.len()).sum::<usize>();
        // The next pages are on their way while these are looked at.
        if most < limit && !call.cancel.is_cancelled() {
            scanner.ask(call);
        }
        for key in pages.iter().flat_map(|page| page.keys.iter().flatten()) {
            scanned += 1;
            if found.len() < limit {
                found.insert(key.get(options.prefix..).unwrap_or(&[]));
            }
        }
        call.progress(scanned, found.len());
        if found.len() >= limit || call.cancel.is_cancelled() {
            break;
        }
    }
    let count = found.len();
    let mut keys = found.keys.decode(Form::String);
    keys.decide_in_place(count);
    Ok(keys)
}

/// A scan step by step: of every server at once, a page from each. Where slots move meanwhile, those that got keys are
/// scanned once more.
#[derive(Debug)]
pub struct Scanner {
    query: ScanQuery,
    prefix: usize,
    /// Where slots were when the pass began.
    placement: Option<Placement>,
    /// The servers of the pass.
    shards: BTreeSet<Shard>,
    passes: u32,
    /// Servers that have not come to their end, and where the last page of each ended.
    open: Vec<(Shard, u64)>,
    /// Pages under way.
    asked: Vec<Asked>,
    /// Pages that came when another one failed.
    kept: Vec<Page>,
    ended: bool,
}

/// A page that was asked for.
#[derive(Debug)]
struct Asked {
    shard: Shard,
    cursor: u64,
    /// `None` where there was no connection to ask on at once.
    answer: Option<oneshot::Receiver<Answer>>,
}

impl Scanner {
    /// Before the first page. Found keys are given without the first `prefix` bytes.
    pub fn new(query: ScanQuery, prefix: usize) -> Self {
        Self {
            query,
            prefix,
            placement: None,
            shards: BTreeSet::new(),
            passes: 0,
            open: Vec::new(),
            asked: Vec::new(),
            kept: Vec::new(),
            ended: false,
        }
    }

    /// Whether there is nothing more.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The next keys, each once among themselves. After an error the same step may be tried again.
    ///
    /// # Errors
    /// What the server or the connection failed with.
    pub async fn step(&mut self, call: &Call) -> Result<Decoded> {
        let pages = self.receive(call).await?;
        let mut found = Found::default();
        for key in pages.iter().flat_map(|page| page.keys.iter().flatten()) {
            found.insert(key.get(self.prefix..).unwrap_or(&[]));
        }
        Ok(found.keys.decode(Form::String))
    }

    /// Asks every open server for its next page.
    fn ask(&mut self, call: &Call) {
        if !self.asked.is_empty() {
            return;
        }
        let query = &self.query;
        let asked = self.open.iter().map(|&(shard, cursor)| {
            let (sender, receiver) = oneshot::channel();
            let settled = Box::new(move |answer| drop(sender.send(answer)));
            let command = Command::Scan { shard, query, cursor };
            let refused = call.store.execute_now(&command, call.bounds.limit(), None, settled).is_some();
            Asked { shard, cursor, answer: (!refused).then_some(receiver) }
        });
        self.asked = asked.collect();
    }

    /// The next page of every open server.
    async fn receive(&mut self, call: &Call) -> Result<Vec<Page>> {
        if self.placement.is_none() {
            let placement = call.store.placement(&call.bounds).await?;
            self.begin(placement.shards(), placement);
        }
        self.ask(call);
        let mut failure = None;
        for asked in mem::take(&mut self.asked) {
            let shard = asked.shard;
            match page(call, &self.query, asked).await {
                Ok(page) => {
                    self.open.retain_mut(|(open, cursor)| {
                        if *open == shard {
                            *cursor = page.cursor;
                        }
                        *open != shard || page.cursor != 0
                    });
                    self.kept.push(page);
                }
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if self.open.is_empty() {
            self.end_pass(call).await?;
        }
        Ok(mem::take(&mut self.kept))
    }

    fn begin(&mut self, shards: BTreeSet<Shard>, placement: Placement) {
        self.open = shards.iter().map(|shard| (*shard, 0)).collect();
        self.shards = shards;
        self.placement = Some(placement);
        self.passes += 1;
    }

    async fn end_pass(&mut self, call: &Call) -> Result<()> {
        let after = call.store.placement(&call.bounds).await?;
        let again = match &self.placement {
            Some(before) if self.passes < MOST_PASSES => before.rescan(&after, &self.shards),
            Some(_) | None => BTreeSet::new(),
        };
        self.ended = again.is_empty();
        if !self.ended {
            self.begin(again, after);
        }
        Ok(())
    }
}

async fn page(call: &Call, query: &ScanQuery, asked: Asked) -> Result<Page> {
    if let Some(failure) = call.out_of_time() {
        return Err(failure.error);
    }
    let command = Command::Scan { shard: asked.shard, query, cursor: asked.cursor };
    let mut answer = match asked.answer {
        None => call.store.execute(&command, &call.bounds).await,
        Some(receiver) => {
            let answer = receiver.await.unwrap_or_else(|_| Answer::lost("the connection's driver ended"));
            if answer.failure.is_some() {
                call.bounds.count_failure();
            }
            if call.store.wants_repeat(&command, &answer, &call.bounds) {
                call.store.resume(&command, answer, &call.bounds).await
            } else {
                answer
            }
        }
    };
    if let Some(error) = answer.failure.map(|failure| failure.error).or_else(|| answer.sink.take_fault()) {
        return Err(error);
    }
    match answer.sink.into_reply() {
        Some(Reply::Page(page)) => Ok(page),
        Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Value(_)) | None => {
            Err(Error::new(Kind::Protocol, "an answer of another kind than the question"))
        }
    }
}

/// Keys in the order in which they were found, with an index that holds positions instead of copies.
#[derive(Default)]
struct Found {
    keys: Values,
    /// Where each key's bytes stand in `keys`.
    places: Vec<crate::batch::Place>,
    index: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

impl Found {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn insert(&mut self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let Self { keys, places, index, hasher } = self;
        let bytes_of = |at: u32| places.get(at as usize).map_or(&[][..], |place| keys.at(*place));
        if index.find(hash, |&at| bytes_of(at) == key).is_some() {
            return;
        }
        index.insert_unique(hash, places.len() as u32, |&at| hasher.hash_one(bytes_of(at)));
        let place = keys.push(key);
        places.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_once_in_the_order_found() {
        let mut found = Found::default();
        for round in 0..3 {
            for key in 0..5_000 {
                found.insert(format!("key:{}", key + round * 1_000).as_bytes());
            }
        }
        let keys: Vec<_> =
            found.keys.iter().flatten().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        assert_eq!(keys, (0..7_000).map(|key| format!("key:{key}")).collect::<Vec<_>>());
    }
}
