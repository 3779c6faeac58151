//! What JavaScript's numbers and texts mean to the core.

use super::js::{Js, Pieces};
use crate::batch::Packed;
use crate::error::Error;
use crate::store::Bounds;
use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, Result, Status};
use std::time::Duration;
use tokio::time::Instant;

/// Bits of the look-up's `flags`.
pub(super) mod lookup_flags {
    pub(crate) const JSON: u32 = 1;
    pub(crate) const BUFFER: u32 = 2;
    pub(crate) const SCRIPT: u32 = 4;
    pub(crate) const PARTIAL: u32 = 8;
    /// With `JSON`: objects may come in parts.
    pub(crate) const OBJECTS: u32 = 16;
}

/// A text that crossed as a string or as an array of its pieces; `None` where it is neither.
pub(super) fn text(env: &Env, text: &Unknown<'_>, units: u32, form: Pieces) -> Result<Option<Vec<u8>>> {
    let (js, text, units) = (Js::of(env), text.raw(), units as usize);
    if js.is_string(text)? {
        js.text(text, units).map(Some)
    } else if js.is_array(text)? {
        js.pieces(text, units, form).map(Some)
    } else {
        Ok(None)
    }
}

/// Keys or values that crossed; `None` when an item contains the separator.
pub(super) fn packed(
    env: &Env,
    data: &Unknown<'_>,
    units: u32,
    count: u32,
    lengths: &Unknown<'_>,
) -> Result<Option<Packed>> {
    if let Some(text) = text(env, data, units, Pieces::Separated)? {
        return Ok(Packed::from_separated(text, count as usize));
    }
    let js = Js::of(env);
    let packed = Packed::from_lengths(js.bytes(data.raw())?, &js.uint32s(lengths.raw())?);
    match packed.filter(|packed| packed.len() == count as usize) {
        Some(packed) => Ok(Some(packed)),
        None => Err(napi::Error::new(Status::InvalidArg, "the lengths do not add up")),
    }
}

pub(super) fn nonzero(number: u32) -> Option<usize> {
    (number > 0).then_some(number as usize)
}

/// A caller's time limit; 0 is none.
pub(super) fn deadline(millis: f64) -> Option<Instant> {
    (millis > 0.0).then(|| Instant::now() + Duration::from_secs_f64(millis / 1e3))
}

pub(super) fn bounds(millis: f64) -> Bounds {
    Bounds::new(deadline(millis))
}

/// A configuration error, thrown at once. The code crosses in the message's first line.
pub(super) fn thrown(error: Error) -> napi::Error {
    napi::Error::new(Status::GenericFailure, format!("{}\n{}", error.code(), error.message()))
}
