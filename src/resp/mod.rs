//! The wire: commands out, replies in. Pure: bytes to bytes, no I/O.

pub mod encode;
mod reader;
mod sink;

pub use reader::{Handler, ProtocolError, Reader};
pub use sink::{Fault, Page, Reply, Sink, Status};
