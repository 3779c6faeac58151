//! Strings whose characters stay in the core's memory.
//!
//! V8 copies what it makes a string from, and copies it again at its first two collections of young objects. An
//! external string is a small object that points to the characters. The functions that make one are part of Node-API
//! version 10; Node has exported them since 18.18, so they are looked up and strings are copied where there are none.

use super::js::Value;
use napi::sys;
use once_cell::sync::Lazy;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shorter texts are copied: a small object with a finaliser costs more than they do.
const SHORTEST: usize = 4 * 1024;

type Create<Unit> = unsafe extern "C" fn(
    sys::napi_env,
    *const Unit,
    isize,
    sys::napi_finalize,
    *mut c_void,
    *mut Value,
    *mut bool,
) -> sys::napi_status;

struct Functions {
    latin1: Create<u8>,
    utf16: Create<u16>,
}

#[cfg(unix)]
static FUNCTIONS: Lazy<Option<Functions>> = Lazy::new(|| {
    // SAFETY: look-ups by name among what the process has loaded; the types are those of Node's documentation.
    unsafe {
        let latin1 = libc::dlsym(libc::RTLD_DEFAULT, c"node_api_create_external_string_latin1".as_ptr());
        let utf16 = libc::dlsym(libc::RTLD_DEFAULT, c"node_api_create_external_string_utf16".as_ptr());
        if latin1.is_null() || utf16.is_null() {
            return None;
        }
        Some(Functions {
            latin1: std::mem::transmute::<*mut c_void, Create<u8>>(latin1),
            utf16: std::mem::transmute::<*mut c_void, Create<u16>>(utf16),
        })
    }
});

#[cfg(not(unix))]
static FUNCTIONS: Lazy<Option<Functions>> = Lazy::new(|| None);

/// Set where the runtime is Node: others have the functions' names with rules of their own for the finaliser.
static IN_NODE: AtomicBool = AtomicBool::new(false);

/// Says whether the runtime is Node.
pub(super) fn allow(in_node: bool) {
    IN_NODE.store(in_node, Ordering::Relaxed);
}

fn usable(units: usize) -> Option<&'static Functions> {
    let worth_it = (SHORTEST..=crate::batch::MAX_STRING).contains(&units);
    if worth_it && IN_NODE.load(Ordering::Relaxed) { FUNCTIONS.as_ref() } else { None }
}

/// A string of bytes that are characters; the text back where it is to be copied.
///
/// # Safety
/// `env` is the environment of the calling thread, inside an open handle scope.
pub(super) unsafe fn latin1(env: sys::napi_env, text: Vec<u8>) -> Result<Value, Vec<u8>> {
    match usable(text.len()) {
        // SAFETY: the caller's promise.
        Some(functions) => unsafe { create(env, text, functions.latin1) },
        None => Err(text),
    }
}

/// A string of UTF-16 units; the text back where it is to be copied.
///
/// # Safety
/// As for [`latin1`].
pub(super) unsafe fn utf16(env: sys::napi_env, text: Vec<u16>) -> Result<Value, Vec<u16>> {
    match usable(text.len()) {
        // SAFETY: the caller's promise.
        Some(functions) => unsafe { create(env, text, functions.utf16) },
        None => Err(text),
    }
}

/// # Safety
/// As for [`latin1`]; `function` makes strings of such units.
unsafe fn create<Unit>(
    env: sys::napi_env,
    text: Vec<Unit>,
    function: Create<Unit>,
) -> Result<Value, Vec<Unit>> {
    let length = text.len() as isize;
    let bytes = size_of_val(text.as_slice()) as i64;
    // Before there is a string that it could collect. `free` takes it back.
    // SAFETY: the caller's promise.
    unsafe { account(env, bytes) };
    let start = text.as_ptr();
    let owner = Box::into_raw(Box::new(text));
    let (mut value, mut copied) = (ptr::null_mut(), false);
    // SAFETY: the characters live and stay unchanged until `free` gets their owner, which V8 calls when the string is
    // gone, or at once where it copied.
    let status =
        unsafe { function(env, start, length, Some(free::<Unit>), owner.cast(), &mut value, &mut copied) };
    if status == sys::Status::napi_ok {
        return Ok(value);
    }
    // Whether `free` may still be called is nowhere written: the owner is left to it, without the text.
    // SAFETY: it was not called yet, as no string was made.
    Err(unsafe {
        account(env, -bytes);
        std::mem::take(&mut *owner)
    })
}

/// On the thread of the string's isolate, perhaps while its memory is collected or after its environment has gone.
unsafe extern "C" fn free<Unit>(env: sys::napi_env, _start: *mut c_void, owner: *mut c_void) {
    // SAFETY: the pointer that `create` made, given back once.
    let text = unsafe { Box::from_raw(owner.cast::<Vec<Unit>>()) };
    if !env.is_null() {
        // SAFETY: null where the environment has gone. A negative change starts no collection, so it may come from one.
        unsafe { account(env, -(size_of_val(text.as_slice()) as i64)) };
    }
}

/// Of so many bytes V8 is told of one. It collects its whole heap for each 64 MB that it has been told of, which takes long
/// where the heap is large: told of all, look-ups of 100,000 values beside 250 MB of live objects held the event loop for
/// 200 ms every few calls.
const TOLD_OF_ONE_IN: i64 = 4;

/// Tells V8 of memory outside its heap that its objects keep. It does not see that of external strings: a look-up of
/// 100,000 values leaves some megabytes in the heap and many times that outside, which stayed until the heap was full.
///
/// # Safety
/// `env` is the environment of the calling thread.
unsafe fn account(env: sys::napi_env, change: i64) {
    let mut total = 0;
    // SAFETY: the caller's promise. A failure leaves V8 without the news, which it can do without.
    unsafe { sys::napi_adjust_external_memory(env, change / TOLD_OF_ONE_IN, &mut total) };
}
