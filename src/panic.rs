//! A panic is a fault of this package. It ends the call in which it happens, never the process, and never the wait of
//! somebody else. Where it happened stands on standard error, by Rust's own hook.

use crate::error::{Applied, Error, Kind, Result};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// What the call ends with. The panic's own text may quote keys or values and stays out of it.
pub fn fault() -> Error {
    Error::new(
        Kind::Internal,
        "a fault inside redis-bulk ended this call; standard error says where. Please report it",
    )
    .with_applied(Applied::Unknown)
}

/// Runs `work`; an error if it panics. What it had changed by then must be usable: every lock here holds state that
/// is, and reads it also when poisoned.
///
/// # Errors
/// `Internal`, with the outcome unknown.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        // A payload may have a destructor of its own, which may panic, too. What that leaves is given up.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        fault()
    })
}

/// The same for a future, which is not asked again once it has panicked.
///
/// # Errors
/// Its own; `Internal` if it panics.
pub async fn guarded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = pin!(work);
    poll_fn(|context| match caught(|| work.as_mut().poll(context)) {
        Ok(poll) => poll,
        Err(fault) => std::task::Poll::Ready(Err(fault)),
    })
    .await
}

/// Panics on purpose, at a place that a test names. In a binary without the feature `test-hooks` nothing of it is left.
#[cfg(feature = "test-hooks")]
pub mod hook {
    use std::sync::Mutex;
    use std::sync::PoisonError;

    /// Names of places at which the next passage panics, each once.
    static ARMED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// Lets the next passage of `place` panic.
    pub fn arm(place: String) {
        ARMED.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }

    /// Panics if `place` is armed. `scripts/check-binary.mjs` looks for this text in what is published.
    #[expect(clippy::panic, reason = "that is what it is for")]
    pub fn pass(place: &str) {
        let armed = {
            let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
            armed.iter().position(|each| each == place).map(|at| armed.swap_remove(at))
        };
        if armed.is_some() {
            panic!("on purpose, by redis-bulk's test-hooks, at {place}");
        }
    }
}

/// Nothing, in every binary that is published.
#[cfg(not(feature = "test-hooks"))]
pub mod hook {
    /// Does nothing.
    #[inline(always)]
    pub fn pass(_place: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(caught(|| 1).ok(), Some(1));
        let error = caught::<()>(|| panic!("on purpose, with secret")).expect_err("a fault");
        assert_eq!((error.kind(), error.applied()), (&Kind::Internal, Applied::Unknown));
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_future_that_panics_is_an_error() {
        let late = async {
            tokio::task::yield_now().await;
            panic!("on purpose")
        };
        assert_eq!(guarded::<()>(late).await.err().map(|error| error.kind().clone()), Some(Kind::Internal));
        assert_eq!(guarded(async { Ok(2) }).await.ok(), Some(2));
    }
}
