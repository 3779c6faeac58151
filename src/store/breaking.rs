//! The circuit breaker: after several connection failures in a row calls fail at once, until one of them finds the
//! server again.
//!
//! It stands around the repetitions, so that what it counts is calls that failed after all their attempts. It knows
//! nothing of connections but what calls come to, and so serves every kind of server.

use super::breaker::{Breaker, BreakerState, Outcome, Ticket};
use super::{
    Answer, Bounds, Command, EventLoop, Failure, NodeState, Pending, Placement, Settled, Spread, Store,
};
use crate::error::{Error, Kind, Result};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// What a call that ended like this says of the connection; `limit` is when its caller stopped waiting.
fn outcome(failure: Option<&Error>, limit: Option<Instant>) -> Outcome {
    let Some(error) = failure else { return Outcome::Answered };
    match error.kind() {
        Kind::ConnectionRefused | Kind::ConnectionLost | Kind::ConnectTimeout | Kind::Protocol => {
            Outcome::Failed(error.clone())
        }
        Kind::Timeout if limit.is_some_and(|limit| limit <= Instant::now()) => Outcome::Unknown,
        Kind::Timeout => Outcome::Failed(error.clone()),
        // Somebody was there to refuse.
        Kind::Server(_) | Kind::Auth | Kind::Tls => Outcome::Answered,
        Kind::InvalidArgument
        | Kind::InvalidConfig
        | Kind::InvalidData
        | Kind::InvalidJson
        | Kind::AlreadyConnected
        | Kind::Closed
        | Kind::Disabled
        | Kind::CircuitOpen
        | Kind::Overloaded
        | Kind::NotSet
        | Kind::TooLarge
        | Kind::Internal => Outcome::Unknown,
    }
}

/// A store behind a breaker.
pub struct Breaking {
    inner: Arc<dyn Store>,
    breaker: Arc<Breaker>,
}

impl Breaking {
    /// `inner`, whose calls `breaker` counts.
    pub fn new(inner: Arc<dyn Store>, breaker: Arc<Breaker>) -> Self {
        Self { inner, breaker }
    }
}

fn counted(ticket: Ticket, answer: Answer, bounds: &Bounds) -> Answer {
    ticket.settle(outcome(answer.failure.as_ref().map(|failure| &failure.error), bounds.limit()));
    answer
}

impl Store for Breaking {
    fn execute<'a>(&'a self, command: &'a Command<'a>, bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(async move {
            match self.breaker.admit() {
                Ok(ticket) => counted(ticket, self.inner.execute(command, bounds).await, bounds),
                Err(error) => Answer { sink: command.sink(), failure: Some(Failure::unsent(error)) },
            }
        })
    }

    fn execute_now(
        &self,
        command: &Command<'_>,
        limit: Option<Instant>,
        caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) -> Option<Settled> {
        if self.breaker.is_calm() {
            return self.inner.execute_now(command, limit, caller, settled);
        }
        if self.breaker.state() != BreakerState::Closed {
            // The slow way refuses it, or makes it the probe.
            return Some(settled);
        }
        // Shared, because it is given back where the inner store does not take the command.
        let waiting = Arc::new(Mutex::new(Some((self.breaker.observe(), settled))));
        let take = |waiting: &Mutex<Option<(Ticket, Settled)>>| {
            mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let shared = waiting.clone();
        let observed = Box::new(move |answer: Answer| {
            if let Some((ticket, settled)) = take(&shared) {
                ticket.settle(outcome(answer.failure.as_ref().map(|failure| &failure.error), limit));
                settled(answer);
            }
        });
        let given_back = self.inner.execute_now(command, limit, caller, observed).is_some();
        if given_back { take(&waiting).map(|(_, settled)| settled) } else { None }
    }

    fn wants_repeat(&self, command: &Command<'_>, answer: &Answer, bounds: &Bounds) -> bool {
        // What was sent and lost is not to end as refused.
        (self.breaker.is_calm() || self.breaker.state() == BreakerState::Closed)
            && self.inner.wants_repeat(command, answer, bounds)
    }

    fn resume<'a>(
        &'a self,
        command: &'a Command<'a>,
        answer: Answer,
        bounds: &'a Bounds,
    ) -> Pending<'a, Answer> {
        Box::pin(async move {
            match self.breaker.admit() {
                Ok(ticket) => counted(ticket, self.inner.resume(command, answer, bounds).await, bounds),
                Err(error) => Answer { sink: command.sink(), failure: Some(Failure::unsent(error)) },
            }
        })
    }

    fn spread(&self) -> Spread {
        self.inner.spread()
    }

    fn placement<'a>(&'a self, bounds: &'a Bounds) -> Pending<'a, Result<Placement>> {
        self.inner.placement(bounds)
    }

    fn nodes<'a>(&'a self, bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>> {
        self.inner.nodes(bounds)
    }

    /// Whoever asks for a connection outright gets an attempt, also while the breaker is open.
    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(async {
            let ticket = self.breaker.observe();
            let result = self.inner.connect().await;
            ticket.settle(outcome(result.as_ref().err(), None));
            result
        })
    }

    fn disconnect(&self) {
        self.breaker.reset();
        self.inner.disconnect();
    }
}

#[cfg(test)]
#[path = "breaking_tests.rs"]
mod tests;
