//! Where sockets cannot be watched by the calling thread's event loop, the driver does it.

use super::port::Port;
use crate::store::{EventLoop, LaneReader};
use napi::Env;
use std::rc::Rc;
use std::sync::Arc;

/// Never made.
pub(super) enum Watcher {}

impl Watcher {
    pub(super) fn new(_env: &Env, _port: Arc<Port>) -> Option<Rc<Self>> {
        None
    }
}

impl EventLoop for Watcher {
    fn id(&self) -> usize {
        match *self {}
    }

    fn watch(&self, _reader: LaneReader) -> bool {
        match *self {}
    }
}
