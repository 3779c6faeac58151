//! The task that looks after a lane: reads its answers, writes what the system did not take at once, keeps the time.

use super::queue::Expected;
use super::writer::{Flushed, Watch};
use super::{OnEnd, Shared, faulty, lock, lost};
use crate::error::{Error, Kind};
use crate::panic::guarded;
use crate::store::transport::Readiness;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::Interest;
use tokio::time::{Instant, sleep_until};

/// Runs until the connection ends or the lane is dropped, then tells everyone who still waits.
pub(super) async fn drive(shared: Arc<Shared>, on_end: OnEnd) {
    // Without this task nobody would hear of anything any more.
    let end = guarded(async { Ok(run(&shared).await) }).await.unwrap_or_else(|_| End::Broken(faulty()));
    let (error, silent) = match end {
        End::Broken(error) => (error, false),
        End::Silent => (lost("the server sent nothing for a whole command timeout"), true),
    };
    shared.close(&error, silent);
    if !shared.abandoned.load(Ordering::Acquire) {
        on_end(&error);
    }
}

/// What the driver has to do next.
struct Todo {
    alarm: Option<Instant>,
    writes: bool,
    reads: bool,
    idle: bool,
}

/// Why a lane ends.
enum End {
    Broken(Error),
    /// The server sent nothing for too long while answers were due.
    Silent,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

async fn run(shared: &Arc<Shared>) -> End {
    let alarm = sleep_until(Instant::now());
    tokio::pin!(alarm);
    // Registered only while the driver reads or writes: an answer must not wake this thread for nothing.
    let mut readiness: Option<Readiness> = None;
    loop {
        let todo = match shared.todo() {
            Ok(todo) => todo,
            Err(error) => return error.into(),
        };
        if todo.idle && shared.abandoned.load(Ordering::Acquire) {
            return Error::new(Kind::Closed, "the client was closed").into();
        }
        if let Some(at) = todo.alarm
            && alarm.deadline() != at
        {
            alarm.as_mut().reset(at);
        }
        if !(todo.reads || todo.writes) {
            readiness = None;
        } else if readiness.is_none() {
            match shared.socket.watch() {
                Ok(watch) => readiness = Some(watch),
                Err(error) => return lost("the connection could not be watched").with_cause(error).into(),
            }
        }
        tokio::select! {
            biased;
            () = &mut alarm, if todo.alarm.is_some() => {
                if let Err(end) = shared.tick() {
                    return end;
                }
            }
            writable = writable(readiness.as_ref()), if todo.writes => {
                if let (Ok(()), Some(watch)) = (writable, &readiness) {
                    // A failure shows itself to the reader.
                    let _ = watch.attempt(Interest::WRITABLE, || shared.flush());
                }
            }
            readable = readable(readiness.as_ref()), if todo.reads => {
                let result = match (readable, &readiness) {
                    (Ok(()), Some(watch)) => shared.read(watch),
                    (Err(error), _) => Err(lost("the connection broke").with_cause(error)),
                    (Ok(()), None) => Ok(()),
                };
                if let Err(error) = result {
                    return error.into();
                }
            }
            () = shared.wake.notified() => {}
        }
    }
}

async fn writable(readiness: Option<&Readiness>) -> io::Result<()> {
    match readiness {
        Some(readiness) => readiness.writable().await,
        None => Ok(()),
    }
}

async fn readable(readiness: Option<&Readiness>) -> io::Result<()> {
    match readiness {
        Some(readiness) => readiness.readable().await,
        None => Ok(()),
    }
}

impl Shared {
    /// An error when the one who watches found the end of the stream.
    fn todo(&self) -> Result<Todo, Error> {
        let current = {
            let inbox = lock(&self.inbox);
            if let Some(error) = &inbox.ended {
                return Err(error.clone());
            }
            inbox.current.is_some()
        };
        let writer = lock(&self.writer);
        let queue = lock(&self.queue);
        Ok(Todo {
            alarm: queue.alarm(),
            // A broken socket is always ready to fail again.
            writes: writer.is_blocked(&self.socket) && !writer.is_broken(),
            reads: match writer.watch {
                Watch::Runtime { .. } => true,
                Watch::Caller(_) => writer.is_broken(),
            },
            idle: queue.is_empty() && !current,
        })
    }

    fn read(&self, watch: &Readiness) -> Result<(), Error> {
        let read = |buffer: &mut [u8]| watch.attempt(Interest::READABLE, || self.socket.try_read(buffer));
        /// Then writes and deadlines get their turn.
        const MOST: usize = 1024 * 1024;
        lock(&self.inbox).read(self, MOST, read).map(drop)
    }

    fn flush(&self) -> io::Result<()> {
        match lock(&self.writer).flush(&self.socket, &self.traffic) {
            Flushed::All | Flushed::Some => Ok(()),
            Flushed::Blocked => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Expires what is due. An error when the connection is to be given up: its oldest request has waited for a whole
    /// command timeout, and for half of that nothing came.
    fn tick(&self) -> Result<(), End> {
        let mut inbox = lock(&self.inbox);
        // What has arrived counts, even where the one who watches had no time to look.
        inbox.read(self, usize::MAX, |buffer| self.socket.try_read(buffer))?;
        let now = Instant::now();
        let last_read = inbox.last_read;
        let waiting_since = match &inbox.current {
            Some(entry) => Some(entry.sent_at),
            None => lock(&self.queue).oldest(),
        };
        // Bytes that came since are no more than half an excuse: an answer that began and stopped blocks the others.
        let silence_ends =
            waiting_since.map(|since| (since + self.silence_limit).max(last_read + self.silence_limit / 2));
        if silence_ends.is_some_and(|ends| ends <= now) {
            // Whoever is late hears of it when no new request can join the silence any more.
            return Err(End::Silent);
        }
        if let Some(current) = &mut inbox.current {
            current.expire(now);
        }
        let current_due = inbox.current.as_ref().and_then(Expected::due);
        let mut writer = lock(&self.writer);
        let mut queue = lock(&self.queue);
        queue.tick(now, current_due, silence_ends, |position| writer.take_back(position));
        Ok(())
    }
}
