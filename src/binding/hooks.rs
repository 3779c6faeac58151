//! What only the tests of panics need; see the feature `test-hooks`.

use crate::panic::hook;
use napi_derive::napi;

/// Lets the next passage of `place` panic: `operation`, `settled`, `answer`, `reader`, `connect`, `call` or `delivery`.
#[napi]
pub(super) fn panic_at(place: String) {
    hook::arm(place);
}
