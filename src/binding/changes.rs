//! Changes of keys on their way to JavaScript, which is told that there are some and takes them when it has time.

use super::completion::{Completion, Outcome};
use super::port::Port;
use crate::store::Watcher;
use serde_json::json;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names that wait. Beyond them all copies are dropped instead.
const MOST_KEYS: usize = 10_000;

/// What waits to be taken.
#[derive(Default)]
struct Waiting {
    on: bool,
    /// Any key may have changed.
    all: bool,
    keys: Vec<String>,
    /// JavaScript was told and has not come yet.
    told: bool,
}

/// Collects changes for one listener.
pub(super) struct Changes {
    port: Arc<Port>,
    id: u32,
    waiting: Mutex<Waiting>,
}

impl Changes {
    pub(super) fn new(port: Arc<Port>, id: u32) -> Arc<Self> {
        Arc::new(Self { port, id, waiting: Mutex::default() })
    }

    /// JSON with `on`, whether changes are told at the moment; `all`, whether any key may have changed; `keys`.
    pub(super) fn take(&self) -> String {
        let mut waiting = self.waiting();
        waiting.told = false;
        let keys = mem::take(&mut waiting.keys);
        json!({"on": waiting.on, "all": mem::take(&mut waiting.all), "keys": keys}).to_string()
    }

    fn update(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting();
        change(&mut waiting);
        if waiting.keys.len() > MOST_KEYS {
            waiting.keys.clear();
            waiting.all = true;
        }
        let tell = !mem::replace(&mut waiting.told, true);
        drop(waiting);
        if tell {
            self.port.complete(Completion { id: self.id, outcome: Ok(Outcome::Changed) });
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each change is complete before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Changes {
    fn tracking(&self, on: bool) {
        self.update(|waiting| {
            // What changed before, or changes from now on, is not told.
            waiting.all = true;
            waiting.on = on;
        });
    }

    fn changed(&self, keys: Option<Vec<Vec<u8>>>) {
        self.update(|waiting| match keys {
            // Keys of caches are text; others are nobody's copies.
            Some(keys) => waiting.keys.extend(keys.into_iter().filter_map(|key| String::from_utf8(key).ok())),
            None => waiting.all = true,
        });
    }
}
