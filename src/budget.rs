//! The bound on bytes that wait in memory: requests until their calls settle, replies until JavaScript has them.

use crate::error::{Error, Kind, Result};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

/// What one client may hold.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    /// The longest wait for room.
    patience: Duration,
    requests: AtomicUsize,
    replies: AtomicUsize,
    /// Calls wait in the order in which they came: tokio's lock is fair.
    turn: Arc<Mutex<()>>,
    freed: Notify,
}

/// The turn of a call that waited for room before its bytes were there. Until it holds them, or gives the turn up by
/// dropping this, nobody else gets room.
#[derive(Debug)]
pub struct Admission {
    budget: Arc<Budget>,
    turn: OwnedMutexGuard<()>,
}

impl Admission {
    /// Holds the call's bytes and lets the next one have its turn.
    pub fn hold(self, bytes: usize) -> Held {
        let held = self.budget.hold(Side::Request, bytes);
        drop(self.turn);
        held
    }
}

/// Which of the two counts.
#[derive(Clone, Copy, Debug)]
enum Side {
    Request,
    Reply,
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    side: Side,
    bytes: usize,
}

impl Budget {
    /// Room for `limit` bytes; a call waits for it at most for `patience`.
    pub fn new(limit: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            patience,
            requests: AtomicUsize::new(0),
            replies: AtomicUsize::new(0),
            turn: Arc::default(),
            freed: Notify::new(),
        })
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.requests.load(Ordering::Acquire) + self.replies.load(Ordering::Acquire)
    }

    /// Holds a request's bytes if there is room at once and nobody waits for it.
    pub fn try_request(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let _turn = self.turn.try_lock().ok()?;
        (self.used() < self.limit).then(|| self.hold(Side::Request, bytes))
    }

    /// Holds a request's bytes as soon as anything is free: one call may be larger than the limit, but not the second.
    ///
    /// # Errors
    /// `Overloaded` when nothing was freed in time, `Timeout` where the caller had less.
    pub async fn request(self: &Arc<Self>, bytes: usize, limit: Option<Instant>) -> Result<Held> {
        let wait = async {
            let _turn = self.turn.lock().await;
            self.until(|| self.used() < self.limit).await;
            self.hold(Side::Request, bytes)
        };
        self.within(limit, wait).await
    }

    /// Whether a request would be held at once.
    pub fn has_room(&self) -> bool {
        self.used() < self.limit && self.turn.try_lock().is_ok()
    }

    /// Waits for room before the bytes are there, in the same order as [`Budget::request`]: who waits for long is not to
    /// have its bytes in memory meanwhile.
    ///
    /// # Errors
    /// As [`Budget::request`].
    pub async fn admission(self: &Arc<Self>, limit: Option<Instant>) -> Result<Admission> {
        let wait = async {
            let turn = self.turn.clone().lock_owned().await;
            self.until(|| self.used() < self.limit).await;
            Admission { budget: self.clone(), turn }
        };
        self.within(limit, wait).await
    }

    /// Holds a reply's bytes, which are there already.
    pub fn reply(self: &Arc<Self>, bytes: usize) -> Held {
        self.hold(Side::Reply, bytes)
    }

    /// Waits until replies leave room for more of them.
    ///
    /// # Errors
    /// `Overloaded` when nobody took them in time, `Timeout` where the caller had less.
    pub async fn room_for_replies(&self, limit: Option<Instant>) -> Result<()> {
        let room = self.until(|| self.replies.load(Ordering::Acquire) < self.limit);
        self.within(limit, room).await
    }

    /// Waits no longer than its own patience and the caller's.
    async fn within<T>(&self, limit: Option<Instant>, wait: impl Future<Output = T>) -> Result<T> {
        let patience = Instant::now() + self.patience;
        match limit.filter(|limit| *limit < patience) {
            None => timeout_at(patience, wait).await.map_err(|_| self.overloaded()),
            Some(limit) => timeout_at(limit, wait).await.map_err(|_| {
                Error::new(
                    Kind::Timeout,
                    "the time limit of the call passed while it waited for room in memory",
                )
            }),
        }
    }

    async fn until(&self, room: impl Fn() -> bool) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if room() {
                return;
            }
            freed.await;
        }
    }

    fn hold(self: &Arc<Self>, side: Side, bytes: usize) -> Held {
        self.count(side).fetch_add(bytes, Ordering::AcqRel);
        Held { budget: self.clone(), side, bytes }
    }

    fn count(&self, side: Side) -> &AtomicUsize {
        match side {
            Side::Request => &self.requests,
            Side::Reply => &self.replies,
        }
    }

    fn overloaded(&self) -> Error {
        let text = format!("{} bytes wait in memory, the limit is {}", self.used(), self.limit);
        Error::new(Kind::Overloaded, text)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.count(self.side).fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn calls_wait_in_order_and_then_fail() {
        runtime().block_on(async {
            let budget = Budget::new(100, Duration::from_millis(50));
            // One call may be larger than the limit.
            let large = budget.request(500, None).await.expect("there is room");
            assert!(budget.try_request(1).is_none());
            assert_eq!(
                budget.request(1, None).await.map(drop).map_err(|error| error.code().to_owned()),
                Err("OVERLOADED".into())
            );
            let (first, second) = (budget.request(60, None), budget.request(60, None));
            tokio::pin!(first, second);
            tokio::select! {
                biased;
                _ = &mut first => panic!("there is no room"),
                _ = &mut second => panic!("there is no room"),
                () = std::future::ready(()) => {}
            }
            drop(large);
            let first = first.await.expect("its turn");
            let second = second.await.expect("60 of 100 leave room for one more");
            assert_eq!(budget.used(), 120);
            drop((first, second));
            assert_eq!(budget.used(), 0);
        });
    }

    #[test]
    fn an_admission_is_a_turn_in_the_same_order() {
        runtime().block_on(async {
            let budget = Budget::new(100, Duration::from_millis(500));
            assert!(budget.has_room());
            let large = budget.request(100, None).await.expect("there is room");
            assert!(!budget.has_room());
            let (admission, request) = (budget.admission(None), budget.request(1, None));
            tokio::pin!(admission, request);
            tokio::select! {
                biased;
                _ = &mut admission => panic!("there is no room"),
                _ = &mut request => panic!("there is no room"),
                () = std::future::ready(()) => {}
            }
            drop(large);
            let admission = admission.await.expect("its turn");
            assert!(!budget.has_room() && budget.try_request(1).is_none());
            let held = admission.hold(60);
            let request = request.await.expect("its turn");
            assert_eq!(budget.used(), 61);
            drop((held, request));
            // Given up: the next one has its turn.
            drop(budget.admission(None).await);
            assert!(budget.has_room());
        });
    }

    #[test]
    fn replies_make_further_ones_wait() {
        runtime().block_on(async {
            let budget = Budget::new(100, Duration::from_millis(50));
            let held = budget.reply(100);
            assert!(budget.room_for_replies(None).await.is_err());
            drop(held);
            assert!(budget.room_for_replies(None).await.is_ok());
        });
    }
}
