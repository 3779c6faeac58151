//! One pipelined connection.
//!
//! Any thread may send: the request joins the queue of expected answers and is written at once as far as the system
//! takes it. Answers are read by one reader at a time, and each goes to the oldest request. A request whose time is
//! up keeps its place in that queue, so that its late answer is dropped by count and reaches nobody else.
//!
//! The reader is a task of the runtime, the driver. While nothing but small requests from one thread's event loop is
//! under way, that loop watches the socket in its place: a small answer then wakes one thread instead of two.

mod driver;
mod inbox;
mod queue;
mod writer;

use super::transport::Socket;
use super::{Answer, Failure, Settled};
use crate::error::{Error, Kind};
use crate::panic::caught;
use crate::resp::Sink;
use inbox::Inbox;
use queue::Queue;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use writer::{Flushed, Watch, Writer};

/// Commands for one server and where their answers go.
pub(crate) struct Request {
    /// Encoded commands.
    pub(crate) bytes: Vec<u8>,
    /// Replies that they will get.
    pub(crate) replies: usize,
    /// Whether ASKING precedes each command; its replies are not for the sink.
    pub(crate) asking: bool,
    /// Takes the replies.
    pub(crate) sink: Sink,
    /// When the round trip began: its time limit and the server's silence are counted from one moment.
    pub(crate) sent_at: Instant,
    /// When the caller stops waiting.
    pub(crate) deadline: Instant,
}

/// Who is told of the answer.
pub(super) enum ReplyTo {
    Task(oneshot::Sender<Answer>),
    Call(Settled),
}

impl ReplyTo {
    fn settle(self, answer: Answer) {
        match self {
            // The task may have been cancelled; then nobody is interested.
            Self::Task(sender) => drop(sender.send(answer)),
            // Whoever reads has others to answer. A callback that panics tells its caller by being dropped.
            Self::Call(callback) => drop(caught(|| callback(answer))),
        }
    }
}

/// Bytes moved, shared by all lanes of a client.
#[derive(Debug, Default)]
pub struct Traffic {
    /// To servers.
    pub sent: AtomicU64,
    /// From servers.
    pub received: AtomicU64,
}

/// The event loop of a calling thread, which can watch a lane's socket in the runtime's place.
pub trait EventLoop {
    /// The same for every call from this loop.
    fn id(&self) -> usize;

    /// Asked while the lane is locked: of this lane's readers it may call only [`LaneReader::is_ended`] and those
    /// methods that describe it. Calls [`LaneReader::read`] whenever the socket is readable, until that says to stop. False where the loop
    /// cannot.
    fn watch(&self, reader: LaneReader) -> bool;
}

/// What an event loop reads a lane with.
pub struct LaneReader {
    shared: Arc<Shared>,
    watcher: usize,
}

/// Whether an event loop goes on watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// It does.
    Watch,
    /// Somebody else reads now, or the connection has ended.
    Stop,
}

/// Told why the connection ended, unless the lane was dropped.
pub(super) type OnEnd = Box<dyn FnOnce(&Error) + Send>;

/// A pipelined connection. Dropping it ends the connection as soon as every answer that is due has come or expired.
pub(crate) struct Lane {
    shared: Arc<Shared>,
    started: Instant,
}

struct Shared {
    socket: Socket,
    writer: Mutex<Writer>,
    /// Locked after `writer` and `inbox` where more than one is needed.
    queue: Mutex<Queue>,
    inbox: Mutex<Inbox>,
    /// Tells the driver of bytes to write, an earlier deadline, another reader, or the end.
    wake: Notify,
    abandoned: AtomicBool,
    /// Requests that were answered in full.
    answered: AtomicU64,
    /// Set once `writer.closed` is; an event loop looks here, as it may be asked with `writer` locked.
    ended: AtomicBool,
    /// Without a byte for this long while answers are due, the connection is given up.
    silence_limit: Duration,
    traffic: Arc<Traffic>,
}

/// A lock whose holder panicked guards state that is still consistent: no code here panics between two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// Starts the driver of a connection whose handshake is done.
    pub(crate) fn start(
        runtime: &Handle,
        socket: Socket,
        silence_limit: Duration,
        traffic: Arc<Traffic>,
        on_end: OnEnd,
    ) -> Self {
        let shared = Arc::new(Shared {
            socket,
            writer: Mutex::default(),
            queue: Mutex::default(),
            inbox: Mutex::new(Inbox::new()),
            wake: Notify::new(),
            abandoned: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            silence_limit,
            traffic,
        });
        runtime.spawn(driver::drive(shared.clone(), on_end));
        Self { shared, started: Instant::now() }
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.shared.writer).closed.is_some()
    }

    /// Requests that were answered in full.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Time since the handshake.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sends and waits for the answer.
    pub(crate) async fn execute(&self, request: Request) -> Answer {
        let (sender, receiver) = oneshot::channel();
        self.shared.send(request, None, ReplyTo::Task(sender));
        receiver.await.unwrap_or_else(|_| Answer::lost("the connection's driver ended"))
    }

    /// Sends from the calling thread. `settled` runs wherever the answer is read, or here if the lane is closed.
    pub(crate) fn call(&self, request: Request, caller: Option<&dyn EventLoop>, settled: Settled) {
        self.shared.send(request, caller, ReplyTo::Call(settled));
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn send(self: &Arc<Self>, request: Request, caller: Option<&dyn EventLoop>, reply_to: ReplyTo) {
        let Request { bytes, replies, asking, sink, sent_at, deadline } = request;
        let mut writer = lock(&self.writer);
        if let Some(error) = writer.closed.clone() {
            drop(writer);
            reply_to.settle(Answer { sink, failure: Some(Failure { error, sent: false }) });
            return;
        }
        let handed_over = self.choose_reader(&mut writer, caller);
        let first_byte = writer.enqueued();
        let earlier = lock(&self.queue).push(queue::Expected {
            number: 0,
            replies: if asking { 2 * replies } else { replies },
            asking,
            sink,
            deadline,
            first_byte,
            sent_at,
            reply_to: Some(reply_to),
        });
        // Whoever finds nothing waiting writes; else the driver does when the system takes more.
        let writes = !writer.is_blocked(&self.socket);
        writer.enqueue(bytes);
        let blocked = !(writes && writer.flush(&self.socket, &self.traffic) == Flushed::All);
        drop(writer);
        if blocked || earlier || handed_over {
            self.wake.notify_one();
        }
    }

    /// Decides who reads the answer to the request that is about to be sent. True when the driver must hear of it.
    fn choose_reader(self: &Arc<Self>, writer: &mut Writer, caller: Option<&dyn EventLoop>) -> bool {
        /// Small requests in a row after which the caller's loop takes over: handing over costs more than it saves
        /// on a single one.
        const TAKE_OVER: u32 = 4;
        match (&mut writer.watch, caller) {
            (Watch::Caller(watcher), Some(caller)) if *watcher == caller.id() => false,
            (Watch::Caller(_), _) => {
                writer.watch = Watch::Runtime { small: 0 };
                true
            }
            (Watch::Runtime { small }, None) => {
                *small = 0;
                false
            }
            (Watch::Runtime { small }, Some(caller)) => {
                *small = small.saturating_add(1);
                let takes_over = *small >= TAKE_OVER
                    && self.socket.is_plain()
                    && lock(&self.queue).is_empty()
                    && caller.watch(LaneReader { shared: self.clone(), watcher: caller.id() });
                if takes_over {
                    writer.watch = Watch::Caller(caller.id());
                }
                takes_over
            }
        }
    }

    /// Ends the lane: what waits is told why, and whether its request had begun to leave.
    /// `silent`: because the server was, for too long.
    fn close(&self, error: &Error, silent: bool) {
        let current = lock(&self.inbox).current.take();
        let (expected, written) = {
            let mut writer = lock(&self.writer);
            (lock(&self.queue).take_all(), writer.close(error.clone()))
        };
        self.ended.store(true, Ordering::Release);
        // A watcher may still hold the socket; the server is not to wait for that.
        self.socket.shut_down();
        let now = Instant::now();
        for entry in current.into_iter().chain(expected) {
            let sent = entry.first_byte < written;
            // Who has waited for most of its time is not to start over on another connection.
            let late = entry.deadline <= now || (entry.deadline - now) * 2 < entry.deadline - entry.sent_at;
            let error = if silent && late { queue::late() } else { error.clone() };
            entry.settle(Some(Failure { error, sent }));
        }
    }

    /// Hands reading back to the driver.
    fn hand_back(&self) {
        lock(&self.writer).watch = Watch::Runtime { small: 0 };
        self.wake.notify_one();
    }
}

impl LaneReader {
    /// Two readers of one lane have the same.
    pub fn lane_id(&self) -> usize {
        Arc::as_ptr(&self.shared) as usize
    }

    /// What to watch.
    #[cfg(unix)]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        self.shared.socket.descriptor()
    }

    /// Whether the connection has ended.
    pub fn is_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Leaves the watching to the driver, if it is this loop that does it.
    pub fn release(&self) {
        if matches!(lock(&self.shared.writer).watch, Watch::Caller(watcher) if watcher == self.watcher) {
            self.shared.hand_back();
        }
    }

    /// Reads what has arrived, on the watching thread.
    pub fn read(&self) -> Reading {
        /// What a small answer may bring at once. More is not for a thread that has other things to do.
        const MOST: usize = 64 * 1024;
        let shared = &self.shared;
        if !matches!(lock(&shared.writer).watch, Watch::Caller(watcher) if watcher == self.watcher) {
            return Reading::Stop;
        }
        let mut inbox = match shared.inbox.try_lock() {
            Ok(inbox) => inbox,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The driver has a look, because of a deadline.
            Err(TryLockError::WouldBlock) => return Reading::Watch,
        };
        let result = caught(|| inbox.read(shared, MOST, |buffer| shared.socket.try_read(buffer)));
        if result.is_err() {
            inbox.ended = Some(faulty());
        }
        drop(inbox);
        match result {
            Ok(Ok(false)) => Reading::Watch,
            // Of an error the driver learns as well, and ends the lane.
            Ok(Ok(true) | Err(_)) | Err(_) => {
                shared.hand_back();
                Reading::Stop
            }
        }
    }
}

/// Why a lane ends whose reader or driver panicked: nothing is known of where it stood in the stream.
fn faulty() -> Error {
    lost("a fault inside redis-bulk ended the connection")
}

fn lost(message: &str) -> Error {
    Error::new(Kind::ConnectionLost, message)
}
