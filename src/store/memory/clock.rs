//! Time as the embedded store sees it, so that a test can move it instead of sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Two readings of time: a monotonic one, by which entries expire, and the wall clock, which only translates
/// absolute times (`EXAT`, `PXAT`) and answers `TIME`. Setting the machine's clock therefore expires nothing.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { start: Instant },
    Manual(ManualClock),
}

impl Clock {
    /// The machine's own clocks.
    pub fn system() -> Self {
        Clock(Source::System { start: Instant::now() })
    }

    /// A clock that stands still until `hand` moves it.
    pub fn manual(hand: &ManualClock) -> Self {
        Clock(Source::Manual(hand.clone()))
    }

    /// Milliseconds since an arbitrary fixed point; never goes back.
    pub(super) fn monotonic_ms(&self) -> u64 {
        match &self.0 {
            Source::System { start } => whole_ms(start.elapsed()),
            Source::Manual(hand) => hand.0.load(Ordering::Relaxed),
        }
    }

    /// Time since 1 January 1970, UTC. A machine set to an earlier date reads as that day.
    pub(super) fn wall(&self) -> Duration {
        match &self.0 {
            Source::System { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Source::Manual(hand) => Duration::from_millis(MANUAL_EPOCH_MS + hand.0.load(Ordering::Relaxed)),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::system()
    }
}

/// Wall time at which a manual clock starts, in milliseconds: any date that is plainly not 1970 will do.
const MANUAL_EPOCH_MS: u64 = 1_700_000_000_000;

/// The hand that moves a [`Clock::manual`].
///
/// ```
/// use redis_bulk::store::memory::{Clock, Limits, ManualClock, MemoryStore};
///
/// let hand = ManualClock::default();
/// let store = MemoryStore::with_clock(Limits::default(), Clock::manual(&hand));
/// store.with(|db| db.set(b"key", b"value", Some(50), Default::default()));
/// hand.advance(50);
/// assert!(store.with(|db| db.get(b"key").is_none()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Moves both readings forward by `ms` milliseconds.
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
