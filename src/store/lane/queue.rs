//! The answers that a lane still expects, oldest first, and the next moment to look at their deadlines.

use super::ReplyTo;
use crate::error::{Error, Kind};
use crate::resp::Sink;
use crate::store::{Answer, Failure};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// After work the timer keeps ticking at this distance and stops at the first tick that saw none, so that a request
/// to a busy lane need not wake the driver only to arm it.
const LINGER: Duration = Duration::from_secs(1);

/// A request that was accepted and not answered.
pub(super) struct Expected {
    /// How many were accepted before it; given by [`Queue::push`].
    pub(super) number: u64,
    /// Still to come.
    pub(super) replies: usize,
    /// Whether every other reply, from the first, is that of ASKING.
    pub(super) asking: bool,
    pub(super) sink: Sink,
    pub(super) deadline: Instant,
    /// Position of its first byte in everything accepted for this lane.
    pub(super) first_byte: u64,
    pub(super) sent_at: Instant,
    /// `None` once the caller was told that its time is up.
    pub(super) reply_to: Option<ReplyTo>,
}

impl Expected {
    /// Tells whoever waits.
    pub(super) fn settle(self, failure: Option<Failure>) {
        if let Some(reply_to) = self.reply_to {
            reply_to.settle(Answer { sink: self.sink, failure });
        }
    }

    /// Tells the caller that its time is up, and keeps the place: its answer is still to come.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.deadline <= now
            && let Some(reply_to) = self.reply_to.take()
        {
            let sink = std::mem::replace(&mut self.sink, Sink::Skip);
            reply_to.settle(Answer { sink, failure: Some(Failure { error: late(), sent: true }) });
        }
    }

    /// When the caller stops waiting, if it still does.
    pub(super) fn due(&self) -> Option<Instant> {
        self.reply_to.is_some().then_some(self.deadline)
    }
}

/// The queue and its alarm.
#[derive(Default)]
pub(super) struct Queue {
    expected: VecDeque<Expected>,
    /// When the driver looks at the deadlines next.
    alarm: Option<Instant>,
    /// Whether anything was accepted since the last look.
    active: bool,
    accepted: u64,
}

impl Queue {
    /// Adds an entry; says whether the driver must be woken to look earlier than it would.
    pub(super) fn push(&mut self, entry: Expected) -> bool {
        let earlier = self.alarm.is_none_or(|alarm| entry.deadline < alarm);
        if earlier {
            self.alarm = Some(entry.deadline);
        }
        self.active = true;
        self.expected.push_back(Expected { number: self.accepted, ..entry });
        self.accepted += 1;
        earlier
    }

    /// Requests accepted so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Takes the request whose answer comes next, if it is among the first `known` that were accepted.
    pub(super) fn pop(&mut self, known: u64) -> Option<Expected> {
        self.expected.front().filter(|entry| entry.number < known)?;
        self.expected.pop_front()
    }

    pub(super) fn take_all(&mut self) -> VecDeque<Expected> {
        std::mem::take(&mut self.expected)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    pub(super) fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    /// When the oldest request without an answer was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.expected.front().map(|entry| entry.sent_at)
    }

    /// Expires what is due and sets the next alarm, at `silence_ends` at the latest while anything is expected.
    /// `take_back` takes back the request at a position if nothing of it has left: then no answer will come.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        current: Option<Instant>,
        silence_ends: Option<Instant>,
        mut take_back: impl FnMut(u64) -> bool,
    ) {
        let mut unsent = Vec::new();
        self.expected = std::mem::take(&mut self.expected)
            .into_iter()
            .filter_map(|mut entry| {
                if entry.deadline <= now && entry.reply_to.is_some() && take_back(entry.first_byte) {
                    unsent.push(entry);
                    return None;
                }
                entry.expire(now);
                Some(entry)
            })
            .collect();
        for entry in unsent {
            entry.settle(Some(Failure::unsent(late())));
        }
        let due = self.expected.iter().filter_map(Expected::due).chain(current).min();
        let next = due.into_iter().chain(silence_ends).min();
        let linger = self.active.then_some(now + LINGER);
        self.active = false;
        self.alarm = next.into_iter().chain(linger).min();
    }
}

/// The failure of whoever waited in vain.
pub(super) fn late() -> Error {
    Error::new(Kind::Timeout, "no answer within the time limit")
}
