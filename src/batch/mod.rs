//! The packed forms in which keys and values cross the boundary and wait for the wire. Pure: no I/O, no threads.

mod decoded;
mod json;
mod keys;
mod objects;
mod packed;
mod plan;
pub mod shape;
pub(crate) mod slab_pool;
mod values;

pub use decoded::{Decoded, Form, MAX_STRING, Text, text_of};
pub use json::{split_array, validate};
pub use keys::{Entries, Expiry, Keys};
pub use objects::Objects;
pub use packed::{Packed, SEPARATOR};
pub use plan::{ChunkLimits, chunks};
pub use values::{Place, Slab, Values};

/// One item's failure: what an `ItemError` is made of, but for the key, which the caller knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ItemFailure {
    /// Position in the caller's array.
    pub index: u32,
    /// What happened.
    pub error: crate::error::Error,
}

impl ItemFailure {
    /// The failure of the item at `index`.
    pub fn new(index: u32, error: crate::error::Error) -> Self {
        Self { index, error }
    }
}
