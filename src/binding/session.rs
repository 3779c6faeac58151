//! The class that `lib/` drives: one session of a client, with a method for each operation.
//!
//! Every method takes the number under which its completion will come back through the port.

use super::arguments::{deadline, thrown};
use super::changes::Changes;
use super::completion::{Completion, Outcome};
use super::external;
use super::info;
use super::js::Js;
use super::password::{self, PasswordFunction};
use super::port::Port;
use super::ticket::{LOOKUP, Ticket};
use super::uv::Watcher;
use crate::budget::Admission;
use crate::client::{OnProgress, Room, Running, Session as Core};
use crate::config::{Config, PasswordSource, Secret};
use crate::error::Result as CoreResult;
use crate::ops::{Cancel, Progress};
use crate::panic::{guarded, hook};
use crate::runtime;
use crate::store;
use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, Result};
use napi_derive::napi;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// One user of a client. Clients of equal configuration are shared within the process.
#[napi(js_name = "Session")]
pub struct JsSession {
    pub(super) core: Arc<Core>,
    pub(super) port: Arc<Port>,
    pub(super) watcher: Option<Rc<Watcher>>,
    /// Operations that JavaScript may want to cancel.
    cancels: RefCell<HashMap<u32, Cancel>>,
    held: RefCell<Vec<Running>>,
    /// Turns of operations that waited for room before they were packed, by the number of that wait.
    admissions: Admissions,
    /// The one that the next operation uses.
    pub(super) entering: Cell<Option<Admission>>,
    /// The connection that tells of changed keys.
    tracking: RefCell<Option<Tracking>>,
}

/// Ends its connection when it is dropped.
struct Tracking {
    changes: Arc<Changes>,
    task: AbortHandle,
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Admissions = Arc<Mutex<HashMap<u32, Admission>>>;

/// A port that sessions of one environment share.
#[napi(js_name = "Port")]
pub struct JsPort {
    port: Arc<Port>,
    watcher: Option<Rc<Watcher>>,
}

#[napi]
impl JsPort {
    /// `callback(words, text, extras)` hears of what settled; `table` is the Int32Array that holds the words. `in_node`:
    /// the runtime is Node, not one that has the names of its functions alone.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: Env, callback: Unknown<'_>, table: Unknown<'_>, in_node: bool) -> Result<Self> {
        let port = Port::open(&env, callback.raw(), table.raw())?;
        external::allow(in_node);
        let watcher = in_node.then(|| Watcher::new(&env, port.clone())).flatten();
        Ok(Self { port, watcher })
    }

    /// Answers a question for a password; `reason` says why there is none.
    #[napi(catch_unwind)]
    pub fn answer(&self, question: u32, password: Option<String>, reason: String) {
        let answer = password.map(Secret::new).ok_or_else(|| password::failed(&reason));
        self.port.questions.answer(question, answer);
    }
}

impl Drop for JsPort {
    fn drop(&mut self) {
        self.port.close();
    }
}

#[napi]
impl JsSession {
    /// A session of the client that `configuration` describes: `{"options": …, "env": …}` as JSON. `password` is the number of
    /// the function that gives it, 0 where there is none.
    #[napi(constructor, catch_unwind)]
    pub fn new(port: &JsPort, configuration: String, password: u32) -> Result<Self> {
        let mut config = Config::from_json(&configuration).map_err(thrown)?;
        if password > 0 {
            let function = PasswordFunction::new(port.port.clone(), password);
            config.password_source = Some(PasswordSource::new(Arc::new(function)));
            config.password = None;
        }
        let core = runtime::client(config).map_err(thrown)?;
        Ok(Self {
            core: Core::new(core),
            port: port.port.clone(),
            watcher: port.watcher.clone(),
            cancels: RefCell::default(),
            held: RefCell::default(),
            admissions: Arc::default(),
            entering: Cell::default(),
            tracking: RefCell::default(),
        })
    }

    /// Whether there is room for an operation at once. If not, it waits with `wait_for_room` before it packs anything.
    #[napi(catch_unwind)]
    pub fn has_room(&self) -> bool {
        self.core.client().budget().has_room()
    }

    /// Waits for room for an operation, which counts as `calls` if it waits in vain. Then it has its turn until `leave`, or
    /// `enter` and the operation.
    #[napi(catch_unwind)]
    pub fn wait_for_room(&self, env: Env, id: u32, operation: u32, timeout_ms: f64, calls: u32) {
        const OPERATIONS: [&str; 4] = [LOOKUP, "pipelineSet", "batchDelete", "sendCommand"];
        let operation = OPERATIONS.get(operation as usize).copied().unwrap_or("sendCommand");
        let Some((ticket, running)) = self.begin_calls(&env, id, operation, calls) else { return };
        let (admissions, cancel) = (self.admissions.clone(), self.cancel_of(id));
        self.core.admit(running, deadline(timeout_ms), move |admission| match admission {
            Err(error) => ticket.settle(Err(error)),
            Ok(admission) => {
                // With the lock held: `leave` comes after `cancel`, and finds what was left before.
                let mut admissions = lock(&admissions);
                if !cancel.is_cancelled() {
                    admissions.insert(ticket.id, admission);
                }
                ticket.pass();
            }
        });
    }

    /// The next operation uses the turn of this wait.
    #[napi(catch_unwind)]
    pub fn enter(&self, id: u32) {
        self.entering.set(lock(&self.admissions).remove(&id));
    }

    /// Gives the turn of this wait up, if it was not used.
    #[napi(catch_unwind)]
    pub fn leave(&self, id: u32) {
        lock(&self.admissions).remove(&id);
        self.entering.take();
    }

    /// Keeps `close` waiting until `release`: for a call that is made of several operations.
    #[napi(catch_unwind)]
    pub fn hold(&self) {
        // A closed session has nothing to wait for.
        self.held.borrow_mut().extend(self.core.begin(0).ok());
    }

    /// Ends one `hold`.
    #[napi(catch_unwind)]
    pub fn release(&self) {
        self.held.borrow_mut().pop();
    }

    /// Makes the operation that will be begun under this number one that can be cancelled, until `forget`.
    #[napi(catch_unwind)]
    pub fn cancellable(&self, id: u32) {
        self.cancels.borrow_mut().insert(id, Cancel::default());
    }

    /// Stops an operation before its next chunk. Unknown numbers are ignored.
    #[napi(catch_unwind)]
    pub fn cancel(&self, id: u32) {
        if let Some(cancel) = self.cancels.borrow().get(&id) {
            cancel.cancel();
        }
    }

    /// Connects, and opens the session again where it was closed.
    #[napi(catch_unwind)]
    pub fn connect(&self, env: Env, id: u32) {
        let core = self.core.clone();
        self.run_unbounded(&env, id, async move { core.connect().await.map(|()| Outcome::Done) });
    }

    /// Waits for what is running, then closes.
    #[napi(catch_unwind)]
    pub fn close(&self, env: Env, id: u32) {
        let core = self.core.clone();
        self.run_unbounded(&env, id, async move {
            core.close().await;
            Ok(Outcome::Done)
        });
    }

    /// Measures and describes the server; JSON of the contract's `Health`.
    #[napi(catch_unwind)]
    pub fn health(&self, env: Env, id: u32) {
        let core = self.core.clone();
        self.run_unbounded(&env, id, async move { Ok(Outcome::Json(info::health(&core).await)) });
    }

    /// Tells of every change of state under this number, for as long as the session lives.
    #[napi(catch_unwind)]
    pub fn watch(&self, id: u32) {
        let port = self.port.clone();
        let session = Arc::downgrade(&self.core);
        self.core.client().states().listen(Box::new(move |change| {
            let watched = session.strong_count() > 0;
            if watched {
                port.complete(Completion { id, outcome: Ok(Outcome::State(change.clone())) });
            }
            watched
        }));
    }

    /// Begins to tell under this number that keys changed which begin with one of the prefixes, instead of what was told
    /// so far. False where there is nobody to tell.
    #[napi(catch_unwind)]
    pub fn track(&self, id: u32, prefixes: Vec<String>) -> bool {
        let client = self.core.client();
        let changes = Changes::new(self.port.clone(), id);
        let prefixes = prefixes.into_iter().map(String::into_bytes).collect();
        let task = store::track(client.shared_config(), prefixes, changes.clone());
        let task = task.map(|task| client.runtime().spawn(task).abort_handle());
        *self.tracking.borrow_mut() = task.map(|task| Tracking { changes, task });
        self.tracking.borrow().is_some()
    }

    /// Ends that.
    #[napi(catch_unwind)]
    pub fn untrack(&self) {
        self.tracking.borrow_mut().take();
    }

    /// What changed since it was last taken: JSON with `on`, whether changes are told; `all`, whether any key may have
    /// changed; `keys`.
    #[napi(catch_unwind)]
    pub fn changes(&self) -> Option<String> {
        self.tracking.borrow().as_ref().map(|tracking| tracking.changes.take())
    }

    /// Whether the embedded store answers in the place of a server that is away.
    #[napi(catch_unwind)]
    pub fn serves_from_memory(&self) -> bool {
        self.core.client().serves_from_memory()
    }

    /// Whether it does so in the place of a server that had keys when it was last seen.
    #[napi(catch_unwind)]
    pub fn hides_server(&self) -> bool {
        self.core.client().hides_server()
    }

    /// JSON of the contract's `Metrics`.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> String {
        info::metrics(self.core.client())
    }

    /// Whom the session talks to, without credentials: JSON with `address`, `port`, `namespace` where they are known.
    #[napi(catch_unwind)]
    pub fn target(&self) -> String {
        info::target(self.core.client().config())
    }

    /// Frees what was kept to cancel an operation.
    #[napi(catch_unwind)]
    pub fn forget(&self, id: u32) {
        self.cancels.borrow_mut().remove(&id);
    }

    pub(super) fn prefix(&self, env: &Env, prefix: &Unknown<'_>, units: u32) -> Result<Vec<u8>> {
        let own = Js::of(env).text(prefix.raw(), units as usize)?;
        let mut full = self.core.client().config().key_prefix.clone().into_bytes();
        if full.is_empty() {
            return Ok(own);
        }
        full.extend_from_slice(&own);
        Ok(full)
    }

    pub(super) fn items(&self, count: u32) {
        self.core.client().metrics().items.fetch_add(u64::from(count), Ordering::Relaxed);
    }

    pub(super) fn cancel_of(&self, id: u32) -> Cancel {
        self.cancels.borrow().get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn on_progress(&self, id: u32, wanted: bool) -> OnProgress {
        let port = self.port.clone();
        wanted.then(|| -> Box<dyn Fn(Progress) + Send + Sync> {
            Box::new(move |progress| {
                port.complete(Completion { id, outcome: Ok(Outcome::Progress(progress)) })
            })
        })
    }

    /// Registers an operation; `None` when it was refused, which JavaScript then hears like any other failure.
    pub(super) fn begin(&self, env: &Env, id: u32, operation: &'static str) -> Option<(Ticket, Running)> {
        self.begin_calls(env, id, operation, 1)
    }

    pub(super) fn begin_calls(
        &self,
        env: &Env,
        id: u32,
        operation: &'static str,
        calls: u32,
    ) -> Option<(Ticket, Running)> {
        self.port.expect_completion(env);
        let ticket = Ticket {
            port: self.port.clone(),
            core: self.core.clone(),
            id,
            operation,
            calls,
            started: Instant::now(),
            settled: AtomicBool::new(false),
        };
        hook::pass("call");
        match self.core.begin(calls) {
            Ok(running) => Some((ticket, running)),
            Err(error) => {
                ticket.settle(Err(error));
                None
            }
        }
    }

    pub(super) fn run(
        &self,
        ticket: Ticket,
        running: Running,
        bytes: usize,
        limit: Option<Instant>,
        operation: impl Future<Output = CoreResult<Outcome>> + Send + 'static,
    ) {
        // Held at once, where it can be: the next operation is to see it.
        let held = match self.entering.take() {
            Some(admission) => Some(admission.hold(bytes)),
            None => self.core.client().budget().try_request(bytes),
        };
        let room = held.map_or(Room::Wanted(bytes), Room::Held);
        self.core.spawn(running, room, limit, operation, move |outcome| ticket.settle(outcome));
    }

    pub(super) fn run_unbounded(
        &self,
        env: &Env,
        id: u32,
        operation: impl Future<Output = CoreResult<Outcome>> + Send + 'static,
    ) {
        self.port.expect_completion(env);
        let port = self.port.clone();
        self.core.client().runtime().spawn(async move {
            let outcome = guarded(operation).await;
            port.complete(Completion { id, outcome });
        });
    }
}

fn lock(admissions: &Mutex<HashMap<u32, Admission>>) -> MutexGuard<'_, HashMap<u32, Admission>> {
    // A map is whole between two of its own operations.
    admissions.lock().unwrap_or_else(PoisonError::into_inner)
}
