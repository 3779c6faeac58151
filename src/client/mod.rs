//! A client: a store with its policies, and the handles through which JavaScript uses it.

mod lookup;

pub use lookup::{Found, Listener, Lookup};

use crate::budget::{Admission, Budget, Held};
use crate::config::{Config, Target};
use crate::error::{Applied, Error, Kind, Result};
use crate::metrics::Metrics;
use crate::ops::{Call, Cancel, Habits, Progress};
use crate::panic::{guarded, hook};
use crate::state::{State, States};
use crate::store::memory::{Limits, MemoryStore};
use crate::store::{
    Bounds, Breaker, BreakerState, Breaking, Cluster, Embedded, Fallback, FallbackParts, Link, Retrying,
    Standalone, Store, Upstash,
};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// Everything that clients of one configuration share.
pub struct Client {
    config: Arc<Config>,
    runtime: Handle,
    store: Arc<dyn Store>,
    breaker: Option<Arc<Breaker>>,
    fallback: Option<Arc<Fallback>>,
    habits: Arc<Habits>,
    metrics: Arc<Metrics>,
    states: Arc<States>,
    budget: Arc<Budget>,
    /// Open sessions.
    sessions: AtomicUsize,
    /// Operations of all sessions that have not settled, and the calls that they serve.
    running: AtomicUsize,
    in_flight: AtomicUsize,
}

impl Client {
    /// A client without a connection.
    ///
    /// # Errors
    /// `InvalidConfig` for what is not supported, and for certificates that cannot be used.
    pub fn new(config: Config, runtime: Handle) -> Result<Arc<Self>> {
        if let Some(error) = config.unsupported() {
            return Err(error);
        }
        config.tls.as_ref().map(crate::store::check_tls).transpose()?;
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::default());
        let states = Arc::new(States::default());
        // With a fallback, what becomes of connections is not all that users see.
        let line_states = if falls_back(&config) { Arc::default() } else { states.clone() };
        let link = Link {
            config: config.clone(),
            runtime: runtime.clone(),
            traffic: metrics.traffic(),
            states: line_states.clone(),
        };
        let line: Arc<dyn Store> = match &config.target {
            Target::Memory | Target::Disabled => {
                let limits = config.fallback.as_ref().map_or_else(Limits::default, |fallback| {
                    Limits::new(fallback.max_bytes, fallback.max_entries)
                });
                Arc::new(Embedded::new(Arc::new(MemoryStore::new(limits))))
            }
            // It repeats by itself: the parts that failed, not the whole.
            Target::Cluster { .. } => Cluster::new(link, metrics.retries())?,
            Target::Upstash { .. } => Upstash::new(link)?,
            Target::Tcp { .. } | Target::Unix { .. } | Target::Sentinel { .. } => Standalone::new(link)?,
        };
        let is_cluster = matches!(config.target, Target::Cluster { .. });
        let mut store = line.clone();
        if !is_cluster {
            store = Arc::new(Retrying::new(
                store,
                config.retry.clone(),
                config.connect_timeout,
                config.command_timeout,
                metrics.retries(),
            ));
        }
        // Where one server of a cluster is away, others go on: calls as a whole say nothing of them.
        let one_server = config.target.is_remote() && !is_cluster;
        let breaker = config.breaker.clone().filter(|_| one_server).map(|policy| {
            let breaker = Breaker::new(policy);
            breaker.watch(&line_states);
            store = Arc::new(Breaking::new(store.clone(), breaker.clone()));
            breaker
        });
        let fallback = config.fallback.clone().filter(|_| falls_back(&config)).map(|limits| {
            let fallback = Fallback::new(FallbackParts {
                server: store.clone(),
                line,
                line_states,
                states: states.clone(),
                limits,
                retry: config.retry.clone(),
                command_timeout: config.command_timeout,
                in_turns: matches!(config.target, Target::Upstash { .. }),
                runtime: runtime.clone(),
            });
            store = fallback.clone();
            fallback
        });
        let budget = Budget::new(config.max_buffered_bytes, config.command_timeout);
        Ok(Arc::new(Self {
            config,
            runtime,
            store,
            breaker,
            fallback,
            habits: Arc::default(),
            metrics,
            states,
            budget,
            sessions: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
        }))
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same, for work that outlasts a call.
    pub fn shared_config(&self) -> Arc<Config> {
        self.config.clone()
    }

    /// Where its work runs.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Where its keys are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What it has done.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The bound on its memory.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Calls that have not settled.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What its circuit breaker does with calls; `Closed` where there is none.
    pub fn breaker(&self) -> BreakerState {
        self.breaker.as_ref().map_or(BreakerState::Closed, |breaker| breaker.state())
    }

    /// Whether the embedded store answers in the place of the server.
    pub fn serves_from_memory(&self) -> bool {
        self.fallback.as_ref().is_some_and(|fallback| fallback.serves_from_memory())
    }

    /// Whether it does so in the place of a server that had keys when it was last seen.
    pub fn hides_server(&self) -> bool {
        self.fallback.as_ref().is_some_and(|fallback| fallback.hides_server())
    }

    /// The state of its connection.
    pub fn states(&self) -> &Arc<States> {
        &self.states
    }
}

/// One user of a client. It is closed and opened again by itself; the connection it shares is made again by
/// whoever needs it next.
pub struct Session {
    client: Arc<Client>,
    open: AtomicBool,
    /// Counts `connect()`: a `close()` that still waits when it is called gives way.
    opened: AtomicU64,
    /// Operations that have not settled.
    running: AtomicUsize,
    settled: Notify,
    /// Tells operations that outlast `close()` to give up; replaced when the session opens again.
    kill: Mutex<watch::Sender<bool>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_open() {
            self.client.sessions.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Counts one running operation of a session, which serves a number of calls.
pub struct Running {
    session: Arc<Session>,
    calls: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Self { session, calls } = self;
        session.client.in_flight.fetch_sub(*calls, Ordering::Relaxed);
        session.client.running.fetch_sub(1, Ordering::AcqRel);
        if session.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            session.settled.notify_waiters();
        }
    }
}

impl Session {
    /// An open session.
    pub fn new(client: Arc<Client>) -> Arc<Self> {
        client.sessions.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self {
            client,
            open: AtomicBool::new(true),
            opened: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            settled: Notify::new(),
            kill: Mutex::new(watch::channel(false).0),
        })
    }

    /// The client it uses.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether it takes operations.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Registers an operation that serves so many calls. An error when the session is closed or the client is switched off.
    pub fn begin(self: &Arc<Self>, calls: u32) -> Result<Running> {
        if self.client.config.target == Target::Disabled {
            return Err(Error::new(Kind::Disabled, "Redis is switched off by the configuration"));
        }
        if !self.is_open() {
            return Err(closed());
        }
        self.running.fetch_add(1, Ordering::AcqRel);
        self.client.running.fetch_add(1, Ordering::AcqRel);
        let calls = calls as usize;
        self.client.in_flight.fetch_add(calls, Ordering::Relaxed);
        Ok(Running { session: self.clone(), calls })
    }

    /// What an operation of this session runs with.
    pub fn call(&self, bounds: Bounds, cancel: Cancel, on_progress: OnProgress) -> Call {
        Call {
            store: self.client.store.clone(),
            bounds,
            attempts: self.client.config.retry.attempts,
            cancel,
            on_progress,
            habits: self.client.habits.clone(),
            budget: self.client.budget.clone(),
        }
    }

    /// Starts an operation on the runtime, once there is room for its bytes; it ends with CLOSED when the session is
    /// closed and it takes too long, with INTERNAL when it panics.
    pub fn spawn<T: Send + 'static>(
        &self,
        running: Running,
        room: Room,
        limit: Option<Instant>,
        operation: impl Future<Output = Result<T>> + Send + 'static,
        settled: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let mut kill = self.kill().subscribe();
        let budget = self.client.budget.clone();
        let operation = guarded(async move {
            let _held = match room {
                Room::Held(held) => held,
                Room::Wanted(bytes) => budget.request(bytes, limit).await?,
            };
            hook::pass("operation");
            operation.await
        });
        self.client.runtime.spawn(async move {
            let result = tokio::select! {
                biased;
                result = operation => result,
                // An error means that the sender is gone, and the session with it.
                _ = kill.wait_for(|killed| *killed) => Err(closed().with_applied(Applied::Unknown)),
            };
            hook::pass("settled");
            settled(result);
            drop(running);
        });
    }

    /// Waits for room for an operation whose bytes are not there yet. It counts as running meanwhile.
    pub fn admit(
        &self,
        running: Running,
        limit: Option<Instant>,
        settled: impl FnOnce(Result<Admission>) + Send + 'static,
    ) {
        let mut kill = self.kill().subscribe();
        let budget = self.client.budget.clone();
        self.client.runtime.spawn(async move {
            let result = tokio::select! {
                biased;
                result = budget.admission(limit) => result,
                // An error means that the sender is gone, and the session with it.
                _ = kill.wait_for(|killed| *killed) => Err(closed()),
            };
            settled(result);
            drop(running);
        });
    }

    /// Waits for what is running, at most for a command timeout, then closes. The connection goes, too, unless other
    /// sessions are using it; idle ones make it again when they need it.
    pub async fn close(&self) {
        let drained = async {
            loop {
                let settled = self.settled.notified();
                tokio::pin!(settled);
                settled.as_mut().enable();
                if self.running.load(Ordering::Acquire) == 0 {
                    return;
                }
                settled.await;
            }
        };
        let opened = self.opened.load(Ordering::Acquire);
        let in_time = timeout(self.client.config.command_timeout, drained).await.is_ok();
        if self.opened.load(Ordering::Acquire) != opened || !self.open.swap(false, Ordering::AcqRel) {
            return;
        }
        let own = self.running.load(Ordering::Acquire);
        let others = self.client.running.load(Ordering::Acquire) > own;
        if !in_time {
            self.kill().send_replace(true);
        }
        if !others {
            self.client.store.disconnect();
        }
        if self.client.sessions.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.client.states.set(State::Closed, None);
        }
    }

    /// Opens the session again and connects.
    pub async fn connect(self: &Arc<Self>) -> Result<()> {
        if self.client.config.target == Target::Disabled {
            return Err(Error::new(Kind::Disabled, "Redis is switched off by the configuration"));
        }
        self.reopen();
        // Counted, so that another session's end does not take the connection away.
        let _running = self.begin(0)?;
        self.client.store.connect().await
    }

    fn reopen(&self) {
        self.opened.fetch_add(1, Ordering::AcqRel);
        if !self.open.swap(true, Ordering::AcqRel) {
            self.client.sessions.fetch_add(1, Ordering::AcqRel);
            *self.kill() = watch::channel(false).0;
        }
    }

    fn kill(&self) -> MutexGuard<'_, watch::Sender<bool>> {
        self.kill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for an operation's bytes.
pub enum Room {
    /// It has it.
    Held(Held),
    /// It has to wait for so many.
    Wanted(usize),
}

/// Told of each chunk.
pub type OnProgress = Option<Box<dyn Fn(Progress) + Send + Sync>>;

/// Whether the embedded store stands in for a server.
fn falls_back(config: &Config) -> bool {
    config.fallback.is_some() && config.target.is_remote()
}

fn closed() -> Error {
    Error::new(Kind::Closed, "the client is closed; connect() opens it again")
}
