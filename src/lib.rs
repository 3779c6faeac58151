//! The core of `redis-bulk`: bulk work against Redis from Node.js.
//!
//! Everything but `binding` builds without Node (`--no-default-features`). Arrows between modules point one way:
//! `error` ← `panic`, `config`, `batch`, `budget`, `state` (and `compress`) ← `resp` ← `store` ← `metrics`, `ops` ← `client` ←
//! `runtime` ← `binding`.

pub mod batch;
#[cfg(feature = "binding")]
mod binding;
pub mod budget;
pub mod client;
pub mod compress;
pub mod config;
pub mod error;
pub mod metrics;
pub mod ops;
pub mod panic;
pub mod resp;
pub mod runtime;
pub mod state;
pub mod store;
