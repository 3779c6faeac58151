//! The few Node-API calls of the hot path, each behind a safe face.
//!
//! napi-rs converts one value at a time into owned Rust types, which is what made the naive addon slow; here whole
//! batches cross in one string or one typed array.

use super::external;
use crate::batch::SEPARATOR;
use napi::{Env, Error, Result, Status, sys};
use std::ffi::c_void;
use std::ptr;

/// Fails with the status of a Node-API call.
pub(super) fn check(status: sys::napi_status, what: &str) -> Result<()> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Error::new(Status::from(status), what.to_owned()))
    }
}

/// Makes JavaScript values on the JavaScript thread.
#[derive(Clone, Copy)]
pub(super) struct Js(sys::napi_env);

/// A value in the current handle scope.
pub(super) type Value = sys::napi_value;

/// What pieces of a text are.
#[derive(Clone, Copy)]
pub(super) enum Pieces {
    /// Items with [`SEPARATOR`] between them; it also belongs between two pieces.
    Separated,
    /// JSON arrays without white space, whose elements are those of one array.
    JsonArrays,
}

/// Spare bytes behind a text, so that the end mark and a last long character do not cut.
const SPARE: usize = 4;

impl Js {
    /// # Safety
    /// `env` is the environment of the calling thread, inside an open handle scope that outlives every value made.
    pub(super) unsafe fn new(env: sys::napi_env) -> Self {
        Self(env)
    }

    pub(super) fn of(env: &Env) -> Self {
        Self(env.raw())
    }

    pub(super) fn undefined(self) -> Result<Value> {
        self.make("undefined", |env, value| {
            // SAFETY: `env` is this thread's (see `new`), `value` a place for the result.
            unsafe { sys::napi_get_undefined(env, value) }
        })
    }

    pub(super) fn null(self) -> Result<Value> {
        // SAFETY: as in `undefined`.
        self.make("null", |env, value| unsafe { sys::napi_get_null(env, value) })
    }

    pub(super) fn boolean(self, truth: bool) -> Result<Value> {
        // SAFETY: as in `undefined`.
        self.make("boolean", |env, value| unsafe { sys::napi_get_boolean(env, truth, value) })
    }

    pub(super) fn number(self, number: f64) -> Result<Value> {
        // SAFETY: as in `undefined`.
        self.make("number", |env, value| unsafe { sys::napi_create_double(env, number, value) })
    }

    /// A string from bytes that are characters.
    pub(super) fn latin1(self, text: &[u8]) -> Result<Value> {
        // SAFETY: as in `undefined`; the text is copied before the call returns.
        self.make("string", |env, value| unsafe {
            sys::napi_create_string_latin1(env, text.as_ptr().cast(), text.len() as isize, value)
        })
    }

    /// A string from bytes that are characters; a long one is not copied.
    pub(super) fn latin1_owned(self, text: Vec<u8>) -> Result<Value> {
        // SAFETY: this thread's environment and scope (see `new`).
        unsafe { external::latin1(self.0, text) }.or_else(|text| self.latin1(&text))
    }

    /// A string from UTF-16 units; a long one is not copied.
    pub(super) fn utf16_owned(self, text: Vec<u16>) -> Result<Value> {
        // SAFETY: as in `latin1_owned`.
        unsafe { external::utf16(self.0, text) }.or_else(|text| self.utf16(&text))
    }

    /// A string from UTF-16 units.
    pub(super) fn utf16(self, text: &[u16]) -> Result<Value> {
        // SAFETY: as in `latin1`.
        self.make("string", |env, value| unsafe {
            sys::napi_create_string_utf16(env, text.as_ptr(), text.len() as isize, value)
        })
    }

    /// A string from UTF-8.
    pub(super) fn string(self, text: &str) -> Result<Value> {
        // SAFETY: as in `latin1`.
        self.make("string", |env, value| unsafe {
            sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, value)
        })
    }

    /// An array of these values.
    pub(super) fn array(self, elements: &[Value]) -> Result<Value> {
        let array = self.make("array", |env, value| {
            // SAFETY: as in `undefined`.
            unsafe { sys::napi_create_array_with_length(env, elements.len(), value) }
        })?;
        for (index, element) in elements.iter().enumerate() {
            // SAFETY: array and element are values of this environment and scope.
            check(unsafe { sys::napi_set_element(self.0, array, index as u32, *element) }, "array element")?;
        }
        Ok(array)
    }

    /// A Buffer with a copy of these bytes.
    pub(super) fn buffer(self, bytes: &[u8]) -> Result<Value> {
        // SAFETY: as in `latin1`; the place of the copy is not asked for.
        self.make("buffer", |env, value| unsafe {
            sys::napi_create_buffer_copy(env, bytes.len(), bytes.as_ptr().cast(), ptr::null_mut(), value)
        })
    }

    /// An Int32Array with a copy of these numbers.
    pub(super) fn int32_array(self, numbers: &[i32]) -> Result<Value> {
        self.typed_array_of(numbers, sys::TypedarrayType::int32_array)
    }

    /// A Float64Array with a copy of these numbers.
    pub(super) fn float64_array(self, numbers: &[f64]) -> Result<Value> {
        self.typed_array_of(numbers, sys::TypedarrayType::float64_array)
    }

    /// `kind` is that of `T`.
    fn typed_array_of<T: Copy>(self, numbers: &[T], kind: sys::napi_typedarray_type) -> Result<Value> {
        let mut data: *mut c_void = ptr::null_mut();
        let buffer = self.make("array buffer", |env, value| {
            // SAFETY: as in `undefined`; `data` receives the new buffer's memory.
            unsafe { sys::napi_create_arraybuffer(env, size_of_val(numbers), &mut data, value) }
        })?;
        if !numbers.is_empty() {
            // SAFETY: the new buffer has room for exactly these numbers and nobody else has it yet.
            unsafe {
                ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), data.cast(), size_of_val(numbers))
            };
        }
        self.make("typed array", |env, value| {
            // SAFETY: the buffer holds `numbers.len()` elements of this type from offset 0.
            unsafe { sys::napi_create_typedarray(env, kind, numbers.len(), buffer, 0, value) }
        })
    }

    fn make(
        self,
        what: &str,
        create: impl FnOnce(sys::napi_env, *mut Value) -> sys::napi_status,
    ) -> Result<Value> {
        let mut value = ptr::null_mut();
        check(create(self.0, &mut value), what)?;
        Ok(value)
    }

    /// The text of a JavaScript string of `units` UTF-16 units, as UTF-8.
    pub(super) fn text(self, value: Value, units: usize) -> Result<Vec<u8>> {
        let mut text = Vec::with_capacity(units + SPARE);
        self.append_text(value, units, &mut text)?;
        Ok(text)
    }

    /// The one text that the strings of an array are pieces of, as UTF-8. It has about `units` UTF-16 units.
    pub(super) fn pieces(self, array: Value, units: usize, form: Pieces) -> Result<Vec<u8>> {
        let mut count = 0;
        // SAFETY: `array` is a value of this environment.
        check(unsafe { sys::napi_get_array_length(self.0, array, &mut count) }, "an array was expected")?;
        let mut text = Vec::with_capacity(units + SPARE);
        for index in 0..count {
            let piece =
                // SAFETY: `array` is a value of this environment, `value` a place for the element.
                self.make("piece", |env, value| unsafe { sys::napi_get_element(env, array, index, value) })?;
            let mut length = 0;
            // SAFETY: without room for the text only its length is asked for.
            let status =
                unsafe { sys::napi_get_value_string_utf16(self.0, piece, ptr::null_mut(), 0, &mut length) };
            check(status, "a string was expected")?;
            match form {
                _ if index == 0 => {}
                Pieces::Separated => text.push(SEPARATOR),
                Pieces::JsonArrays => drop(text.pop()),
            }
            let start = text.len();
            self.append_text(piece, length, &mut text)?;
            match (form, text.get_mut(start)) {
                // In the place of the brackets that closed the array before and opened this one.
                (Pieces::JsonArrays, Some(bracket)) if index > 0 => *bracket = b',',
                (Pieces::JsonArrays | Pieces::Separated, _) => {}
            }
        }
        Ok(text)
    }

    fn append_text(self, value: Value, units: usize, out: &mut Vec<u8>) -> Result<()> {
        // V8 copies a string of ASCII at the speed of memory when the room is its length; only other text needs the
        // room for three bytes a unit.
        let start = out.len();
        self.append_within(value, units + SPARE, out)?;
        let text = out.get(start..).unwrap_or(&[]);
        let complete = if text.len() <= units {
            text.len() == units && text.is_ascii()
        } else {
            units_of(text) == units
        };
        if complete || units == 0 {
            return Ok(());
        }
        out.truncate(start);
        self.append_within(value, units * 3 + SPARE, out)
    }

    fn append_within(self, value: Value, room: usize, out: &mut Vec<u8>) -> Result<()> {
        out.reserve(room);
        let mut written = 0;
        // SAFETY: `room` bytes may be written after what is there, the end mark among them; what was written is
        // initialised.
        unsafe {
            let place = out.as_mut_ptr().add(out.len());
            let status = sys::napi_get_value_string_utf8(self.0, value, place.cast(), room, &mut written);
            check(status, "a string was expected")?;
            out.set_len(out.len() + written);
        }
        Ok(())
    }

    /// The bytes of a Uint8Array or Buffer, copied.
    pub(super) fn bytes(self, value: Value) -> Result<Vec<u8>> {
        self.view(value, sys::TypedarrayType::uint8_array, <[u8]>::to_vec)
    }

    /// The numbers of a Uint32Array, copied.
    pub(super) fn uint32s(self, value: Value) -> Result<Vec<u32>> {
        self.view(value, sys::TypedarrayType::uint32_array, <[u32]>::to_vec)
    }

    /// The numbers of a Float64Array, copied.
    pub(super) fn float64s(self, value: Value) -> Result<Vec<f64>> {
        self.view(value, sys::TypedarrayType::float64_array, <[f64]>::to_vec)
    }

    /// The memory of an Int32Array, for as long as the caller keeps the array alive.
    pub(super) fn int32_memory(self, value: Value) -> Result<(*mut i32, usize)> {
        let (data, length) = self.typed_array(value, sys::TypedarrayType::int32_array)?;
        Ok((data.cast(), length))
    }

    fn view<T, R>(
        self,
        value: Value,
        kind: sys::napi_typedarray_type,
        read: impl FnOnce(&[T]) -> R,
    ) -> Result<R> {
        let (data, length) = self.typed_array(value, kind)?;
        if length == 0 {
            return Ok(read(&[]));
        }
        // SAFETY: V8 gave the memory of `length` elements of this type; no JavaScript runs while it is borrowed.
        Ok(read(unsafe { std::slice::from_raw_parts(data.cast::<T>(), length) }))
    }

    fn typed_array(self, value: Value, wanted: sys::napi_typedarray_type) -> Result<(*mut c_void, usize)> {
        let (mut kind, mut length, mut data) = (0, 0, ptr::null_mut());
        // SAFETY: `value` is a value of this environment; every result has its place or is not asked for.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.0,
                value,
                &mut kind,
                &mut length,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(status, "a typed array was expected")?;
        if kind != wanted {
            return Err(Error::new(Status::InvalidArg, "a typed array of another type was expected"));
        }
        Ok((data, length))
    }

    /// Forgets the exception that a failed call may have left.
    pub(super) fn clear_exception(self) {
        let mut exception = ptr::null_mut();
        // SAFETY: this thread's environment; without an exception the call does nothing of note.
        unsafe { sys::napi_get_and_clear_last_exception(self.0, &mut exception) };
    }

    /// Whether the value is a string.
    pub(super) fn is_string(self, value: Value) -> Result<bool> {
        Ok(self.kind(value)? == sys::ValueType::napi_string)
    }

    /// Whether the value is an array.
    pub(super) fn is_array(self, value: Value) -> Result<bool> {
        let mut is_array = false;
        // SAFETY: `value` is a value of this environment.
        check(unsafe { sys::napi_is_array(self.0, value, &mut is_array) }, "a value was expected")?;
        Ok(is_array)
    }

    /// Whether the value is undefined.
    pub(super) fn is_undefined(self, value: Value) -> Result<bool> {
        Ok(self.kind(value)? == sys::ValueType::napi_undefined)
    }

    fn kind(self, value: Value) -> Result<sys::napi_valuetype> {
        let mut kind = 0;
        // SAFETY: `value` is a value of this environment.
        check(unsafe { sys::napi_typeof(self.0, value, &mut kind) }, "a value was expected")?;
        Ok(kind)
    }
}

/// UTF-16 units of UTF-8 text.
fn units_of(text: &[u8]) -> usize {
    // Every byte that is not a continuation starts a character; those of four bytes take two units.
    text.iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}
