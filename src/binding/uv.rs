//! The calling thread's own event loop as a watcher of sockets, through the libuv inside Node.
//!
//! libuv's functions are looked up when they are first needed. Where there are none, and in runtimes that have their
//! names without the functions (Bun ends the process when one is called; JavaScript says which runtime it is), every
//! socket is watched by its driver, and small look-ups take one more switch between threads.

use super::port::Port;
use crate::panic::caught;
use crate::store::{EventLoop, LaneReader, Reading};
use napi::{Env, sys};
use once_cell::sync::Lazy;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::{CStr, c_int, c_void};
use std::mem::size_of;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// `UV_POLL` of `uv_handle_type` and `UV_READABLE` of `uv_poll_event`.
const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;

type Handle = *mut c_void;

/// The part of libuv's interface that is used; unchanged since libuv 1.19.
struct Functions {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    handle_set_data: unsafe extern "C" fn(Handle, *mut c_void),
    handle_get_data: unsafe extern "C" fn(Handle) -> *mut c_void,
    poll_init: unsafe extern "C" fn(*mut c_void, Handle, c_int) -> c_int,
    poll_start: unsafe extern "C" fn(Handle, c_int, unsafe extern "C" fn(Handle, c_int, c_int)) -> c_int,
    poll_stop: unsafe extern "C" fn(Handle) -> c_int,
    unref: unsafe extern "C" fn(Handle),
    close: unsafe extern "C" fn(Handle, unsafe extern "C" fn(Handle)),
}

static FUNCTIONS: Lazy<Option<Functions>> = Lazy::new(|| {
    fn find(name: &CStr) -> Option<*mut c_void> {
        // SAFETY: a look-up by name among what the process has loaded.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    }
    /// # Safety
    /// `T` is the type of the function with this name.
    unsafe fn function<T: Copy>(name: &CStr) -> Option<T> {
        const { assert!(size_of::<T>() == size_of::<*mut c_void>()) };
        // SAFETY: a function pointer is as large as any, and the caller knows its type.
        find(name).map(|address| unsafe { std::mem::transmute_copy::<*mut c_void, T>(&address) })
    }
    // SAFETY: the types of the fields are those of libuv's documentation.
    let functions = unsafe {
        Functions {
            handle_size: function(c"uv_handle_size")?,
            handle_set_data: function(c"uv_handle_set_data")?,
            handle_get_data: function(c"uv_handle_get_data")?,
            poll_init: function(c"uv_poll_init")?,
            poll_start: function(c"uv_poll_start")?,
            poll_stop: function(c"uv_poll_stop")?,
            unref: function(c"uv_unref")?,
            close: function(c"uv_close")?,
        }
    };
    // SAFETY: a question about a constant.
    let size = unsafe { (functions.handle_size)(UV_POLL) };
    (size <= size_of::<HandleMemory>()).then_some(functions)
});

/// Room for a `uv_poll_t`; libuv says at run time how much it needs (160 bytes on 64-bit Linux).
#[repr(C, align(16))]
struct HandleMemory([u8; 512]);

/// One environment's event loop. It lives on that environment's thread.
pub(super) struct Watcher {
    functions: &'static Functions,
    uv_loop: *mut c_void,
    port: Arc<Port>,
    watches: RefCell<Vec<Rc<Watch>>>,
    /// Handles that libuv has not given back yet.
    open: Cell<usize>,
    /// Set when the environment ends and waits for them.
    ending: Cell<sys::napi_async_cleanup_hook_handle>,
    /// Keeps itself for that time.
    until_closed: RefCell<Option<Rc<Watcher>>>,
    me: Weak<Watcher>,
}

/// A socket that is watched, or was and may be again. The handle's data pointer owns one count of it.
struct Watch {
    memory: UnsafeCell<HandleMemory>,
    reader: LaneReader,
    watcher: Weak<Watcher>,
}

impl Watch {
    fn handle(&self) -> Handle {
        self.memory.get().cast()
    }
}

impl Watcher {
    /// `None` where there is no libuv around.
    pub(super) fn new(env: &Env, port: Arc<Port>) -> Option<Rc<Self>> {
        let functions = FUNCTIONS.as_ref()?;
        let mut uv_loop = ptr::null_mut();
        // SAFETY: this thread's environment.
        let status = unsafe { sys::napi_get_uv_event_loop(env.raw(), &mut uv_loop) };
        if status != sys::Status::napi_ok {
            return None;
        }
        let watcher = Rc::new_cyclic(|me| Self {
            functions,
            uv_loop: uv_loop.cast(),
            port,
            watches: RefCell::default(),
            open: Cell::new(0),
            ending: Cell::new(ptr::null_mut()),
            until_closed: RefCell::default(),
            me: me.clone(),
        });
        let owned = Rc::into_raw(watcher.clone()).cast_mut().cast();
        // SAFETY: the hook runs once, on this thread, and takes back the count that it is given here.
        let status =
            unsafe { sys::napi_add_async_cleanup_hook(env.raw(), Some(end), owned, ptr::null_mut()) };
        // Without the hook an open handle would outlive its loop. The count stays with nobody: a few bytes, once.
        (status == sys::Status::napi_ok).then_some(watcher)
    }

    fn start(&self, reader: LaneReader) -> Option<()> {
        self.close(|watch| watch.reader.is_ended());
        let lane = reader.lane_id();
        let known = self.watches.borrow().iter().find(|watch| watch.reader.lane_id() == lane).cloned();
        let watch = match known {
            Some(watch) => watch,
            None => self.open(reader)?,
        };
        // SAFETY: an open handle of this thread's loop.
        let status = unsafe { (self.functions.poll_start)(watch.handle(), UV_READABLE, readable) };
        (status == 0).then_some(())
    }

    fn open(&self, reader: LaneReader) -> Option<Rc<Watch>> {
        let descriptor = reader.descriptor();
        let memory = UnsafeCell::new(HandleMemory([0; 512]));
        let watch = Rc::new(Watch { memory, reader, watcher: self.me.clone() });
        // SAFETY: enough memory at an address that stays until `closed`, on this thread's loop, for a descriptor that
        // the watch's reader keeps open.
        unsafe {
            if (self.functions.poll_init)(self.uv_loop, watch.handle(), descriptor) != 0 {
                return None;
            }
            (self.functions.handle_set_data)(watch.handle(), Rc::into_raw(watch.clone()).cast_mut().cast());
            // A pending operation keeps the process alive, not the socket.
            (self.functions.unref)(watch.handle());
        }
        self.open.set(self.open.get() + 1);
        self.watches.borrow_mut().push(watch.clone());
        Some(watch)
    }

    /// Closes the handles that `choose` picks.
    fn close(&self, choose: impl Fn(&Watch) -> bool) {
        let (close, keep) = self.watches.take().into_iter().partition(|watch| choose(watch));
        self.watches.replace(keep);
        let close: Vec<Rc<Watch>> = close;
        for watch in close {
            watch.reader.release();
            // SAFETY: an open handle, closed once: it has just left the list of open ones.
            unsafe { (self.functions.close)(watch.handle(), closed) };
        }
    }

    fn finish_ending(&self) {
        let hook = self.ending.get();
        if !hook.is_null() && self.open.get() == 0 {
            self.ending.set(ptr::null_mut());
            // SAFETY: the handle that the hook was given, used once.
            unsafe { sys::napi_remove_async_cleanup_hook(hook) };
            self.until_closed.take();
        }
    }
}

impl EventLoop for Watcher {
    fn id(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    fn watch(&self, reader: LaneReader) -> bool {
        self.start(reader).is_some()
    }
}

/// libuv found the socket readable, or broken.
unsafe extern "C" fn readable(handle: Handle, status: c_int, _events: c_int) {
    let Some(functions) = FUNCTIONS.as_ref() else { return };
    // SAFETY: the data pointer owns a count until `closed`; another one is taken for the time of this call, in which
    // JavaScript may run and close the handle.
    let watch = unsafe {
        let data = (functions.handle_get_data)(handle).cast::<Watch>().cast_const();
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    };
    let Some(watcher) = watch.watcher.upgrade() else { return };
    let stop = || {
        // SAFETY: libuv calls back for open handles only, and nothing has closed this one since.
        unsafe { (functions.poll_stop)(handle) };
    };
    if status != 0 {
        stop();
        watch.reader.release();
        return;
    }
    // libuv's own frames are above: a panic there would end the process.
    drop(caught(|| {
        // Stopped before anything is delivered: JavaScript may start it again at once.
        watcher.port.collect(|| {
            if watch.reader.read() == Reading::Stop {
                stop();
            }
        });
        if watch.reader.is_ended() {
            watcher.close(|other| ptr::eq(other, &*watch));
        }
    }));
}

/// libuv gives the handle back.
unsafe extern "C" fn closed(handle: Handle) {
    let Some(functions) = FUNCTIONS.as_ref() else { return };
    // SAFETY: the count that `open` gave to the data pointer, taken back once.
    let watch = unsafe { Rc::from_raw((functions.handle_get_data)(handle).cast::<Watch>().cast_const()) };
    if let Some(watcher) = watch.watcher.upgrade() {
        watcher.open.set(watcher.open.get() - 1);
        watcher.finish_ending();
    }
}

/// The environment ends: its loop must not be left with open handles.
unsafe extern "C" fn end(hook: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: the count that `new` gave to the hook.
    let watcher = unsafe { Rc::from_raw(data.cast::<Watcher>().cast_const()) };
    watcher.ending.set(hook);
    watcher.close(|_| true);
    // `closed` must still find the watcher: it keeps itself until then.
    watcher.until_closed.replace(Some(watcher.clone()));
    watcher.finish_ending();
}
