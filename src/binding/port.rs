//! The way back to JavaScript: one queue and one threadsafe function for each JavaScript environment that loaded the
//! library. However many operations settle at once, one wake delivers them all.

use super::completion::{Completion, Delivery};
use super::js::{Js, check};
use super::password::Questions;
use crate::panic::caught;
use napi::{Env, Result, sys};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where any thread leaves what has settled.
pub(super) struct Port {
    queue: Mutex<Vec<Completion>>,
    /// Whether a wake is under way that will see what is in the queue.
    signalled: AtomicBool,
    /// `None` once the environment is going away.
    function: Mutex<Option<Function>>,
    /// Operations whose completion has not been delivered. Touched by the JavaScript thread alone.
    pending: AtomicU32,
    /// For deliveries without a wake; null once the environment is going away.
    receiver: AtomicPtr<Receiver>,
    /// For passwords.
    pub(super) questions: Questions,
}

struct Function(sys::napi_threadsafe_function);

// SAFETY: a threadsafe function is made to be called from any thread.
unsafe impl Send for Function {}

/// What the JavaScript thread needs to deliver; owned by the threadsafe function.
struct Receiver {
    port: Arc<Port>,
    env: sys::napi_env,
    /// Strong while operations are pending. Otherwise the JavaScript that owns the callback may be forgotten: programs
    /// load the package again and again, test runners do for each file.
    callback: sys::napi_ref,
    /// What `async_hooks` sees as the origin of deliveries without a wake.
    context: sys::napi_async_context,
    /// Memory of the table that JavaScript reads; the callback keeps its array.
    table: *mut i32,
    table_length: usize,
}

impl Port {
    /// A port that calls `callback(words, text, extras)`; see [`Delivery`]. `table` is an Int32Array that lives as long as
    /// the callback.
    pub(super) fn open(env: &Env, callback: sys::napi_value, table: sys::napi_value) -> Result<Arc<Self>> {
        let js = Js::of(env);
        let (memory, table_length) = js.int32_memory(table)?;
        let port = Arc::new(Self {
            queue: Mutex::default(),
            signalled: AtomicBool::new(false),
            function: Mutex::new(None),
            pending: AtomicU32::new(0),
            receiver: AtomicPtr::new(ptr::null_mut()),
            questions: Questions::default(),
        });
        let name = js.latin1(b"redis-bulk")?;
        let (mut callback_reference, mut context) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: this thread's environment; both live until `finalize`.
        unsafe {
            check(sys::napi_create_reference(env.raw(), callback, 0, &mut callback_reference), "callback")?;
            check(sys::napi_async_init(env.raw(), ptr::null_mut(), name, &mut context), "async context")?;
        }
        let receiver = Box::into_raw(Box::new(Receiver {
            port: port.clone(),
            env: env.raw(),
            callback: callback_reference,
            context,
            table: memory,
            table_length,
        }));
        let mut function = ptr::null_mut();
        // SAFETY: the values are of this environment; `receiver` is freed by `finalize`, once, after the last call.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                ptr::null_mut(),
                ptr::null_mut(),
                name,
                0,
                1,
                receiver.cast(),
                Some(finalize),
                receiver.cast(),
                Some(deliver),
                &mut function,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: nobody else got the pointer.
            drop(unsafe { Box::from_raw(receiver) });
        }
        check(status, "threadsafe function")?;
        // An idle client keeps no process alive.
        // SAFETY: the function was just made in this environment.
        check(unsafe { sys::napi_unref_threadsafe_function(env.raw(), function) }, "unref")?;
        *port.function() = Some(Function(function));
        port.receiver.store(receiver, Ordering::Release);
        Ok(port)
    }

    /// Counts an operation that will be completed; while there are any the process stays alive. On the JavaScript
    /// thread only.
    pub(super) fn expect_completion(&self, env: &Env) {
        if self.pending.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        if let Some(function) = &*self.function() {
            // SAFETY: the function is alive while it stands there, and this is its environment's thread.
            unsafe { sys::napi_ref_threadsafe_function(env.raw(), function.0) };
        }
        // SAFETY: the pointer is valid until `finalize`, which runs on this thread and clears it.
        if let Some(receiver) = unsafe { self.receiver.load(Ordering::Acquire).as_ref() } {
            // SAFETY: the reference was made in this environment. The callback is there: its owner calls this.
            unsafe { sys::napi_reference_ref(env.raw(), receiver.callback, ptr::null_mut()) };
        }
    }

    /// Ends the way back: nobody is left to hear of anything. On the JavaScript thread only.
    pub(super) fn close(&self) {
        let function = self.function().take();
        self.questions.clear();
        if let Some(function) = function {
            // SAFETY: the function is alive until it is released, here and once: it has just been taken out.
            unsafe {
                sys::napi_release_threadsafe_function(function.0, sys::ThreadsafeFunctionReleaseMode::abort)
            };
        }
    }

    /// Leaves a completion and wakes JavaScript where it is not already on its way. From any thread.
    pub(super) fn complete(&self, completion: Completion) {
        lock(&self.queue).push(completion);
        if self.signalled.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut function = self.function();
        if let Some(Function(raw)) = &*function {
            // SAFETY: the function is alive while it stands there: `finalize` takes it out under this lock.
            let status = unsafe {
                sys::napi_call_threadsafe_function(
                    *raw,
                    ptr::null_mut(),
                    sys::ThreadsafeFunctionCallMode::nonblocking,
                )
            };
            if status != sys::Status::napi_ok {
                // The environment is closing: nobody is there to hear of it, and the function must not be used again.
                *function = None;
            }
        }
    }

    /// Runs `read` on the JavaScript thread, outside of any call from JavaScript, and delivers what it completes at
    /// once, without a wake.
    pub(super) fn collect<R>(&self, read: impl FnOnce() -> R) -> R {
        // As if a wake were under way: the delivery below is it.
        let under_way = self.signalled.swap(true, Ordering::AcqRel);
        let result = read();
        if under_way {
            return result;
        }
        // SAFETY: the pointer is valid until `finalize`, which runs on this thread and clears it.
        if let Some(receiver) = unsafe { self.receiver.load(Ordering::Acquire).as_ref() } {
            receiver.deliver_outside();
        }
        result
    }

    /// Whether nobody is left to hear of anything.
    pub(super) fn is_closed(&self) -> bool {
        self.function().is_none()
    }

    fn function(&self) -> MutexGuard<'_, Option<Function>> {
        lock(&self.function)
    }

    fn take(&self) -> Vec<Completion> {
        // First the flag, then the queue: what comes between the two is seen here and wakes once too often at worst.
        self.signalled.store(false, Ordering::Release);
        std::mem::take(&mut *lock(&self.queue))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// Delivers everything that has settled; `call` calls the callback with its arguments.
    fn deliver(&self, call: impl Fn(&[sys::napi_value]) -> sys::napi_status) {
        let completions = self.port.take();
        if completions.is_empty() {
            return;
        }
        let env = self.env;
        let settled = completions.iter().filter(|completion| completion.is_final()).count() as u32;
        // SAFETY: the table's memory is kept by the callback, is as long as said, and only this thread touches it
        // while this borrow lives: JavaScript runs only inside `call`, and has its numbers by then.
        let table = unsafe { std::slice::from_raw_parts_mut(self.table, self.table_length) };
        // SAFETY: this thread's environment, with an open handle scope around every delivery.
        let js = unsafe { Js::new(env) };
        let mut rest = completions.into_iter().peekable();
        while rest.peek().is_some() {
            let Ok(delivery) = Delivery::pack(js, &mut rest, table) else {
                // V8 makes no values any more, or made none this once: the others are still to be told.
                js.clear_exception();
                continue;
            };
            if call(&delivery.arguments) == sys::Status::napi_pending_exception {
                raise(env);
            }
        }
        if settled == 0 || self.port.pending.fetch_sub(settled, Ordering::Relaxed) > settled {
            return;
        }
        if let Some(function) = &*self.port.function() {
            // SAFETY: the function is alive while it stands there, and this is its environment's thread.
            unsafe { sys::napi_unref_threadsafe_function(env, function.0) };
        }
        // SAFETY: the reference was made in this environment and has the count that `expect_completion` gave it.
        unsafe { sys::napi_reference_unref(env, self.callback, ptr::null_mut()) };
    }

    /// The callback; `None` when its owner was forgotten.
    fn callback(&self) -> Option<sys::napi_value> {
        let mut callback = ptr::null_mut();
        // SAFETY: the reference was made in this environment; the result is a value of the open scope.
        let status = unsafe { sys::napi_get_reference_value(self.env, self.callback, &mut callback) };
        (status == sys::Status::napi_ok && !callback.is_null()).then_some(callback)
    }

    /// Delivers from a callback of the event loop that is not one of Node's own.
    fn deliver_outside(&self) {
        let env = self.env;
        let mut scope = ptr::null_mut();
        // SAFETY: this thread's environment; the scope is closed below, after the last value made in it was used.
        if unsafe { sys::napi_open_handle_scope(env, &mut scope) } != sys::Status::napi_ok {
            return;
        }
        let mut global = ptr::null_mut();
        // SAFETY: this thread's environment.
        unsafe { sys::napi_get_global(env, &mut global) };
        let callback = self.callback().unwrap_or(ptr::null_mut());
        self.deliver(|arguments| {
            // SAFETY: all values are of this environment and scope. `napi_make_callback` runs the microtasks that the
            // callback leaves.
            unsafe {
                sys::napi_make_callback(
                    env,
                    self.context,
                    global,
                    callback,
                    arguments.len(),
                    arguments.as_ptr(),
                    ptr::null_mut(),
                )
            }
        });
        // SAFETY: the scope that was opened above.
        unsafe { sys::napi_close_handle_scope(env, scope) };
    }
}

/// Runs on the JavaScript thread for each wake.
unsafe extern "C" fn deliver(
    env: sys::napi_env,
    _function: sys::napi_value,
    context: *mut c_void,
    _data: *mut c_void,
) {
    if env.is_null() {
        return;
    }
    // SAFETY: the context is the receiver, alive until `finalize`, which runs on this thread after the last delivery.
    let receiver = unsafe { &*context.cast::<Receiver>() };
    let callback = receiver.callback().unwrap_or(ptr::null_mut());
    let call = |arguments: &[sys::napi_value]| {
        let mut this = ptr::null_mut();
        // SAFETY: function and arguments are values of this environment and of the scope around this call.
        unsafe {
            sys::napi_get_undefined(env, &mut this);
            sys::napi_call_function(env, this, callback, arguments.len(), arguments.as_ptr(), ptr::null_mut())
        }
    };
    // Node's own frames are above: a panic there would end the process.
    drop(caught(|| receiver.deliver(call)));
}

/// An exception of the callback is the program's, as from any other event.
fn raise(env: sys::napi_env) {
    let mut exception = ptr::null_mut();
    // SAFETY: this thread's environment; an exception is pending.
    unsafe {
        if sys::napi_get_and_clear_last_exception(env, &mut exception) == sys::Status::napi_ok {
            sys::napi_fatal_exception(env, exception);
        }
    }
}

/// Runs on the JavaScript thread when the environment goes away.
unsafe extern "C" fn finalize(env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: the pointer that `open` made, handed over exactly once.
    let receiver = unsafe { Box::from_raw(data.cast::<Receiver>()) };
    *receiver.port.function() = None;
    receiver.port.questions.clear();
    receiver.port.receiver.store(ptr::null_mut(), Ordering::Release);
    // SAFETY: they were made in this environment and are not used again.
    unsafe {
        sys::napi_delete_reference(env, receiver.callback);
        sys::napi_async_destroy(env, receiver.context);
    }
}
