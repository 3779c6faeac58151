//! Which way a look-up goes: small ones as one command from the calling thread, all others on the runtime.

use super::{Room, Running, Session};
use crate::batch::{Decoded, Keys};
use crate::budget::Held;
use crate::error::{Error, Kind, Result};
use crate::ops::small::{self, Small};
use crate::ops::{self, Cancel, LookupOptions, Part, Strategy};
use crate::panic::{caught, hook};
use crate::store::{Answer, Bounds, EventLoop, Failure};
use std::sync::Arc;
use tokio::time::Instant;

/// A look-up that is to be carried out.
pub struct Lookup {
    /// What is read.
    pub keys: Arc<Keys>,
    /// How.
    pub options: LookupOptions,
    /// When the caller stops waiting.
    pub limit: Option<Instant>,
    /// Stops it before its next chunk.
    pub cancel: Cancel,
    /// Room for its keys, where it waited for that.
    pub held: Option<Held>,
}

/// How a look-up ended.
#[non_exhaustive]
pub enum Found {
    /// All values, which came at once.
    AtOnce(Part),
    /// The last part; the others were given away before.
    LastPart(Part),
}

/// Who hears of a look-up.
pub trait Listener: Send + Sync + 'static {
    /// Of a part that has come. What was heard counts for nothing if the look-up ends with an error.
    fn part(&self, part: Part);
    /// Of its end, once.
    fn end(&self, result: Result<Found>);
}

impl Lookup {
    fn is_small(&self) -> bool {
        let most = self.options.batch_size.unwrap_or(small::MAX_KEYS).min(small::MAX_KEYS);
        self.options.strategy == Strategy::Mget
            && self.keys.len() <= most
            && self.keys.byte_len() <= small::MAX_BYTES
    }
}

impl Session {
    /// Begins a look-up. A small one may be answered on the thread of `caller`.
    pub fn lookup(
        self: &Arc<Self>,
        running: Running,
        mut lookup: Lookup,
        caller: Option<&dyn EventLoop>,
        listener: Arc<impl Listener>,
    ) {
        // Held at once, where it can be: the next operation is to see it.
        let held = lookup.held.take().or_else(|| self.client().budget().try_request(lookup.keys.byte_len()));
        match held {
            Some(held) if lookup.is_small() => self.lookup_small(running, lookup, held, caller, listener),
            held => {
                lookup.held = held;
                let bounds = Bounds::new(lookup.limit);
                self.lookup_long(running, lookup, bounds, listener);
            }
        }
    }

    /// One command, written from this thread; the long way where that does not do.
    fn lookup_small(
        self: &Arc<Self>,
        running: Running,
        lookup: Lookup,
        held: Held,
        caller: Option<&dyn EventLoop>,
        listener: Arc<impl Listener>,
    ) {
        let keys = lookup.keys.clone();
        let items: Vec<u32> = (0..keys.len() as u32).collect();
        let command = small::command(&keys, &items);
        let limit = lookup.limit;
        let session = self.clone();
        let settled = Box::new(move |answer: Answer| {
            drop(held);
            let bounds = Bounds::new(lookup.limit);
            let judged = caught(|| {
                hook::pass("answer");
                session.judge(&lookup, answer, &bounds)
            });
            match judged.unwrap_or_else(|fault| Some(Err(fault))) {
                Some(result) => {
                    listener.end(result);
                    drop(running);
                }
                None => session.lookup_long(running, lookup, bounds, listener),
            }
        });
        if let Some(settled) = self.client().store().execute_now(&command, limit, caller, settled) {
            let error = Error::new(Kind::ConnectionLost, "there is no connection yet");
            settled(Answer { sink: command.sink(), failure: Some(Failure::unsent(error)) });
        }
    }

    /// What a small look-up's answer comes to; `None` where the long way must be taken.
    fn judge(&self, lookup: &Lookup, answer: Answer, bounds: &Bounds) -> Option<Result<Found>> {
        let Lookup { keys, options, .. } = lookup;
        let repeats = |answer: &Answer| {
            let items: Vec<u32> = (0..keys.len() as u32).collect();
            self.client().store().wants_repeat(&small::command(keys, &items), answer, bounds)
        };
        let error = match &answer.failure {
            None => {
                if answer.is_cut() {
                    bounds.count_failure();
                }
                // The long way repeats what may be.
                if answer.is_troubled() && repeats(&answer) {
                    bounds.count_hop();
                    return None;
                }
                return match small::decode(answer, keys.len(), options.form, options.partial) {
                    Small::Values(all) => Some(Ok(self.at_once(all))),
                    Small::Lost(error) => Some(Err(error)),
                    // Which keys a refusal means is found out the long way.
                    Small::Refused => None,
                };
            }
            // A time limit is not extended by starting over.
            Some(failure) if !failure.sent && failure.error.kind() != &Kind::Timeout => return None,
            Some(failure) => {
                bounds.count_failure();
                if repeats(&answer) {
                    return None;
                }
                &failure.error
            }
        };
        Some(if options.partial {
            Ok(self.at_once(small::failed(keys.len(), error, options.form)))
        } else {
            Err(error.clone())
        })
    }

    fn at_once(&self, values: Decoded) -> Found {
        let held = self.client().budget().reply(values.byte_len());
        Found::AtOnce(Part { offset: 0, values, held: Some(held) })
    }

    fn lookup_long(
        self: &Arc<Self>,
        running: Running,
        lookup: Lookup,
        bounds: Bounds,
        listener: Arc<impl Listener>,
    ) {
        let Lookup { keys, options, limit, cancel, held } = lookup;
        let call = self.call(bounds, cancel, None);
        let hears = listener.clone();
        self.spawn(
            running,
            held.map_or_else(|| Room::Wanted(keys.byte_len()), Room::Held),
            limit,
            async move { ops::lookup(&call, &keys, options, |part| hears.part(part)).await },
            move |result| listener.end(result.map(Found::LastPart)),
        );
    }
}
