//! Bytes on their way out, and who waits for those that come back.

use super::Traffic;
use crate::error::Error;
use crate::store::transport::Socket;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

/// Who watches the socket for answers.
pub(super) enum Watch {
    /// The driver; with the number of small requests in a row.
    Runtime { small: u32 },
    /// The event loop with this id.
    Caller(usize),
}

/// How a flush ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing waits.
    All,
    /// The system would take more.
    Some,
    /// The system takes nothing more for now.
    Blocked,
}

/// The outgoing half of a lane.
pub(super) struct Writer {
    /// Requests that the system has not taken, with the position of the first byte of each; the first one without its
    /// first `offset` bytes.
    waiting: VecDeque<(u64, Vec<u8>)>,
    offset: usize,
    /// Position behind everything accepted from callers, and behind what the system took. Requests that were taken
    /// back leave gaps.
    enqueued: u64,
    written: u64,
    /// The system takes nothing any more. The reader finds out why, behind the answers that came before.
    broken: bool,
    pub(super) watch: Watch,
    pub(super) closed: Option<Error>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            offset: 0,
            enqueued: 0,
            written: 0,
            broken: false,
            watch: Watch::Runtime { small: 0 },
            closed: None,
        }
    }
}

impl Writer {
    pub(super) fn enqueued(&self) -> u64 {
        self.enqueued
    }

    /// Whether bytes wait for the system to take them, here or in the socket.
    pub(super) fn is_blocked(&self, socket: &Socket) -> bool {
        !self.waiting.is_empty() || socket.holds_bytes()
    }

    /// Whether waiting for the system is of no use.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn enqueue(&mut self, bytes: Vec<u8>) {
        let position = self.enqueued;
        self.enqueued += bytes.len() as u64;
        self.waiting.push_back((position, bytes));
    }

    /// Takes back the request at `position` if nothing of it has left. Says whether it did.
    pub(super) fn take_back(&mut self, position: u64) -> bool {
        if position < self.written {
            return false;
        }
        // With `offset` bytes gone the first one has begun to leave, and `written` says so.
        self.waiting.retain(|(first, _)| *first != position);
        true
    }

    /// Writes what the system takes, up to a bound: others wait for the lock meanwhile.
    pub(super) fn flush(&mut self, socket: &Socket, traffic: &Traffic) -> Flushed {
        const MOST: usize = 256 * 1024;
        let mut left = MOST;
        while let Some((position, bytes)) = self.waiting.front() {
            if left == 0 {
                return Flushed::Some;
            }
            let rest = bytes.get(self.offset..).unwrap_or(&[]);
            match socket.try_write(rest.get(..left).unwrap_or(rest)) {
                Ok(count) => {
                    self.written = position + (self.offset + count) as u64;
                    traffic.sent.fetch_add(count as u64, Ordering::Relaxed);
                    left -= count;
                    if count == rest.len() {
                        self.waiting.pop_front();
                        self.offset = 0;
                    } else {
                        self.offset += count;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.blocked(&error),
            }
        }
        match socket.flush() {
            Ok(()) => Flushed::All,
            Err(error) => self.blocked(&error),
        }
    }

    fn blocked(&mut self, error: &io::Error) -> Flushed {
        self.broken = error.kind() != io::ErrorKind::WouldBlock;
        Flushed::Blocked
    }

    /// Takes no more bytes; says how many left.
    pub(super) fn close(&mut self, error: Error) -> u64 {
        self.closed = Some(error);
        self.waiting.clear();
        self.written
    }
}
