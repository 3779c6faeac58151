//! Counters of a client.

use crate::error::Error;
use crate::store::Traffic;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Latency buckets: powers of two of a microsecond, each cut into this many.
const STEPS: usize = 8;
/// 2^40 µs are twelve days.
const BUCKETS: usize = 40 * STEPS;

/// Latencies of one operation, to within an eighth.
#[derive(Clone)]
struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), count: 0, sum: Duration::ZERO, max: Duration::ZERO }
    }
}

impl Histogram {
    fn record(&mut self, latency: Duration, calls: u32) {
        let micros = (latency.as_secs_f64() * 1e6).max(1.0);
        let bucket = ((micros.log2() * STEPS as f64) as usize).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += u64::from(calls);
        }
        self.count += u64::from(calls);
        self.sum = self.sum.saturating_add(latency.saturating_mul(calls));
        self.max = self.max.max(latency);
    }

    /// Milliseconds below which `share` of the calls stayed, by the middle of the bucket.
    fn quantile(&self, share: f64) -> f64 {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let micros = ((bucket as f64 + 0.5) / STEPS as f64).exp2();
                return (micros / 1e3).min(self.max.as_secs_f64() * 1e3);
            }
        }
        self.max.as_secs_f64() * 1e3
    }
}

/// Latency of one operation in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// Name of the operation.
    pub operation: &'static str,
    /// Calls.
    pub count: u64,
    /// Of all calls together.
    pub sum: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The slowest call.
    pub max: f64,
}

#[derive(Default)]
struct Tables {
    latency: BTreeMap<&'static str, Histogram>,
    errors: BTreeMap<String, u64>,
}

/// The counters.
#[derive(Default)]
pub struct Metrics {
    /// Keys and entries that callers passed.
    pub items: AtomicU64,
    /// Looked-up keys that were there.
    pub hits: AtomicU64,
    /// Looked-up keys that were not.
    pub misses: AtomicU64,
    traffic: Arc<Traffic>,
    retries: Arc<AtomicU64>,
    tables: Mutex<Tables>,
}

impl Metrics {
    /// Where connections count their bytes.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// Where repetitions are counted.
    pub fn retries(&self) -> Arc<AtomicU64> {
        self.retries.clone()
    }

    /// Counts settled calls that took equally long.
    pub fn call(&self, operation: &'static str, latency: Duration, calls: u32) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.latency.entry(operation).or_default().record(latency, calls);
    }

    /// Counts errors by code: of whole calls and of items.
    pub fn errors<'a>(&self, errors: impl Iterator<Item = &'a Error>) {
        let mut errors = errors.peekable();
        if errors.peek().is_none() {
            return;
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for error in errors {
            // Codes come from a server in the end: their number is bounded here.
            const MOST_CODES: usize = 64;
            let known = tables.errors.contains_key(error.code()) || tables.errors.len() < MOST_CODES;
            let code = if known { error.code() } else { "OTHER" };
            *tables.errors.entry(code.to_owned()).or_default() += 1;
        }
    }

    /// Calls and their latency, by operation.
    pub fn latencies(&self) -> Vec<Latency> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = tables.latency.iter().map(|(operation, histogram)| Latency {
            operation,
            count: histogram.count,
            sum: histogram.sum.as_secs_f64() * 1e3,
            p50: histogram.quantile(0.50),
            p95: histogram.quantile(0.95),
            p99: histogram.quantile(0.99),
            max: histogram.max.as_secs_f64() * 1e3,
        });
        rows.collect()
    }

    /// Errors by code.
    pub fn error_counts(&self) -> Vec<(String, u64)> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.errors.iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// Bytes sent and received.
    pub fn bytes(&self) -> (u64, u64) {
        (self.traffic.sent.load(Ordering::Relaxed), self.traffic.received.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth() {
        let metrics = Metrics::default();
        for millis in 1..=1000 {
            metrics.call("lookup", Duration::from_millis(millis), 1);
        }
        let rows = metrics.latencies();
        let row = &rows[0];
        assert_eq!((row.count, row.sum, row.max), (1000, 500_500.0, 1000.0));
        for (found, expected) in [(row.p50, 500.0), (row.p95, 950.0), (row.p99, 990.0)] {
            assert!((found / expected - 1.0).abs() < 0.125, "{found} for {expected}");
        }
    }
}
