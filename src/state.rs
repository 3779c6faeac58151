//! What state a client's connection is in, and who wants to know.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// State of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No connection, and nothing needed one yet.
    #[default]
    Idle,
    /// Connecting for the first time.
    Connecting,
    /// Connected.
    Ready,
    /// The connection was lost or could not be made; it is made again for the next command.
    Reconnecting,
    /// The server is away, and the embedded store answers in its place.
    Fallback,
    /// Closed.
    Closed,
}

impl State {
    /// As users see it.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connecting => "connecting",
            State::Ready => "ready",
            State::Reconnecting => "reconnecting",
            State::Fallback => "fallback",
            State::Closed => "closed",
        }
    }
}

/// From one state to another.
#[derive(Clone, Debug)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// Returns false when it is not interested any more.
type Listener = Box<dyn Fn(&Change) -> bool + Send>;

#[derive(Default)]
/// Guards nothing that a panic could leave half done.
struct Inner {
    state: State,
    listeners: Vec<Listener>,
    reconnects: u64,
    was_ready: bool,
}

/// The state of a client's connection.
#[derive(Default)]
pub struct States(Mutex<Inner>);

impl States {
    /// The present one.
    pub fn get(&self) -> State {
        self.inner().state
    }

    /// Connections made again after the first.
    pub fn reconnects(&self) -> u64 {
        self.inner().reconnects
    }

    /// Whether there was a connection before.
    pub fn was_ready(&self) -> bool {
        self.inner().was_ready
    }

    /// Tells `listener` of every change until it returns false.
    pub fn listen(&self, listener: Listener) {
        self.inner().listeners.push(listener);
    }

    /// A connection is being made: the first, or another after a loss.
    pub fn connecting(&self) {
        let next = if self.inner().was_ready { State::Reconnecting } else { State::Connecting };
        self.set(next, None);
    }

    /// Moves to a state and tells the listeners.
    pub fn set(&self, to: State, reason: Option<String>) {
        let mut inner = self.inner();
        let from = inner.state;
        if from == to {
            return;
        }
        inner.state = to;
        match to {
            State::Ready => {
                inner.reconnects += u64::from(inner.was_ready);
                inner.was_ready = true;
            }
            State::Idle | State::Connecting | State::Reconnecting | State::Fallback | State::Closed => {}
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let change = Change { from, to, reason, at: now.as_millis() as u64 };
        inner.listeners.retain(|listener| listener(&change));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
