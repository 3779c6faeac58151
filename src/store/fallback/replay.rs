//! The way back to the server: what was done without it is done there, oldest first, and nothing before it.

use super::deliver::{Refused, Taken, is_lasting};
use super::forgotten::Forgotten;
use super::journal::{Flush, Journal, Touched};
use super::run::{Run, RunBuilder};
use super::{Core, Fallback, Mode};
use crate::error::{Error, Kind, Result};
use crate::panic::guarded;
use crate::store::backoff;
use crate::store::memory::{Db, Ttl};
use std::mem;
use std::sync::Weak;
use tokio::time::{sleep, timeout};

/// Keys that are dealt with at once, and the bytes of their values after which no more are added.
const BATCH_KEYS: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;
/// So few keys are done behind the shut door: a moment's work.
const LAST_KEYS: usize = 500;

/// Looks for the server with backoff until everything is done there and it answers again, or until another task has
/// taken over. `turn` is this one's number.
pub(super) async fn come_back(me: Weak<Fallback>, turn: u64) {
    let Some((retry, found)) = me.upgrade().map(|this| (this.parts.retry.clone(), this.found.clone())) else {
        return;
    };
    let mut attempt = 1;
    // A connection that somebody else makes is tried at once, unless it was one that did not help.
    let mut hopeful = true;
    loop {
        tokio::select! {
            () = sleep(backoff::background(&retry, attempt)) => {}
            () = found.notified(), if hopeful => {}
        }
        attempt += 1;
        let Some(fallback) = me.upgrade() else { return };
        if !fallback.is_turn(turn) {
            return;
        }
        // Of a failure nobody needs to hear: the memory goes on.
        hopeful = fallback.parts.line.connect().await.is_err();
        if hopeful {
            continue;
        }
        match guarded(fallback.try_return(turn)).await {
            Ok(()) => return,
            // The next attempt goes to whoever is the primary then.
            Err(error) if is_of_replica(&error) && fallback.is_turn(turn) => fallback.parts.line.disconnect(),
            Err(_) => {}
        }
    }
}

/// Whether a server said it that takes no writes, or lets nobody read, because it follows another one.
fn is_of_replica(error: &Error) -> bool {
    matches!(error.code(), "READONLY" | "MASTERDOWN")
}

/// What the journal wants done next.
enum Next {
    Flush(Flush),
    Forgotten(Box<Forgotten>),
    Keys(Vec<Touched>, Vec<Run>),
}

/// Opens the door to the memory again, unless it was opened to the server.
struct Shut<'a>(&'a Fallback);

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        let mut core = self.0.core();
        if core.mode == Mode::Shut {
            self.0.enter(&mut core, Mode::Memory);
        }
    }
}

impl Fallback {
    /// Whether no other task has taken over.
    fn is_turn(&self, turn: u64) -> bool {
        self.core().returns == turn
    }

    /// One attempt, on a connection that is there. Ok also when another task has taken over.
    async fn try_return(&self, turn: u64) -> Result<()> {
        // One at a time: nobody opens the door while another one's changes are under way.
        let _way = self.way_back.lock().await;
        match self.ask(&[b"PING".to_vec()]).await {
            Err(error) if !is_lasting(&error) => return Err(error),
            // Be it that it does not allow it, the server answers.
            Ok(()) | Err(_) => {}
        }
        let mut refused = Refused::default();
        // While callers go on the journal grows, too. Where it grows as fast as it is worked off, the door is shut on it.
        let mut batches = self.core().journal.len() / BATCH_KEYS * 2 + 10;
        while batches > 0 && self.is_turn(turn) && !self.core().journal.has_few(LAST_KEYS) {
            self.replay_batch(&mut refused).await?;
            batches -= 1;
        }
        {
            let mut core = self.core();
            if core.returns != turn {
                return Ok(());
            }
            // Nobody is to wait while all keys of the server are looked through, or the database is emptied.
            if !core.journal.has_keys_alone() {
                return Err(Error::new(Kind::Timeout, "the memory forgets keys as fast as they are deleted"));
            }
            self.enter(&mut core, Mode::Shut);
        }
        let _shut = Shut(self);
        let last = async {
            while self.is_turn(turn) && !self.core().journal.is_empty() {
                self.replay_batch(&mut refused).await?;
            }
            Ok(())
        };
        timeout(self.parts.command_timeout, last).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, "the last of what was done without the server took too long"))
        })?;
        let core = &mut *self.core();
        if core.returns == turn {
            core.returning = false;
            core.outages += 1;
            self.memory.with(Db::flush);
            // The room that many keys took is given back.
            core.journal = Journal::new(self.parts.limits.max_bytes);
            self.enter(core, Mode::Server);
            self.parts.states.set(core.line, refused.describe());
        }
        Ok(())
    }

    /// The next thing that the journal wants done. What fails is put back.
    async fn replay_batch(&self, refused: &mut Refused) -> Result<()> {
        // Chosen under one lock: a flush must not come after keys that were written after it.
        let next = {
            let mut core = self.core();
            if let Some(reach) = core.journal.take_flush() {
                Next::Flush(reach)
            } else if let Some(forgotten) = core.journal.take_forgotten() {
                Next::Forgotten(forgotten)
            } else {
                let (keys, runs) = self.next_batch(&mut core);
                Next::Keys(keys, runs)
            }
        };
        match next {
            Next::Flush(reach) => self.replay_flush(reach, refused).await,
            Next::Forgotten(forgotten) => {
                let result =
                    self.delete_found(forgotten.pattern(), |key| forgotten.may_contain(key), refused).await;
                if result.is_err() {
                    self.core().journal.put_back_forgotten(forgotten);
                }
                result
            }
            Next::Keys(keys, runs) => {
                let mut left = Taken { fallback: self, keys: keys.into_iter().map(Some).collect() };
                self.replay_runs(&runs, &mut left, refused).await
            }
        }
    }

    async fn replay_flush(&self, reach: Flush, refused: &mut Refused) -> Result<()> {
        let name = match reach {
            Flush::Database => b"FLUSHDB".to_vec(),
            Flush::Everything => b"FLUSHALL".to_vec(),
        };
        match self.ask(&[name]).await {
            Ok(()) => Ok(()),
            Err(error) if is_lasting(&error) => {
                refused.add(error);
                Ok(())
            }
            Err(error) => {
                self.core().journal.put_back_flush(reach);
                Err(error)
            }
        }
    }

    /// The keys that were touched longest ago, with what the memory holds of them.
    fn next_batch(&self, core: &mut Core) -> (Vec<Touched>, Vec<Run>) {
        let mut keys: Vec<Touched> = Vec::new();
        let mut runs = Vec::new();
        let mut run = RunBuilder::default();
        let mut bytes = 0;
        self.memory.with(|db| {
            while keys.len() < BATCH_KEYS
                && bytes < BATCH_BYTES
                && let Some((time, key)) = core.journal.pop()
            {
                let long = db.get(&key).is_some_and(|value| value.len() > BATCH_BYTES);
                if long && !keys.is_empty() {
                    // It goes alone.
                    core.journal.put_back((time, key));
                    break;
                }
                let expiry = match db.ttl_ms(&key) {
                    Ttl::Absent | Ttl::Persistent => None,
                    Ttl::Remaining(millis) => Some(millis),
                };
                let value = db.get(&key);
                bytes += key.len() + value.map_or(0, <[u8]>::len);
                if run.writes() != value.is_some() {
                    runs.extend(mem::take(&mut run).build());
                }
                run.add(&key, value, expiry);
                keys.push((time, key));
            }
        });
        runs.extend(run.build());
        (keys, runs)
    }
}
