//! The embedded store: strings with a time to live, bounded by bytes, the least recently used going first.
//!
//! It answers by a Redis server's rules, behind one lock and without I/O. A ready-made LRU map would not serve: SCAN
//! has to go on from a number, in bounded steps, without missing a key that is there all along, while entries come
//! and go and the hash index is rebuilt. Here entries stay in numbered slots for as long as they live, a cursor is a
//! slot number, and the index only maps hashes to slot numbers.
//!
//! | module | knows |
//! |---|---|
//! | `slab` | slots, the order of use, the free list |
//! | `db` | the table: index, limits, eviction, scan |
//! | `deadlines` | which deadlines may have passed, where the sweep stands |
//! | `glob` | Redis's glob dialect |
//! | `command` | any other command; its folder has the options and the error texts |
//! | `clock` | time, real or moved by a test |

mod clock;
mod command;
mod db;
mod deadlines;
mod glob;
mod slab;
mod terms;

use std::sync::{Mutex, PoisonError};

pub use clock::{Clock, ManualClock};
pub use command::command;
pub(crate) use command::{Change, changes, may_be_done_again};
pub use db::Db;
pub use glob::Glob;
pub use terms::{Condition, Expiry, SetOutcome, Ttl};

/// What the store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of all keys and values, plus [`Limits::ENTRY_OVERHEAD`] for each entry. Default 256 MiB.
    pub max_bytes: usize,
    /// Number of entries; `None` (default): bounded by bytes alone. Zero counts as one.
    pub max_entries: Option<usize>,
}

impl Limits {
    /// Bytes that an entry occupies besides its key and its value.
    pub const ENTRY_OVERHEAD: usize = db::ENTRY_OVERHEAD;

    /// Limits of `max_bytes` bytes and, where given, `max_entries` entries.
    pub fn new(max_bytes: usize, max_entries: Option<usize>) -> Self {
        Limits { max_bytes, max_entries }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new(256 << 20, None)
    }
}

/// A [`Db`] that threads share.
///
/// ```
/// use redis_bulk::store::memory::{Condition, Limits, MemoryStore};
///
/// let store = MemoryStore::new(Limits::default());
/// store.with(|db| db.set(b"greeting", b"hello", None, Condition::Always));
/// assert_eq!(store.with(|db| db.get(b"greeting").map(<[u8]>::to_vec)), Some(b"hello".to_vec()));
/// ```
#[derive(Debug)]
pub struct MemoryStore(Mutex<Db>);

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        MemoryStore::with_clock(limits, Clock::system())
    }

    /// An empty store whose time is `clock`'s.
    pub fn with_clock(limits: Limits, clock: Clock) -> Self {
        MemoryStore(Mutex::new(Db::new(limits, clock)))
    }

    /// Runs `f` alone with the table. The clock is read once, on entry: within one call time stands still, as it does
    /// for a server within one command, and a bulk call does not pay for it by key.
    ///
    /// A panic of an earlier `f` leaves the table in use: each of its operations is complete before it calls out.
    pub fn with<R>(&self, f: impl FnOnce(&mut Db) -> R) -> R {
        let mut db = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        db.tick();
        f(&mut db)
    }
}
