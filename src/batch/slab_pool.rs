//! Memory of slabs, used again while it is warm.
//!
//! What is freed in pieces of this size goes back to the system, and each page of the next slab is then faulted in
//! and zeroed: 0.9 of the 1.7 ms that the runtime's thread took for a look-up of 10,000 values (docs/architecture.md).

use super::values::SLAB_BYTES;
use std::sync::{Mutex, PoisonError};

/// Slabs that are kept at most, for all clients: 2 MiB, about as many as are under way between the two threads.
const MOST_KEPT: usize = 32;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// What a slab has room for: its values, and for a JSON array of them what stands in between.
const ROOM: usize = SLAB_BYTES + 8 * 1024;

/// An empty slab with room for [`SLAB_BYTES`] and a little more.
pub(crate) fn take() -> Vec<u8> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.unwrap_or_else(|| Vec::with_capacity(ROOM))
}

/// A slab if that has room for so many bytes, else memory of its own.
pub(crate) fn take_for(bytes: usize) -> Vec<u8> {
    if (ROOM / 4..=ROOM).contains(&bytes) { take() } else { Vec::with_capacity(bytes) }
}

/// Keeps the memory if it is a slab's and there is room for it.
pub(crate) fn give_back(mut slab: Vec<u8>) {
    if !(ROOM..2 * ROOM).contains(&slab.capacity()) {
        return;
    }
    slab.clear();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < MOST_KEPT {
        kept.push(slab);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slabs_are_kept_and_they_come_back_empty() {
        give_back(vec![1; 100]);
        give_back(Vec::with_capacity(2 * ROOM));
        for _ in 0..2 * MOST_KEPT {
            let mut slab = Vec::with_capacity(ROOM);
            slab.push(1);
            give_back(slab);
        }
        let taken: Vec<_> = (0..2 * MOST_KEPT).map(|_| take()).collect();
        assert!(taken.iter().all(|slab| slab.is_empty() && slab.capacity() >= ROOM));
    }
}
