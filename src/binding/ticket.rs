//! What becomes of an operation: counted, and told to JavaScript.

use super::completion::{Completion, Outcome};
use super::port::Port;
use crate::batch::Decoded;
use crate::client::{Found, Listener, Session as Core};
use crate::error::Result as CoreResult;
use crate::metrics::Metrics;
use crate::ops::Part;
use crate::panic::fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// What remains to be said when an operation has settled.
pub(super) struct Ticket {
    pub(super) port: Arc<Port>,
    pub(super) core: Arc<Core>,
    pub(super) id: u32,
    pub(super) operation: &'static str,
    /// Calls of users that it serves.
    pub(super) calls: u32,
    pub(super) started: Instant,
    pub(super) settled: AtomicBool,
}

/// Somebody waits, whatever became of the code that was to settle it.
impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Relaxed) {
            self.settle(Err(fault()));
        }
    }
}

impl Listener for Ticket {
    fn part(&self, part: Part) {
        count_values(self.core.client().metrics(), &part.values);
        self.port.complete(Completion { id: self.id, outcome: Ok(Outcome::Part(part)) });
    }

    fn end(&self, result: CoreResult<Found>) {
        self.settle(result.map(|found| match found {
            Found::AtOnce(all) => Outcome::Values(all),
            Found::LastPart(part) => Outcome::LastPart(part),
        }));
    }
}

impl Ticket {
    /// Ends a wait that the operation itself follows, which is counted.
    pub(super) fn pass(&self) {
        self.settled.store(true, Ordering::Relaxed);
        self.port.complete(Completion { id: self.id, outcome: Ok(Outcome::Done) });
    }

    pub(super) fn settle(&self, outcome: CoreResult<Outcome>) {
        self.settled.store(true, Ordering::Relaxed);
        let metrics = self.core.client().metrics();
        metrics.call(self.operation, self.started.elapsed(), self.calls);
        match &outcome {
            Ok(Outcome::Values(all)) if self.operation == LOOKUP => count_values(metrics, &all.values),
            Ok(Outcome::LastPart(part)) => count_values(metrics, &part.values),
            Ok(Outcome::Set(outcome)) => {
                metrics.errors(outcome.failures.iter().map(|failure| &failure.error))
            }
            Ok(Outcome::Deleted(outcome)) => {
                metrics.errors(outcome.failures.iter().map(|failure| &failure.error))
            }
            Ok(
                Outcome::Values(_)
                | Outcome::Part(_)
                | Outcome::Reply(_)
                | Outcome::Json(_)
                | Outcome::Done
                | Outcome::Progress(_)
                | Outcome::State(_)
                | Outcome::Ask(_)
                | Outcome::Changed,
            ) => {}
            Err(error) => metrics.errors(std::iter::once(error)),
        }
        self.port.complete(Completion { id: self.id, outcome });
    }
}

/// Name of the operation whose hits and misses are counted.
pub(super) const LOOKUP: &str = "bulkLookup";

fn count_values(metrics: &Metrics, decoded: &Decoded) {
    metrics.errors(decoded.failures.iter().map(|failure| &failure.error));
    let misses = decoded.lengths.len() as u64 - u64::from(decoded.hits) - decoded.failures.len() as u64;
    metrics.hits.fetch_add(u64::from(decoded.hits), Ordering::Relaxed);
    metrics.misses.fetch_add(misses, Ordering::Relaxed);
}
