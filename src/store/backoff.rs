//! Waiting times between attempts.

use crate::config::Retry;
use std::time::Duration;

/// The wait before attempt `attempt + 1`, where the first attempt is 1: exponential up to the longest, with equal
/// jitter (half of it fixed, half random), so that many clients do not come back at the same moment.
pub(crate) fn delay(retry: &Retry, attempt: u32) -> Duration {
    let doubled = retry.base_delay.saturating_mul(1 << attempt.saturating_sub(1).min(30));
    let half = doubled.min(retry.max_delay) / 2;
    half + half.mul_f64(fastrand::f64())
}

/// The same for attempts that no caller waits for: at most a second, so that a server that is back is noticed soon.
pub(crate) fn background(retry: &Retry, attempt: u32) -> Duration {
    delay(retry, attempt).min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_stays_within_its_bounds() {
        let retry = Retry::default();
        for (attempt, longest) in [(1, 50), (2, 100), (3, 200), (7, 2000), (u32::MAX, 2000)] {
            for _ in 0..100 {
                let wait = delay(&retry, attempt);
                let longest = Duration::from_millis(longest);
                assert!(wait >= longest / 2 && wait <= longest, "attempt {attempt}: {wait:?}");
            }
        }
    }
}
