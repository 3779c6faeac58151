//! TLS for connections to servers, with rustls.
//!
//! A [`TlsStream`] reads and writes like a socket that never waits, so that a lane can run on it. What TLS needs to
//! know of the configuration is prepared once for each set of options and shared by all connections.

mod fault;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use fault::{explain, fault};
pub(crate) use settings::{check, settings};
pub(crate) use stream::TlsStream;
