//! Hearing from the server which keys have changed: a connection of its own on which the server names them.
//!
//! CLIENT TRACKING in its broadcasting mode, redirected to the same connection, which subscribes to the channel of
//! invalidations: that way it works with RESP2, and commands of other connections have nothing to do with it.

use super::backoff;
use super::connect::{Endpoint, connect};
use super::transport::{Readiness, Socket};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::panic::guarded;
use crate::resp::{Reader, Reply, Sink};
use redis::Value;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Instant, sleep, timeout_at};

/// Where the server publishes invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// So long nothing may come before the server is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(5);

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// Who hears of changes.
pub trait Watcher: Send + Sync {
    /// From now on every change is told, or not any more.
    fn tracking(&self, on: bool);
    /// These keys may have changed; `None`: any may have.
    fn changed(&self, keys: Option<Vec<Vec<u8>>>);
}

/// Tells `watcher` of every change of keys that begin with one of `prefixes`, for as long as the future is driven. It
/// connects again after a loss, and ends where the server cannot tell.
///
/// Gives `None` for a configuration that does not name one server.
pub fn track(
    config: Arc<Config>,
    prefixes: Vec<Vec<u8>>,
    watcher: Arc<dyn Watcher>,
) -> Option<impl Future<Output = ()> + Send> {
    let endpoint = Endpoint::of(&config.target)?;
    Some(async move {
        let told = &*watcher;
        let run = async {
            for attempt in 1.. {
                let began = Instant::now();
                let ended = connection(&config, &endpoint, &prefixes, told).await;
                told.tracking(false);
                if *ended.kind() == Kind::Auth {
                    if config.password_source.is_none() {
                        break;
                    }
                    // The next password may be right; wrong ones in a row are not to lock the user out.
                    sleep(config.retry.max_delay).await;
                    continue;
                }
                // A refusal: older servers do not know the command, and users may not be allowed to use it.
                if ended.kind().is_reply() && !ended.retryable() {
                    break;
                }
                // One that lasted was well: the next attempt is a first one again.
                let attempt = if began.elapsed() > QUIET { 1 } else { attempt };
                sleep(backoff::delay(&config.retry, attempt)).await;
            }
            Ok(())
        };
        if guarded(run).await.is_err() {
            // By a fault of this package. Nothing is told from now on.
            told.tracking(false);
        }
    })
}

/// Runs one connection until it ends; why it did.
async fn connection(
    config: &Config,
    endpoint: &Endpoint,
    prefixes: &[Vec<u8>],
    watcher: &dyn Watcher,
) -> Error {
    match Connection::open(config, endpoint).await {
        Ok(mut connection) => match connection.run(config, prefixes, watcher).await {
            Ok(never) => match never {},
            Err(error) => error,
        },
        Err(error) => error,
    }
}

/// What cannot be.
enum Never {}

struct Connection {
    socket: Socket,
    readiness: Readiness,
    reader: Reader,
    /// What has arrived of the next message.
    sink: Sink,
    bytes: Vec<u8>,
    taken: usize,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.socket.shut_down();
    }
}

impl Connection {
    async fn open(config: &Config, endpoint: &Endpoint) -> Result<Self> {
        let socket = connect(config, endpoint).await?;
        let readiness = socket.watch().map_err(broken)?;
        Ok(Self { socket, readiness, reader: Reader::new(), sink: Sink::any(), bytes: Vec::new(), taken: 0 })
    }

    async fn run(&mut self, config: &Config, prefixes: &[Vec<u8>], watcher: &dyn Watcher) -> Result<Never> {
        let limit = || Instant::now() + config.command_timeout;
        self.send(redis::cmd("CLIENT").arg("ID"), limit()).await?;
        let Value::Int(id) = self.next(limit()).await? else { return Err(unexpected()) };
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("REDIRECT").arg(id).arg("BCAST");
        for prefix in prefixes {
            tracking.arg("PREFIX").arg(prefix);
        }
        self.send(&tracking, limit()).await?;
        self.next(limit()).await?;
        self.send(redis::cmd("SUBSCRIBE").arg(CHANNEL), limit()).await?;
        self.next(limit()).await?;
        watcher.tracking(true);
        let mut asked = false;
        loop {
            let wait = if asked { config.command_timeout } else { QUIET };
            match self.next(Instant::now() + wait).await {
                Ok(Value::Array(parts)) => {
                    asked = false;
                    match <[Value; 3]>::try_from(parts) {
                        Ok([_, _, Value::Array(keys)]) => watcher.changed(Some(names(keys))),
                        Ok([_, _, Value::Nil]) => watcher.changed(None),
                        // The answer to PING has two parts.
                        Ok(_) | Err(_) => {}
                    }
                }
                Ok(_) => return Err(unexpected()),
                Err(error) if *error.kind() == Kind::Timeout && !asked => {
                    asked = true;
                    self.send(&redis::cmd("PING"), limit()).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn send(&self, command: &redis::Cmd, limit: Instant) -> Result<()> {
        let bytes = command.get_packed_command();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match self.readiness.attempt(Interest::WRITABLE, || self.socket.try_write(rest)) {
                Ok(written) => rest = rest.get(written..).unwrap_or(&[]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout_at(limit, self.readiness.writable())
                        .await
                        .map_err(|_| late())?
                        .map_err(broken)?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        self.push(limit).await
    }

    /// Gives the system what TLS keeps.
    async fn push(&self, limit: Instant) -> Result<()> {
        while self.socket.holds_bytes() {
            match self.readiness.attempt(Interest::WRITABLE, || self.socket.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout_at(limit, self.readiness.writable())
                        .await
                        .map_err(|_| late())?
                        .map_err(broken)?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    /// The next reply or message, or the error that it is. Where the time is over, a later call goes on with it.
    async fn next(&mut self, limit: Instant) -> Result<Value> {
        loop {
            let rest = self.bytes.get(self.taken..).unwrap_or(&[]);
            if !rest.is_empty() {
                let (used, complete) = self
                    .reader
                    .read(rest, &mut self.sink)
                    .map_err(|error| Error::new(Kind::Protocol, error.0))?;
                self.taken += used;
                if complete {
                    let mut sink = mem::replace(&mut self.sink, Sink::any());
                    if let Some(fault) = sink.take_fault() {
                        return Err(fault);
                    }
                    return match sink.into_reply() {
                        Some(Reply::Value(value)) => Ok(value),
                        Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Page(_)) | None => {
                            Err(unexpected())
                        }
                    };
                }
            }
            self.fill(limit).await?;
        }
    }

    /// Reads more; everything before is taken.
    async fn fill(&mut self, limit: Instant) -> Result<()> {
        // Reading may have left something to answer.
        self.push(limit).await?;
        self.bytes.resize(CHUNK, 0);
        self.taken = 0;
        loop {
            let Self { socket, readiness, bytes, .. } = self;
            match readiness.attempt(Interest::READABLE, || socket.try_read(bytes)) {
                Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    self.bytes.truncate(read);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let readable = timeout_at(limit, self.readiness.readable()).await;
                    if readable.is_err() {
                        self.bytes.clear();
                        return Err(late());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

fn names(keys: Vec<Value>) -> Vec<Vec<u8>> {
    let name = |key| if let Value::BulkString(name) = key { Some(name) } else { None };
    keys.into_iter().filter_map(name).collect()
}

fn broken(cause: io::Error) -> Error {
    Error::new(Kind::ConnectionLost, "the connection that tells of changes broke").with_cause(cause)
}

fn late() -> Error {
    Error::new(Kind::Timeout, "the server told nothing in time")
}

fn unexpected() -> Error {
    Error::new(Kind::Protocol, "an answer of another kind than the question")
}
