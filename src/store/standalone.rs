//! One server behind one lane, connected when it is first needed, and again in the background after a loss.

use super::backoff;
use super::connect::{Endpoint, connect};
use super::lane::{Lane, Request, Traffic};
use super::retry::{connection_failed, is_from_replica};
use super::sentinel::Sentinels;
use super::transport::Socket;
use super::{
    Answer, Bounds, Command, EventLoop, Failure, NodeState, Pending, Placement, Settled, Spread, Store,
};
use crate::config::Config;
use crate::error::{Applied, Error, Kind, Result};
use crate::panic::{guarded, hook};
use crate::resp::Sink;
use crate::state::{State, States};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// A connection that lasted as long was well.
const WELL: Duration = Duration::from_secs(5);

/// What a store that connects needs from its client.
pub struct Link {
    /// Where to connect and how.
    pub config: Arc<Config>,
    /// Where connections are driven.
    pub runtime: Handle,
    /// Counts their bytes.
    pub traffic: Arc<Traffic>,
    /// Hears of what becomes of them.
    pub states: Arc<States>,
}

/// Finds the server to connect to, anew for each connection, within the connect timeout.
pub(crate) trait Locate: Send + Sync {
    /// Its address.
    fn locate(&self) -> Pending<'_, Result<Endpoint>>;

    /// A connection to it that can be used, within the connect timeout.
    fn connect<'a>(&'a self, config: &'a Config) -> Pending<'a, Result<Socket>> {
        Box::pin(async { connect(config, &self.locate().await?).await })
    }

    /// All servers that are known here; none where there is but one.
    fn nodes(&self) -> Pending<'_, Vec<NodeState>> {
        Box::pin(async { Vec::new() })
    }
}

/// A server that stays where it is.
impl Locate for Endpoint {
    fn locate(&self) -> Pending<'_, Result<Endpoint>> {
        Box::pin(async { Ok(self.clone()) })
    }
}

/// A store on one server.
pub struct Standalone {
    link: Link,
    server: Arc<dyn Locate>,
    /// Whether the connection is for reads from a replica of a cluster.
    reads_replica: bool,
    dial: Mutex<Dial>,
    /// Counts disconnections that were asked for: a background attempt from before one of them gives up.
    generation: AtomicU64,
    /// Whether a task is there that connects again.
    reconnecting: AtomicBool,
    /// Attempts in the background since there was a connection that was well.
    attempts: AtomicU32,
    /// For the task that connects: it must not keep a closed client's store alive.
    me: Weak<Standalone>,
}

/// Those who wait for a connection that is being made.
type Waiters = Vec<oneshot::Sender<Result<Arc<Lane>>>>;

enum Dial {
    /// No connection, and nobody asked for one.
    Idle,
    Connecting(Waiters, AbortHandle),
    Connected(Arc<Lane>),
}

impl Standalone {
    /// On the server that the configuration names, or the primary that its sentinels know, without a connection yet.
    ///
    /// # Errors
    /// `InvalidConfig` when it does not name exactly one.
    pub fn new(link: Link) -> Result<Arc<Self>> {
        let target = &link.config.target;
        if let Some(sentinels) = Sentinels::of(&link.config) {
            return Ok(Self::at(sentinels, link));
        }
        let server = Endpoint::of(target).ok_or_else(|| {
            Error::new(Kind::InvalidConfig, format!("{} is not one server", target.describe()))
        })?;
        Ok(Self::at(Arc::new(server), link))
    }

    /// On the server that `server` finds, without a connection yet.
    pub(crate) fn at(server: Arc<dyn Locate>, link: Link) -> Arc<Self> {
        Self::new_at(server, link, false)
    }

    /// The same on a replica of a cluster, for reads: without READONLY it would send them to its primary.
    pub(super) fn at_replica(server: Arc<dyn Locate>, link: Link) -> Arc<Self> {
        Self::new_at(server, link, true)
    }

    fn new_at(server: Arc<dyn Locate>, link: Link, reads_replica: bool) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            link,
            server,
            reads_replica,
            dial: Mutex::new(Dial::Idle),
            generation: AtomicU64::new(0),
            reconnecting: AtomicBool::new(false),
            attempts: AtomicU32::new(0),
            me: me.clone(),
        })
    }

    fn dial(&self) -> MutexGuard<'_, Dial> {
        // What it guards is replaced whole, so a panic elsewhere leaves it usable.
        self.dial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if it is up.
    fn ready(&self) -> Option<Arc<Lane>> {
        match &*self.dial() {
            Dial::Connected(lane) if !lane.is_closed() => Some(lane.clone()),
            Dial::Idle | Dial::Connecting(..) | Dial::Connected(_) => None,
        }
    }

    /// The connection; made now where there is none. All who ask meanwhile share one attempt.
    async fn lane(&self) -> Result<Arc<Lane>> {
        let receiver = {
            let mut dial = self.dial();
            if let Dial::Connected(lane) = &*dial
                && !lane.is_closed()
            {
                return Ok(lane.clone());
            }
            let (sender, receiver) = oneshot::channel();
            match &mut *dial {
                Dial::Connecting(waiters, _) => waiters.push(sender),
                Dial::Idle | Dial::Connected(_) => {
                    *dial = Dial::Connecting(vec![sender], self.start_connecting());
                }
            }
            receiver
        };
        receiver.await.unwrap_or_else(|_| Err(Error::new(Kind::Closed, "the client was closed")))
    }

    /// Starts the task that connects. It needs the lock that the caller holds, so it cannot settle before the caller
    /// has noted it.
    fn start_connecting(&self) -> AbortHandle {
        let me = self.me.clone();
        let config = self.link.config.clone();
        let server = self.server.clone();
        let task = self.link.runtime.spawn(async move {
            if let Some(store) = me.upgrade() {
                store.link.states.connecting();
            }
            // All who ask meanwhile wait for this task.
            let socket = guarded(async {
                hook::pass("connect");
                server.connect(&config).await
            })
            .await
            .map_err(|error| error.with_applied(Applied::No));
            // Without a store, dropping the senders tells the waiters.
            let Some(store) = me.upgrade() else { return };
            let mut result = socket.map(|socket| {
                let link = &store.link;
                let me = me.clone();
                let on_end = Box::new(move |error: &Error| {
                    if let Some(store) = me.upgrade() {
                        store.lost(error);
                    }
                });
                let traffic = link.traffic.clone();
                Arc::new(Lane::start(&link.runtime, socket, config.command_timeout, traffic, on_end))
            });
            if store.reads_replica
                && let Ok(lane) = &result
                && let Some(error) = store.announce_reads(lane).await
            {
                result = Err(error);
            }
            let waiters = {
                let mut dial = store.dial();
                match (&mut *dial, &result) {
                    (Dial::Connecting(waiters, _), Ok(lane)) => {
                        let waiters = mem::take(waiters);
                        *dial = Dial::Connected(lane.clone());
                        waiters
                    }
                    (Dial::Connecting(waiters, _), Err(_)) => {
                        let waiters = mem::take(waiters);
                        *dial = Dial::Idle;
                        waiters
                    }
                    // Disconnected meanwhile.
                    (Dial::Idle | Dial::Connected(_), _) => return,
                }
            };
            match &result {
                Ok(_) => store.link.states.set(State::Ready, None),
                Err(error) => store.failed(error),
            }
            for waiter in waiters {
                // A waiter that was cancelled needs no answer.
                let _ = waiter.send(result.clone());
            }
        });
        task.abort_handle()
    }

    /// The connection broke: it is made again without waiting for the next command.
    fn lost(&self, error: &Error) {
        {
            let mut dial = self.dial();
            match &*dial {
                Dial::Connected(lane) if lane.is_closed() => {
                    self.forget_attempts_if_well(lane);
                    *dial = Dial::Idle;
                }
                // Disconnected, or somebody was faster.
                Dial::Idle | Dial::Connecting(..) | Dial::Connected(_) => return,
            }
        }
        self.link.states.set(State::Reconnecting, Some(error.message().to_owned()));
        self.reconnect();
    }

    /// The server on the other end of `lane` takes no writes any more: the next command goes to whoever does.
    fn leave(&self, lane: &Arc<Lane>) {
        {
            let mut dial = self.dial();
            match &*dial {
                Dial::Connected(known) if Arc::ptr_eq(known, lane) => {
                    self.forget_attempts_if_well(lane);
                    *dial = Dial::Idle;
                }
                // Somebody was faster.
                Dial::Idle | Dial::Connecting(..) | Dial::Connected(_) => return,
            }
        }
        self.link.states.set(State::Reconnecting, Some("the server is a replica now".to_owned()));
        self.reconnect();
    }

    /// A connection could not be made. Where there was one before, it is tried again in the background; a server that
    /// was never there is left to the next command.
    fn failed(&self, error: &Error) {
        let states = &self.link.states;
        if states.was_ready() && may_come_back(error) {
            states.set(State::Reconnecting, Some(error.message().to_owned()));
            self.reconnect();
        } else {
            states.set(State::Idle, Some(error.message().to_owned()));
        }
    }

    /// Starts the task that connects again, with backoff, where there is none.
    fn reconnect(&self) {
        if self.reconnecting.swap(true, Ordering::AcqRel) {
            return;
        }
        let me = self.me.clone();
        let retry = self.link.config.retry.clone();
        let generation = self.generation.load(Ordering::Acquire);
        self.link.runtime.spawn(async move {
            loop {
                let Some(attempt) = me.upgrade().map(|store| store.next_attempt()) else { return };
                sleep(backoff::background(&retry, attempt)).await;
                let Some(store) = me.upgrade() else { return };
                if store.generation.load(Ordering::Acquire) != generation {
                    // Whoever disconnected has made room for another task.
                    return;
                }
                let result = store.lane().await;
                if result.as_ref().err().is_some_and(may_come_back) {
                    continue;
                }
                if store.generation.load(Ordering::Acquire) != generation {
                    return;
                }
                // Whoever finds the flag set leaves the work to this task: what was lost until now is seen below.
                store.reconnecting.swap(false, Ordering::AcqRel);
                let lost_again = result.is_ok() && matches!(*store.dial(), Dial::Idle);
                if !lost_again
                    || store.generation.load(Ordering::Acquire) != generation
                    || store.reconnecting.swap(true, Ordering::AcqRel)
                {
                    return;
                }
            }
        });
    }

    /// A server that takes connections and drops them at once is not to be stormed: only one that lasted or answered
    /// makes the next attempt a first one again.
    fn forget_attempts_if_well(&self, lane: &Lane) {
        let of_setup = u64::from(self.reads_replica);
        if lane.answered() > of_setup || lane.age() >= WELL {
            self.attempts.store(0, Ordering::Relaxed);
        }
    }

    /// Counts an attempt in the background; the first one is 1.
    fn next_attempt(&self) -> u32 {
        self.attempts.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Says READONLY on a new connection. An error when there is no answer.
    async fn announce_reads(&self, lane: &Lane) -> Option<Error> {
        let arguments = [b"READONLY".to_vec()];
        let request = self.request(&Command::Other { arguments: &arguments }, None);
        // A server that refuses it answers reads with MOVED, which leads to the primary.
        lane.execute(request).await.failure.map(|failure| failure.error)
    }

    fn request(&self, command: &Command<'_>, limit: Option<Instant>) -> Request {
        self.request_of(Message::of(command), limit)
    }

    fn request_of(&self, message: Message, limit: Option<Instant>) -> Request {
        let Message { bytes, replies, asking, sink } = message;
        let sent_at = Instant::now();
        let round_trip = sent_at + self.link.config.command_timeout;
        let deadline = limit.map_or(round_trip, |limit| limit.min(round_trip));
        Request { bytes, replies, asking, sink, sent_at, deadline }
    }

    /// Whether a command can be sent at once.
    pub(super) fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    /// Sends at once where there is a connection, else as soon as there is one.
    pub(super) fn send(
        self: &Arc<Self>,
        message: Message,
        limit: Option<Instant>,
        caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) {
        if let Some(lane) = self.ready() {
            lane.call(self.request_of(message, limit), caller, settled);
            return;
        }
        let me = self.clone();
        self.link.runtime.spawn(async move {
            match me.lane_within(limit).await {
                Ok(lane) => lane.call(me.request_of(message, limit), None, settled),
                Err(error) => {
                    settled(Answer { sink: message.sink, failure: Some(Failure::unsent(error)) });
                }
            }
        });
    }

    async fn lane_within(&self, limit: Option<Instant>) -> Result<Arc<Lane>> {
        let late = || Error::new(Kind::Timeout, "the time limit passed before there was a connection");
        match limit {
            None => self.lane().await,
            // A timer's next tick may be later than the connection.
            Some(limit) if limit <= Instant::now() => Err(late()),
            Some(limit) => timeout_at(limit, self.lane()).await.unwrap_or_else(|_| Err(late())),
        }
    }
}

/// Encoded commands for one server.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) replies: usize,
    /// Whether ASKING precedes each of them.
    pub(super) asking: bool,
    pub(super) sink: Sink,
}

impl Message {
    pub(super) fn of(command: &Command<'_>) -> Self {
        let (bytes, replies) = (command.encode(), command.replies());
        Self { bytes, replies, asking: false, sink: command.sink() }
    }
}

/// Whether the server may be reachable again without a change by the user.
fn may_come_back(error: &Error) -> bool {
    connection_failed(error) || error.kind() == &Kind::ConnectTimeout
}

impl Store for Standalone {
    fn execute<'a>(&'a self, command: &'a Command<'a>, bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(async move {
            let limit = bounds.limit();
            let lane = self.lane_within(limit).await;
            match lane {
                Ok(lane) => {
                    let answer = lane.execute(self.request(command, limit)).await;
                    if is_from_replica(&answer) {
                        self.leave(&lane);
                    }
                    answer
                }
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
        let Some(lane) = self.ready() else { return Some(settled) };
        lane.call(self.request(command, limit), caller, settled);
        None
    }

    fn wants_repeat(&self, _command: &Command<'_>, _answer: &Answer, _bounds: &Bounds) -> bool {
        false
    }

    fn spread(&self) -> Spread {
        Spread::Whole
    }

    fn placement<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Result<Placement>> {
        Box::pin(async { Ok(Placement::whole()) })
    }

    fn nodes<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>> {
        self.server.nodes()
    }

    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(async { self.lane().await.map(drop) })
    }

    fn disconnect(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.attempts.store(0, Ordering::Relaxed);
        self.reconnecting.store(false, Ordering::Release);
        // The lane ends when its last user lets go of it; waiters are told by their dropped senders.
        let dial = mem::replace(&mut *self.dial(), Dial::Idle);
        if let Dial::Connecting(_, task) = &dial {
            task.abort();
        }
    }
}
