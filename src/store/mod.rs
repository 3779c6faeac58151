//! Where keys live: connections to servers and the embedded store, behind one trait.

mod backoff;
mod breaker;
mod breaking;
mod cluster;
mod command;
mod connect;
mod embedded;
mod fallback;
mod lane;
mod login;
pub mod memory;
mod placement;
mod retry;
mod sentinel;
mod standalone;
mod tls;
mod tracking;
mod transport;
mod upstash;

pub use breaker::{Breaker, BreakerState};
pub use breaking::Breaking;
pub use cluster::Cluster;
pub use command::{Command, Condition, ScanQuery, Shard, Split, Verb, Via};
pub use embedded::Embedded;
pub use fallback::{Fallback, Parts as FallbackParts};
pub use lane::{EventLoop, LaneReader, Reading, Traffic};
pub use placement::Placement;
pub use retry::{Retrying, connection_failed, is_lasting};
pub use standalone::{Link, Standalone};
pub(crate) use tls::check as check_tls;
pub use tracking::{Watcher, track};
pub use upstash::Upstash;

use crate::error::{Applied, Error, Kind, Result};
use crate::resp::{Reply, Sink, Status};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// A future that a trait object can return.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What became of a command.
#[derive(Debug)]
pub struct Answer {
    /// Holds the replies that arrived; all of them when there is no failure.
    pub sink: Sink,
    /// Why some are missing.
    pub failure: Option<Failure>,
}

/// Why answers are missing.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened.
    pub error: Error,
    /// False when the server cannot have seen the command.
    pub sent: bool,
}

impl Answer {
    /// The statuses that arrived, and why others are missing.
    pub fn into_statuses(self) -> (Vec<Status>, Option<Failure>) {
        let statuses = match self.sink.into_reply() {
            Some(Reply::Statuses(statuses)) => statuses,
            Some(Reply::Values(_) | Reply::Page(_) | Reply::Value(_)) | None => Vec::new(),
        };
        (statuses, self.failure)
    }

    /// After an earlier attempt that was sent and lost its answer: nobody knows what that one did, so that nothing is
    /// reported as not carried out any more.
    #[must_use]
    pub fn doubted(mut self) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.sent = true;
        }
        self.sink.doubt();
        self
    }

    /// Whether anything is missing or refused.
    pub fn is_troubled(&self) -> bool {
        self.failure.is_some()
            || match &self.sink {
                Sink::Values(values) => values.fault().is_some() || !values.values().failures().is_empty(),
                Sink::Statuses(statuses) => statuses
                    .iter()
                    .any(|status| matches!(status, Status::Missing { .. } | Status::Refused(_))),
                Sink::Page(_) | Sink::Any(_) | Sink::Skip => self.sink.fault().is_some(),
            }
    }

    /// Whether a lost connection is why something is missing.
    pub fn is_cut(&self) -> bool {
        let lost = |error: &Error| !error.kind().is_reply();
        self.failure.is_some()
            || match &self.sink {
                Sink::Statuses(statuses) => {
                    statuses.iter().any(|status| matches!(status, Status::Missing { .. }))
                }
                Sink::Values(values) => values.values().failures().iter().any(|item| lost(&item.error)),
                Sink::Page(_) | Sink::Any(_) | Sink::Skip => false,
            }
    }

    /// Of a command whose answer can no longer come.
    pub fn lost(message: &str) -> Self {
        let error = Error::new(Kind::ConnectionLost, message);
        Self { sink: Sink::Skip, failure: Some(Failure { error, sent: true }) }
    }
}

impl Failure {
    /// Of a command that did not leave.
    pub fn unsent(error: Error) -> Self {
        Self { error, sent: false }
    }

    /// The error of an item whose answer is missing because of this.
    pub fn into_error(self) -> Error {
        self.error.with_applied(if self.sent { Applied::Unknown } else { Applied::No })
    }
}

/// What bounds one call, however many commands it is made of.
#[derive(Debug, Default)]
pub struct Bounds {
    limit: Option<Instant>,
    /// Attempts that a broken connection ended.
    failed: AtomicU32,
    /// Redirects that were followed before a command was begun once more.
    hops: AtomicU32,
    /// Servers of a cluster that the call does not ask any more, and why.
    given_up: Mutex<Vec<(Shard, Error)>>,
}

impl Bounds {
    /// Until `limit`, where there is one.
    pub fn new(limit: Option<Instant>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// When the caller stops waiting.
    pub fn limit(&self) -> Option<Instant> {
        self.limit
    }

    /// Counts an attempt that a broken connection ended.
    pub fn count_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts that a broken connection ended.
    pub fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a redirect that is followed by beginning once more.
    pub fn count_hop(&self) {
        self.hops.fetch_add(1, Ordering::Relaxed);
    }

    /// Redirects that were followed before a command was begun once more.
    fn hops(&self) -> u32 {
        self.hops.load(Ordering::Relaxed)
    }

    /// Notes that further commands to `shard` would only meet `error` again.
    fn give_up(&self, shard: Shard, error: &Error) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if !given_up.iter().any(|(known, _)| *known == shard) {
            given_up.push((shard, error.clone()));
        }
    }

    /// Why commands to `shard` are not sent any more, if they are not.
    fn given_up(&self, shard: Shard) -> Option<Error> {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.iter().find(|(known, _)| *known == shard).map(|(_, error)| error.clone())
    }
}

/// How keys are spread over servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spread {
    /// One server has all of them.
    Whole,
    /// By slot over so many servers; 0 before they are known. No command may have keys of several slots, so that a command on many keys becomes
    /// many, and each key has an answer of its own.
    Slots(usize),
}

impl Spread {
    /// Servers that share the work.
    pub fn servers(self) -> usize {
        match self {
            Self::Whole => 1,
            Self::Slots(servers) => servers.max(1),
        }
    }
}

/// A server as its own cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeState {
    /// `host:port`.
    pub address: String,
    /// Whether it takes writes.
    pub is_primary: bool,
    /// Whether keys are lost without it: it has slots of its own.
    pub is_needed: bool,
    /// Whether it answers.
    pub is_up: bool,
}

impl NodeState {
    /// A server that has all keys.
    pub fn only(address: String, is_up: bool) -> Self {
        Self { address, is_primary: true, is_needed: true, is_up }
    }
}

/// A place that carries out commands.
pub trait Store: Send + Sync {
    /// Carries out `command`. The answer comes within the store's own bound for a round trip, and within the call's.
    fn execute<'a>(&'a self, command: &'a Command<'a>, bounds: &'a Bounds) -> Pending<'a, Answer>;

    /// Carries out `command` without waiting, from the calling thread; `settled` may run on another one. Gives
    /// `settled` back where that is not possible at the moment. With the calling thread's event loop, the answer may
    /// be read there.
    fn execute_now(
        &self,
        command: &Command<'_>,
        limit: Option<Instant>,
        caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) -> Option<Settled>;

    /// Whether a command that was answered like this is to be repeated, with [`Store::resume`]. The failed attempt is
    /// already counted.
    fn wants_repeat(&self, command: &Command<'_>, answer: &Answer, bounds: &Bounds) -> bool;

    /// Repeats what `answer` lacks, where [`Store::wants_repeat`] asks for it: all of it, unless a store knows better.
    fn resume<'a>(
        &'a self,
        command: &'a Command<'a>,
        _answer: Answer,
        bounds: &'a Bounds,
    ) -> Pending<'a, Answer> {
        self.execute(command, bounds)
    }

    /// How its keys are spread, as far as it is known.
    fn spread(&self) -> Spread;

    /// The servers that a scan goes over, and where slots are now.
    fn placement<'a>(&'a self, bounds: &'a Bounds) -> Pending<'a, Result<Placement>>;

    /// The servers of a cluster; none where there is no cluster.
    fn nodes<'a>(&'a self, bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>>;

    /// Makes the connection where there is none.
    fn connect(&self) -> Pending<'_, Result<()>>;

    /// Ends the connections. A later command connects again.
    fn disconnect(&self);
}

/// What to do with an answer.
pub type Settled = Box<dyn FnOnce(Answer) + Send>;
