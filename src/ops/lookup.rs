//! Reading many keys.

use super::{Call, indices, window};
use crate::batch::{ChunkLimits, Decoded, Form, Keys, Values, chunks};
use crate::budget::{Budget, Held};
use crate::error::{Error, Kind, Result};
use crate::resp::Reply;
use crate::store::{Answer, Command, Split, Via};
use once_cell::sync::Lazy;
use std::ops::Range;
use std::sync::Arc;

/// How keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Pipelined MGET.
    Mget,
    /// The Lua script, by its digest.
    Script,
}

/// Options of [`lookup`].
#[derive(Clone, Copy, Debug)]
pub struct LookupOptions {
    /// What the values become.
    pub form: Form,
    /// How they are read.
    pub strategy: Strategy,
    /// Keys in one command.
    pub batch_size: Option<usize>,
    /// Whether to answer with what has arrived when a part fails.
    pub partial: bool,
    /// Keys of the call that these are a part of.
    pub total: usize,
}

/// The server does not have the script.
const NOSCRIPT: &str = "NOSCRIPT";

/// One GET a key, with a refusal (WRONGTYPE) as that key's answer.
const SCRIPT: &str = "local values = {}
for i, key in ipairs(KEYS) do values[i] = redis.pcall('GET', key) end
return values";

static SCRIPT_DIGEST: Lazy<String> = Lazy::new(|| redis::Script::new(SCRIPT).get_hash().to_owned());

/// Bytes of values that go to JavaScript together. It unpacks one such part while the next ones arrive; smaller ones
/// would wake it more often than that is worth.
const PART_BYTES: usize = 128 * 1024;

/// Values of a run of keys.
#[derive(Debug, Default)]
pub struct Part {
    /// Index of the first key.
    pub offset: usize,
    /// Their values.
    pub values: Decoded,
    /// Their bytes, held until JavaScript has them.
    pub held: Option<Held>,
}

/// Reads `keys` and gives parts of the answer away as they arrive; the last one is returned. Parts do not overlap and
/// together cover every key, but recovered ones come late. After an error what was given away counts for nothing.
///
/// # Errors
/// What failed first, unless `partial` makes it the failure of its keys alone; the server's refusal, where it refused
/// every key.
pub async fn lookup(
    call: &Call,
    keys: &Keys,
    options: LookupOptions,
    give_away: impl FnMut(Part) + Send,
) -> Result<Part> {
    let items = indices(keys.len());
    let servers = call.store.spread().servers();
    let limits = ChunkLimits::new(options.batch_size, ChunkLimits::READ_ITEMS, servers);
    let mut parts = Parts {
        form: options.form,
        count: keys.len(),
        total: options.total,
        budget: &call.budget,
        held: None,
        failed: 0,
        first: None,
        lost: None,
        give_away,
    };
    let reading = Reading { call, keys, options };
    let loads = *call.habits.script_loads.lock().await;
    let mut troubled = Vec::new();
    reading
        .run(&items, limits, |range, answer| match outcome(answer, range.len()) {
            // In an answer to MGET, only what a server of many refused has failed.
            Ok(values) => parts.add(range.start, values, options.strategy == Strategy::Mget),
            Err(trouble) => troubled.push((range, trouble)),
        })
        .await;
    for (range, trouble) in troubled {
        let chunk = items.get(range.clone()).unwrap_or(&[]);
        match reading.recover(chunk, trouble, loads).await {
            Ok((values, refused)) => parts.add(range.start, values, refused),
            Err(trouble) => {
                let mut values = Values::with_capacity(chunk.len());
                chunk.iter().for_each(|_| values.push_failed(trouble.error().clone()));
                parts.add(range.start, values, true);
            }
        }
    }
    let refused = parts.first.take().filter(|_| parts.failed == keys.len());
    match parts.lost.take().or(refused) {
        Some(error) if !options.partial => Err(error),
        _ => Ok(parts.rest()),
    }
}

/// Decodes what arrives and gives it away in parts of useful size.
struct Parts<'a, G> {
    form: Form,
    /// Keys that are read here, and those of the call that they are a part of.
    count: usize,
    total: usize,
    budget: &'a Arc<Budget>,
    held: Option<Part>,
    /// Keys that the server refused, and the first refusal.
    failed: usize,
    first: Option<Error>,
    /// Why the first key without an answer has none.
    lost: Option<Error>,
    give_away: G,
}

impl<G: FnMut(Part)> Parts<'_, G> {
    /// `refused`: the command was, so that what is left of its keys was asked one by one.
    fn add(&mut self, offset: usize, values: Values, refused: bool) {
        if self.lost.is_none() {
            self.lost = lost_in(&values).cloned();
        }
        let mut decoded = values.decode(self.form);
        decoded.decide_in_place(self.total);
        if refused {
            let mut refusals = decoded.failures.iter().filter(|item| item.error.kind().is_reply());
            if self.first.is_none() {
                self.first = refusals.clone().next().map(|item| item.error.clone());
            }
            self.failed += refusals.by_ref().count();
        }
        let last = offset + decoded.lengths.len() == self.count;
        match &mut self.held {
            Some(held) if held.offset + held.values.lengths.len() == offset => held.values.append(decoded),
            Some(_) | None => {
                self.give_held_away();
                self.held = Some(Part { offset, values: decoded, held: None });
            }
        }
        // What comes last ends the call.
        if !last && self.held.as_ref().is_some_and(|held| held.values.byte_len() >= PART_BYTES) {
            self.give_held_away();
        }
    }

    fn give_held_away(&mut self) {
        if self.held.is_some() {
            let part = self.rest();
            (self.give_away)(part);
        }
    }

    /// What was not given away.
    fn rest(&mut self) -> Part {
        let mut part = self.held.take().unwrap_or_default();
        part.held = Some(self.budget.reply(part.values.byte_len()));
        part
    }
}

/// Why a chunk has no values.
enum Trouble {
    /// The server refused the command.
    Refused(Error),
    /// There is no answer.
    Lost(Error),
    /// Some servers of a cluster do not have the script.
    Unloaded(Box<Values>, Error),
}

impl Trouble {
    fn error(&self) -> &Error {
        match self {
            Self::Refused(error) | Self::Lost(error) | Self::Unloaded(_, error) => error,
        }
    }
}

/// Why the first key that has no answer at all has none. A refusal is an answer, but for a passing state of the server,
/// which was waited for as long as it may be.
fn lost_in(values: &Values) -> Option<&Error> {
    let errors = values.failures().iter().map(|failure| &failure.error);
    errors.into_iter().find(|error| !error.kind().is_reply() || error.retryable())
}

struct Reading<'a> {
    call: &'a Call,
    keys: &'a Keys,
    options: LookupOptions,
}

impl Reading<'_> {
    async fn run(&self, items: &[u32], limits: ChunkLimits, done: impl FnMut(Range<usize>, Answer)) {
        let size_of = |at: usize| items.get(at).map_or(0, |&index| self.keys.size(index as usize));
        let command_of = |range: Range<usize>| self.command(items.get(range).unwrap_or(&[]), Split::Together);
        window::run(self.call, window::READS, chunks(items.len(), limits, size_of), command_of, done).await;
    }

    fn command<'b>(&'b self, items: &'b [u32], split: Split<'b>) -> Command<'b> {
        Command::Lookup { keys: self.keys, items, via: via(self.options.strategy), split }
    }

    /// Gets past the refusal of a whole chunk: loads the script where it is missing, else asks for each key by
    /// itself, so that one refused key does not spoil the others. `loads` is how often the script had been loaded when
    /// the chunk was sent. Says also whether the keys were asked for one by one.
    async fn recover(
        &self,
        items: &[u32],
        trouble: Trouble,
        loads: u64,
    ) -> std::result::Result<(Values, bool), Trouble> {
        let refusal = match &trouble {
            Trouble::Refused(error) => error,
            Trouble::Lost(_) => return Err(trouble),
            Trouble::Unloaded(values, _) => {
                return self.recover_unloaded(items, values, loads).await.map(|values| (values, false));
            }
        };
        let split = if refusal.code() == NOSCRIPT {
            Split::Together
        } else if items.len() > 1 {
            Split::Each
        } else {
            return Err(trouble);
        };
        if self.options.strategy == Strategy::Script {
            self.load_script(loads).await?;
        }
        match self.ask(items, split).await {
            Ok(values) => Ok((values, split == Split::Each)),
            Err(Trouble::Refused(_)) if split == Split::Together && items.len() > 1 => {
                self.ask(items, Split::Each).await.map(|values| (values, true))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Loads the script and asks again for the keys that did without.
    async fn recover_unloaded(
        &self,
        items: &[u32],
        values: &Values,
        loads: u64,
    ) -> std::result::Result<Values, Trouble> {
        self.load_script(loads).await?;
        let open: Vec<u32> = values
            .failures()
            .iter()
            .filter(|failure| failure.error.code() == NOSCRIPT)
            .map(|failure| failure.index)
            .collect();
        let again: Vec<u32> =
            open.iter().filter_map(|&position| items.get(position as usize).copied()).collect();
        let found = match self.ask(&again, Split::Together).await {
            Ok(found) => found,
            // Servers that lose the script as fast as it is loaded.
            Err(Trouble::Unloaded(found, _)) => *found,
            Err(trouble) => return Err(trouble),
        };
        let all: Vec<u32> = (0..items.len() as u32).collect();
        let missing = Error::new(Kind::Protocol, "an answer of another length than the question");
        Ok(Values::assemble(items.len(), &[(&all, values), (&open, &found)], &missing))
    }

    async fn ask(&self, items: &[u32], split: Split<'_>) -> std::result::Result<Values, Trouble> {
        outcome(self.call.store.execute(&self.command(items, split), &self.call.bounds).await, items.len())
    }

    /// Loads the script, unless somebody has since it had been loaded `loads` times.
    async fn load_script(&self, loads: u64) -> std::result::Result<(), Trouble> {
        let mut now = self.call.habits.script_loads.lock().await;
        if *now == loads {
            let arguments = [b"SCRIPT".to_vec(), b"LOAD".to_vec(), SCRIPT.as_bytes().to_vec()];
            let mut loaded = super::command(self.call, &arguments).await;
            if loaded.as_ref().is_err_and(|error| error.kind().is_reply() && !error.retryable()) {
                // Some managed servers refuse SCRIPT and run scripts all the same, and one that was run is known.
                let arguments = [b"EVAL".to_vec(), SCRIPT.as_bytes().to_vec(), b"0".to_vec()];
                loaded = super::command(self.call, &arguments).await;
            }
            loaded.map_err(|error| {
                if error.kind().is_reply() { Trouble::Refused(error) } else { Trouble::Lost(error) }
            })?;
            *now += 1;
        }
        Ok(())
    }
}

fn via(strategy: Strategy) -> Via<'static> {
    match strategy {
        Strategy::Mget => Via::Mget,
        Strategy::Script => Via::Script(&SCRIPT_DIGEST),
    }
}

/// The chunk's values, or why there are none. Reading changes nothing: whether it was carried out is no question.
fn outcome(answer: Answer, count: usize) -> std::result::Result<Values, Trouble> {
    let Answer { mut sink, failure } = answer;
    if let Some(failure) = failure {
        return Err(Trouble::Lost(failure.error));
    }
    if let Some(fault) = sink.take_fault() {
        // A passing state of the server was waited for as long as it may be.
        return Err(if fault.retryable() { Trouble::Lost(fault) } else { Trouble::Refused(fault) });
    }
    match sink.into_reply() {
        Some(Reply::Values(values)) if values.len() == count => {
            let unloaded = values.failures().iter().find(|failure| failure.error.code() == NOSCRIPT);
            match unloaded.map(|failure| failure.error.clone()) {
                Some(error) => Err(Trouble::Unloaded(Box::new(values), error)),
                None => Ok(values),
            }
        }
        Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Page(_) | Reply::Value(_)) | None => {
            Err(Trouble::Lost(Error::new(Kind::Protocol, "an answer of another length than the question")))
        }
    }
}

/// The inline way of a small look-up: one command, and its values when all went well.
pub mod small {
    use super::{Form, Keys, Values, Via, lost_in, outcome};
    use crate::batch::Decoded;
    use crate::error::Error;
    use crate::store::{Answer, Command, Split};

    /// Most keys that are read this way.
    pub const MAX_KEYS: usize = 256;
    /// Most bytes of keys that are written from the calling thread.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// The one command.
    pub fn command<'a>(keys: &'a Keys, items: &'a [u32]) -> Command<'a> {
        Command::Lookup { keys, items, via: Via::Mget, split: Split::Together }
    }

    /// What a small look-up came to.
    #[non_exhaustive]
    pub enum Small {
        /// All values that may be answered.
        Values(Decoded),
        /// Keys have no answer, the first of them because of this.
        Lost(Error),
        /// The server refused the command; the long way finds out what it means.
        Refused,
    }

    /// The values. With `partial`, keys without an answer are among them.
    pub fn decode(answer: Answer, count: usize, form: Form, partial: bool) -> Small {
        match outcome(answer, count) {
            Ok(values) => match lost_in(&values) {
                Some(error) if !partial => Small::Lost(error.clone()),
                _ => Small::Values(values.decode(form)),
            },
            Err(_) => Small::Refused,
        }
    }

    /// All of them failed alike.
    pub fn failed(count: usize, error: &Error, form: Form) -> Decoded {
        let mut values = Values::with_capacity(count);
        (0..count).for_each(|_| values.push_failed(error.clone()));
        values.decode(form)
    }
}
