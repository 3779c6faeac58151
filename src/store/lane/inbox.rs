//! Bytes on their way in.

use super::queue::Expected;
use super::{Shared, lock, lost};
use crate::error::{Error, Kind};
use crate::panic::hook;
use crate::resp::{ProtocolError, Reader, Sink};
use std::io;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// Bytes read at once: a chunk's reply in a few reads.
const READ_BYTES: usize = 64 * 1024;

/// The incoming half of a lane; whoever reads holds it.
pub(super) struct Inbox {
    reader: Reader,
    /// The request whose answer is being read.
    pub(super) current: Option<Expected>,
    pub(super) last_read: Instant,
    buffer: Vec<u8>,
    /// What ended the stream; nothing is read after it.
    pub(super) ended: Option<Error>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            reader: Reader::new(),
            current: None,
            last_read: Instant::now(),
            buffer: vec![0; READ_BYTES],
            ended: None,
        }
    }

    /// Reads until nothing is left or about `most` bytes have come; says whether there may be more. An error is the end
    /// of the stream.
    pub(super) fn read(
        &mut self,
        shared: &Shared,
        most: usize,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<bool, Error> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut left = most;
        let result = loop {
            match self.read_into(shared, &mut buffer, &mut read) {
                Ok(count) if count < buffer.len() => break Ok(false),
                Ok(count) if count >= left => break Ok(true),
                Ok(count) => left -= count,
                Err(error) => break Err(error),
            }
        };
        self.buffer = buffer;
        self.ended = result.as_ref().err().cloned();
        result
    }

    fn read_into(
        &mut self,
        shared: &Shared,
        buffer: &mut [u8],
        read: &mut impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<usize, Error> {
        match read(buffer) {
            Ok(0) => Err(lost("the server closed the connection")),
            Ok(count) => {
                self.last_read = Instant::now();
                shared.traffic.received.fetch_add(count as u64, Ordering::Relaxed);
                self.take(shared, buffer.get(..count).unwrap_or(&[]))
                    .map_err(|error| Error::new(Kind::Protocol, error.0))?;
                Ok(count)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(0)
            }
            Err(error) => Err(lost("the connection broke").with_cause(error)),
        }
    }

    /// Reads the answers in `bytes`.
    fn take(&mut self, shared: &Shared, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        // What is asked from here on, by someone who was just answered perhaps, has no answer among these bytes.
        let known = lock(&shared.queue).accepted();
        hook::pass("reader");
        while !bytes.is_empty() {
            let mut expected = match self.current.take() {
                Some(expected) => expected,
                None => lock(&shared.queue)
                    .pop(known)
                    .ok_or(ProtocolError("the server sent a reply that nobody asked for"))?,
            };
            while expected.replies > 0 && !bytes.is_empty() {
                let read = if expected.asking && expected.replies.is_multiple_of(2) {
                    self.reader.read(bytes, &mut Sink::Skip)
                } else {
                    self.reader.read(bytes, &mut expected.sink)
                };
                let (used, complete) = match read {
                    Ok(read) => read,
                    Err(error) => {
                        self.current = Some(expected);
                        return Err(error);
                    }
                };
                bytes = bytes.get(used..).unwrap_or(&[]);
                expected.replies -= usize::from(complete);
            }
            if expected.replies == 0 {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                expected.settle(None);
            } else {
                self.current = Some(expected);
            }
        }
        Ok(())
    }
}
