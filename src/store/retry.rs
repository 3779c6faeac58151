//! Repetition, decided in one place: from the command, the kind of error, and whether it can have been sent.

use super::{
    Answer, Bounds, Command, EventLoop, Failure, NodeState, Pending, Placement, Settled, Spread, Store,
    backoff,
};
use crate::config::Retry;
use crate::error::{Error, Kind, Result};
use crate::resp::{Sink, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A store that repeats what may be repeated.
pub struct Retrying {
    inner: Arc<dyn Store>,
    policy: Retry,
    connect_timeout: Duration,
    command_timeout: Duration,
    /// Repetitions so far.
    count: Arc<AtomicU64>,
}

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stands.
    Final,
    /// The connection failed: again, while attempts are left.
    Again,
    /// The server is in a passing state: again, within the time for a round trip.
    Wait,
    /// The server takes no writes any more: once more, with the one that does.
    Moved,
}

impl Retrying {
    /// `inner`, repeated by `policy` within the two timeouts; `count` counts repetitions.
    pub fn new(
        inner: Arc<dyn Store>,
        policy: Retry,
        connect_timeout: Duration,
        command_timeout: Duration,
        count: Arc<AtomicU64>,
    ) -> Self {
        Self { inner, policy, connect_timeout, command_timeout, count }
    }
}

/// Whether the failure is one that another attempt may get past, whatever the command.
pub fn connection_failed(error: &Error) -> bool {
    match error.kind() {
        Kind::ConnectionRefused | Kind::ConnectionLost | Kind::Protocol => true,
        // A time limit is a promise to the caller: it is not extended by starting over.
        Kind::ConnectTimeout | Kind::Timeout => false,
        // Refused by the server while the connection was set up.
        Kind::Server(_) => error.retryable(),
        Kind::InvalidArgument
        | Kind::InvalidConfig
        | Kind::InvalidData
        | Kind::InvalidJson
        | Kind::AlreadyConnected
        | Kind::Closed
        | Kind::Disabled
        | Kind::Tls
        | Kind::Auth
        | Kind::CircuitOpen
        | Kind::Overloaded
        | Kind::NotSet
        | Kind::TooLarge
        | Kind::Internal => false,
    }
}

/// Whether the server said that it will answer later. Nothing was carried out then.
fn waits(error: &Error) -> bool {
    matches!(error.code(), "LOADING" | "BUSY" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN")
}

/// What to do where there is no answer; `sent` is false when the server cannot have seen the command.
pub(super) fn about_loss(command: &Command<'_>, error: &Error, sent: bool) -> Verdict {
    let again = (!sent || command.repeatable()) && connection_failed(error);
    if again { Verdict::Again } else { Verdict::Final }
}

/// Whether the next command to the same server would only meet the failure again. After a lost connection there may be
/// a new one, while attempts are left.
pub fn is_lasting(failure: &Failure, attempts_left: bool) -> bool {
    let passing = failure.sent && connection_failed(&failure.error) && attempts_left;
    !passing
}

/// What to do about an error reply.
pub(super) fn about_refusal(error: &Error) -> Verdict {
    if waits(error) {
        Verdict::Wait
    } else if is_read_only(error) {
        Verdict::Moved
    } else {
        Verdict::Final
    }
}

/// Whether a server refused a write because it is a replica, after a failover for instance. Nothing was carried out then.
pub(super) fn is_from_replica(answer: &Answer) -> bool {
    match &answer.sink {
        Sink::Statuses(statuses) => statuses.iter().any(refused_by_replica),
        Sink::Values(_) | Sink::Page(_) | Sink::Any(_) => answer.sink.fault().is_some_and(is_read_only),
        Sink::Skip => false,
    }
}

fn is_read_only(error: &Error) -> bool {
    error.code() == "READONLY"
}

fn refused_by_replica(status: &Status) -> bool {
    match status {
        Status::Refused(error) => is_read_only(error),
        Status::Done | Status::NotMet | Status::Count(_) | Status::Missing { .. } => false,
    }
}

/// Whether what a replica refused may be sent again as a whole: none of it was carried out, or twice is as good as once.
fn may_move(command: &Command<'_>, answer: &Answer) -> bool {
    is_from_replica(answer)
        && match &answer.sink {
            Sink::Statuses(statuses) => command.repeatable() || statuses.iter().all(refused_by_replica),
            Sink::Values(_) | Sink::Page(_) | Sink::Any(_) | Sink::Skip => true,
        }
}

fn verdict(command: &Command<'_>, answer: &Answer) -> Verdict {
    if let Some(failure) = &answer.failure {
        return about_loss(command, &failure.error, failure.sent);
    }
    let all_wait = match &answer.sink {
        Sink::Statuses(statuses) => {
            !statuses.is_empty()
                && statuses.iter().all(|status| match status {
                    Status::Refused(error) => waits(error),
                    Status::Done | Status::NotMet | Status::Count(_) | Status::Missing { .. } => false,
                })
        }
        Sink::Values(_) | Sink::Page(_) | Sink::Any(_) => answer.sink.fault().is_some_and(waits),
        Sink::Skip => false,
    };
    if all_wait {
        Verdict::Wait
    } else if may_move(command, answer) {
        Verdict::Moved
    } else {
        Verdict::Final
    }
}

impl Store for Retrying {
    fn execute<'a>(&'a self, command: &'a Command<'a>, bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(async move {
            let started = Instant::now();
            let mut waits = 0;
            let mut moved = false;
            // Whether an attempt left and lost its answer.
            let mut lost = false;
            let account = |answer: Answer, lost| if lost { answer.doubted() } else { answer };
            loop {
                let answer = self.inner.execute(command, bounds).await;
                let (give_up, attempt) = match verdict(command, &answer) {
                    Verdict::Final => return account(answer, lost),
                    Verdict::Again => {
                        bounds.count_failure();
                        (started + self.connect_timeout, bounds.failed())
                    }
                    Verdict::Wait => {
                        waits += 1;
                        (started + self.command_timeout, waits)
                    }
                    Verdict::Moved if moved => return account(answer, lost),
                    Verdict::Moved => {
                        moved = true;
                        (started + self.connect_timeout, 1)
                    }
                };
                let next = Instant::now() + backoff::delay(&self.policy, attempt);
                let give_up = bounds.limit().map_or(give_up, |limit| limit.min(give_up));
                if next >= give_up || !self.wants_repeat(command, &answer, bounds) {
                    return account(answer, lost);
                }
                lost |= answer.failure.as_ref().is_some_and(|failure| failure.sent);
                sleep_until(next).await;
                self.count.fetch_add(1, Ordering::Relaxed);
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
        self.inner.execute_now(command, limit, caller, settled)
    }

    fn wants_repeat(&self, command: &Command<'_>, answer: &Answer, bounds: &Bounds) -> bool {
        match verdict(command, answer) {
            Verdict::Final => false,
            Verdict::Again => bounds.failed() < self.policy.attempts,
            Verdict::Wait | Verdict::Moved => true,
        }
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

    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(async {
            let give_up = Instant::now() + self.connect_timeout;
            let mut attempt = 1;
            loop {
                let result = self.inner.connect().await;
                let wait = backoff::delay(&self.policy, attempt);
                let again = result.as_ref().is_err_and(connection_failed)
                    && attempt < self.policy.attempts
                    && Instant::now() + wait < give_up;
                if !again {
                    return result;
                }
                sleep(wait).await;
                attempt += 1;
            }
        })
    }

    fn disconnect(&self) {
        self.inner.disconnect();
    }
}
