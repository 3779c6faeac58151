//! The embedded store in the place of a server that is away.
//!
//! Three modes. With the *server* there, everything goes to it. When a call finds, after all its attempts, that it
//! cannot be reached, the *memory* answers in its place, for this call and all later ones, and the journal notes which keys
//! were touched. A task of its own looks for the server; when that answers, what the journal holds is done there
//! while callers go on, and the last of it behind a *shut* door, at which calls wait for a moment. Then the memory
//! is emptied and the door to the server opens. So no call reaches the server before everything that was done without it.
//!
//! | module | knows |
//! |---|---|
//! | `calls` | what becomes of a call |
//! | `journal` | which keys were touched, in which order; what is done when they are too many |
//! | `forgotten` | a set of keys in fixed memory |
//! | `outage` | which failures mean that the server is away |
//! | `replay` | the way back |
//! | `run`, `deliver` | what is sent on it, and what the server says to it |
//! | `cursor` | SCAN across both places |

mod calls;
mod cursor;
mod deliver;
mod forgotten;
mod journal;
mod outage;
mod replay;
mod run;

use super::embedded::{Witness, carry_out};
use super::memory::{Change, Limits, MemoryStore};
use super::{Answer, Command, Store};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::state::{State, States};
use cursor::memory_command;
use journal::{Flush, Journal};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    Server,
    Memory,
    /// Nobody, for the moment in which the last of the journal is done.
    Shut,
}

/// What a fallback needs.
pub struct Parts {
    /// The server, behind the policies that calls get.
    pub server: Arc<dyn Store>,
    /// The same server without policies: what was done without it goes there.
    pub line: Arc<dyn Store>,
    /// The states of its connection. They are passed on to `states` while it answers.
    pub line_states: Arc<States>,
    /// What users see.
    pub states: Arc<States>,
    /// Bounds of the memory; what is remembered of it takes as many bytes again at most.
    pub limits: config::Fallback,
    /// Pauses between attempts to find the server again.
    pub retry: config::Retry,
    /// How long calls wait at most for the last of what was done without the server.
    pub command_timeout: Duration,
    /// Whether calls may wait for one another instead of a connection.
    pub in_turns: bool,
    /// Where the way back is gone.
    pub runtime: Handle,
}

/// A server, and a memory for when it is away.
pub struct Fallback {
    parts: Parts,
    memory: MemoryStore,
    /// Locked before `memory` and before the lock of `parts.states`, and never together with that of `parts.line_states`,
    /// which is held when this one is asked for.
    core: Mutex<Core>,
    /// Copies of `core.mode`: for the way of small calls, and for those who wait for a change.
    mode: AtomicU8,
    changed: watch::Sender<Mode>,
    /// The connection is there.
    found: Arc<Notify>,
    /// Held by the task that is on the way back.
    way_back: tokio::sync::Mutex<()>,
    me: Weak<Fallback>,
}

struct Core {
    mode: Mode,
    journal: Journal,
    /// Counts times that the server was away.
    outages: u64,
    /// Of the connection to the server.
    line: State,
    /// Why the memory answers.
    reason: String,
    /// Whether a task is on the way back, and which; a later one replaces it.
    returning: bool,
    returns: u64,
}

impl Witness for Journal {
    const LISTENS: bool = true;

    fn hear(&mut self, change: Change<'_>) {
        match change {
            Change::Key(key) => self.touch(key),
            Change::FlushDatabase => self.flush(Flush::Database),
            Change::FlushAll => self.flush(Flush::Everything),
        }
    }
}

impl Fallback {
    /// With the server, until that turns out to be away.
    pub fn new(parts: Parts) -> Arc<Self> {
        let limits = Limits::new(parts.limits.max_bytes, parts.limits.max_entries);
        let core = Core {
            mode: Mode::Server,
            journal: Journal::new(parts.limits.max_bytes),
            outages: 0,
            line: State::Idle,
            reason: String::new(),
            returning: false,
            returns: 0,
        };
        let fallback = Arc::new_cyclic(|me: &Weak<Self>| Self {
            memory: MemoryStore::new(limits),
            core: Mutex::new(core),
            mode: AtomicU8::new(Mode::Server as u8),
            changed: watch::channel(Mode::Server).0,
            found: Arc::default(),
            way_back: tokio::sync::Mutex::default(),
            me: me.clone(),
            parts,
        });
        let me = fallback.me.clone();
        fallback.parts.line_states.listen(Box::new(move |change| {
            let Some(fallback) = me.upgrade() else { return false };
            let mut core = fallback.core();
            core.line = change.to;
            if core.mode == Mode::Server {
                fallback.parts.states.set(change.to, change.reason.clone());
            } else if change.to == State::Ready {
                fallback.found.notify_one();
            }
            true
        }));
        fallback
    }

    /// Whether it does so in the place of a server that had keys when it was last seen.
    pub fn hides_server(&self) -> bool {
        self.serves_from_memory() && self.parts.line_states.was_ready()
    }

    /// Whether the memory answers.
    pub fn serves_from_memory(&self) -> bool {
        self.mode() != Mode::Server
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // Its parts are changed one after another by code that does not panic in between.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            mode if mode == Mode::Server as u8 => Mode::Server,
            mode if mode == Mode::Memory as u8 => Mode::Memory,
            _ => Mode::Shut,
        }
    }

    fn enter(&self, core: &mut Core, mode: Mode) {
        core.mode = mode;
        self.mode.store(mode as u8, Ordering::Release);
        self.changed.send_replace(mode);
    }

    /// Has the memory answer from now on, if it is still the time away number `outage`. False when the server has been
    /// away and come back since.
    fn leave(&self, outage: u64, why: &Error) -> bool {
        let mut core = self.core();
        if core.mode == Mode::Server {
            if core.outages != outage {
                return false;
            }
            core.reason = why.message().to_owned();
            self.enter(&mut core, Mode::Memory);
            self.look_for_server(&mut core);
        }
        true
    }

    /// Starts the task that goes the way back, where there is none.
    fn look_for_server(&self, core: &mut Core) {
        if core.returning {
            return;
        }
        core.returning = true;
        core.returns += 1;
        self.parts.states.set(State::Fallback, Some(core.reason.clone()));
        self.parts.runtime.spawn(replay::come_back(self.me.clone(), core.returns));
    }

    /// The memory's answer, if it is the memory that answers.
    fn answer_from_memory(&self, command: &Command<'_>) -> Option<Answer> {
        let mut core = self.core();
        if core.mode != Mode::Memory {
            return None;
        }
        self.look_for_server(&mut core);
        let journal = &mut core.journal;
        let sink = memory_command(command, |command| self.memory.with(|db| carry_out(db, command, journal)));
        Some(Answer { sink, failure: None })
    }

    /// Waits until the door is not `mode` any more, or at most until `limit`.
    async fn wait_while(&self, mode: Mode, limit: Option<Instant>) -> Result<()> {
        let mut changed = self.changed.subscribe();
        // An error means that the sender is gone, and it is here.
        let waited = async { drop(changed.wait_for(|now| *now != mode).await) };
        match limit {
            None => waited.await,
            Some(limit) => timeout_at(limit, waited).await.map_err(|_| {
                Error::new(
                    Kind::Timeout,
                    "the time limit passed while the server got what was done without it",
                )
            })?,
        }
        Ok(())
    }
}
