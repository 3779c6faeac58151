//! The bulk operations, written once for every store.

mod command;
mod delete;
mod health;
mod lookup;
mod scan;
mod set;
mod window;

pub use command::command;
pub use delete::{DeleteOptions, DeleteOutcome, delete};
pub use health::{Server, health};
pub use lookup::{LookupOptions, Part, Strategy, lookup, small};
pub use scan::{ScanOptions, Scanner, scan};
pub use set::{SetOptions, SetOutcome, set};

use crate::budget::Budget;
use crate::error::{Error, Kind};
use crate::store::{Bounds, Failure, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// Lets the caller stop an operation before its next chunk.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Stops it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was stopped.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How far an operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Items looked at.
    pub scanned: usize,
    /// Items found or deleted.
    pub done: usize,
}

/// Where an operation runs and what bounds it.
pub struct Call {
    /// Repeats what may be repeated.
    pub store: Arc<dyn Store>,
    /// The caller's deadline for the whole operation, and its attempts.
    pub bounds: Bounds,
    /// Attempts that it may make in all.
    pub attempts: u32,
    /// Stops the operation.
    pub cancel: Cancel,
    /// Told of each chunk.
    pub on_progress: Option<Box<dyn Fn(Progress) + Send + Sync>>,
    /// What servers were found not to know, shared by all calls of a client.
    pub habits: Arc<Habits>,
    /// The bound on memory.
    pub budget: Arc<Budget>,
}

/// What was learnt about the server.
#[derive(Debug, Default)]
pub struct Habits {
    /// It has no UNLINK.
    pub no_unlink: AtomicBool,
    /// How often the look-up script was loaded; locked while it is.
    pub script_loads: tokio::sync::Mutex<u64>,
}

impl Call {
    /// The failure of what is not sent because the call's time is up.
    fn out_of_time(&self) -> Option<Failure> {
        self.bounds
            .limit()
            .is_some_and(|limit| limit <= Instant::now())
            .then(|| Failure::unsent(Error::new(Kind::Timeout, "the time limit of the call passed")))
    }

    fn progress(&self, scanned: usize, done: usize) {
        if let Some(on_progress) = &self.on_progress {
            on_progress(Progress { scanned, done });
        }
    }
}

/// `0..count` as items of a chunk.
fn indices(count: usize) -> Vec<u32> {
    (0..count as u32).collect()
}
