//! What the circuit breaker knows and decides: how many connection failures there were in a row, and which calls may try.

use crate::config;
use crate::error::{Error, Kind, Result};
use crate::state::{State, States};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What the breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// It lets them through.
    Closed,
    /// It refuses them.
    Open,
    /// It lets one through, and goes by what becomes of it.
    HalfOpen,
}

impl BreakerState {
    /// As users see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// Counts connection failures. Calls are told apart by when they began: those that were under way together and failed
/// together, on one connection or one attempt to make it, are one failure.
#[derive(Debug)]
pub struct Breaker {
    policy: config::Breaker,
    /// Closed, and no failure since the last answer: the one thing that is asked on the way of small calls.
    calm: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// Moves on with each failure that counts and each change of phase.
    round: u64,
}

#[derive(Debug)]
enum Phase {
    /// Failures in a row, and the last one.
    Closed { failures: u32 },
    /// Until then calls are refused; afterwards the next one is the probe.
    Open { until: Instant, last: Error },
    /// The probe is under way.
    Probing { last: Error },
}

/// What a call came to, as far as the connection goes.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The server answered, be it with an error.
    Answered,
    /// It could not be reached.
    Failed(Error),
    /// Nothing can be said: the caller did not wait long enough.
    Unknown,
}

/// A call that was let through. Dropped without an outcome, it says nothing; as a probe it leaves its place to the next
/// call.
pub(super) struct Ticket {
    breaker: Arc<Breaker>,
    round: u64,
    is_probe: bool,
}

impl Breaker {
    /// A closed one.
    pub fn new(policy: config::Breaker) -> Arc<Self> {
        let inner = Inner { phase: Phase::Closed { failures: 0 }, round: 0 };
        Arc::new(Self { policy, calm: AtomicBool::new(true), inner: Mutex::new(inner) })
    }

    /// Closes as soon as a connection is there, whoever made it.
    pub fn watch(self: &Arc<Self>, states: &States) {
        let breaker = Arc::downgrade(self);
        states.listen(Box::new(move |change| {
            let Some(breaker) = breaker.upgrade() else { return false };
            if change.to == State::Ready {
                breaker.close_early();
            }
            true
        }));
    }

    /// What it would do with a call that came now.
    pub fn state(&self) -> BreakerState {
        match &self.inner().phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until, .. } if Instant::now() < *until => BreakerState::Open,
            Phase::Open { .. } | Phase::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What it guards is replaced whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Acquire)
    }

    /// Lets a call through, or says why not.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Ticket> {
        let mut inner = self.inner();
        let is_probe = match &inner.phase {
            Phase::Closed { .. } => false,
            Phase::Open { until, last } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(
                        self.refusal(&format!("the next try is in {} ms", left.as_millis() + 1), last)
                    );
                }
                let last = last.clone();
                self.enter(&mut inner, Phase::Probing { last });
                true
            }
            Phase::Probing { last } => {
                return Err(self.refusal("another call is trying the server now", last));
            }
        };
        Ok(Ticket { breaker: self.clone(), round: inner.round, is_probe })
    }

    /// For a call that is made whatever the state: what it finds out counts.
    pub(super) fn observe(self: &Arc<Self>) -> Ticket {
        Ticket { breaker: self.clone(), round: self.inner().round, is_probe: false }
    }

    fn refusal(&self, when: &str, last: &Error) -> Error {
        let failures = self.policy.failures;
        Error::new(
            Kind::CircuitOpen,
            format!("the circuit breaker is open after {failures} connection failures in a row; {when}"),
        )
        .with_cause(last)
    }

    fn enter(&self, inner: &mut Inner, phase: Phase) {
        let calm = matches!(phase, Phase::Closed { failures: 0 });
        inner.phase = phase;
        inner.round += 1;
        self.calm.store(calm, Ordering::Release);
    }

    /// Ends an open phase. Where it is closed the count stands: a peer that lets everybody connect and then hangs up
    /// answers nobody.
    fn close_early(&self) {
        let mut inner = self.inner();
        match inner.phase {
            Phase::Closed { .. } => {}
            Phase::Open { .. } | Phase::Probing { .. } => {
                self.enter(&mut inner, Phase::Closed { failures: 0 })
            }
        }
    }

    pub(super) fn reset(&self) {
        self.enter(&mut self.inner(), Phase::Closed { failures: 0 });
    }

    fn open(&self, inner: &mut Inner, last: Error) {
        let until = Instant::now() + self.policy.open;
        self.enter(inner, Phase::Open { until, last });
    }
}

impl Ticket {
    pub(super) fn settle(mut self, outcome: Outcome) {
        let breaker = self.breaker.clone();
        if breaker.is_calm() && matches!(outcome, Outcome::Answered | Outcome::Unknown) {
            return;
        }
        let mut inner = breaker.inner();
        let is_current = self.round == inner.round;
        match (outcome, &inner.phase) {
            // An answer to an older call is as good: the server is there.
            (Outcome::Answered, _) => breaker.enter(&mut inner, Phase::Closed { failures: 0 }),
            (Outcome::Failed(error), Phase::Closed { failures }) if is_current => {
                let failures = failures + 1;
                if failures < breaker.policy.failures {
                    breaker.enter(&mut inner, Phase::Closed { failures });
                } else {
                    breaker.open(&mut inner, error);
                }
            }
            (Outcome::Failed(error), Phase::Probing { .. }) if self.is_probe && is_current => {
                breaker.open(&mut inner, error);
            }
            (Outcome::Failed(_), Phase::Closed { .. } | Phase::Open { .. } | Phase::Probing { .. }) => {}
            // A probe leaves its place when it is dropped.
            (Outcome::Unknown, _) => return,
        }
        self.is_probe = false;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut inner = self.breaker.inner();
        if self.round == inner.round
            && let Phase::Probing { last } = &inner.phase
        {
            let last = last.clone();
            self.breaker.enter(&mut inner, Phase::Open { until: Instant::now(), last });
        }
    }
}
