//! When a sweep for expired entries can find any, and where it goes on.

use super::slab::NEVER;

/// Knows a time before which nothing expires, so that a table without expired entries is never searched for them.
///
/// The sweep walks the slots round and round. In one round it sees every deadline that was there when the round
/// began, and [`Deadlines::note`] every one that was set since; the least of both holds for the next round.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// No deadline is earlier than this.
    earliest: u64,
    /// The earliest deadline that this round has seen or been told of.
    earliest_in_round: u64,
    /// The slot at which the sweep goes on.
    hand: usize,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        Deadlines { earliest: NEVER, earliest_in_round: NEVER, hand: 0 }
    }

    /// A deadline was set.
    pub(super) fn note(&mut self, deadline: u64) {
        self.earliest = self.earliest.min(deadline);
        self.earliest_in_round = self.earliest_in_round.min(deadline);
    }

    /// Whether an entry may have expired by `now`.
    pub(super) fn any_passed(&self, now: u64) -> bool {
        self.earliest <= now
    }

    /// The next slot to look at, of `slots`. `None` where a round is complete: the caller stops there.
    pub(super) fn next_slot(&mut self, slots: usize) -> Option<usize> {
        if self.hand >= slots {
            self.earliest = self.earliest_in_round;
            self.earliest_in_round = NEVER;
            self.hand = 0;
            return None;
        }
        self.hand += 1;
        Some(self.hand - 1)
    }

    /// The sweep saw this deadline, which has not passed.
    pub(super) fn saw(&mut self, deadline: u64) {
        self.earliest_in_round = self.earliest_in_round.min(deadline);
    }

    /// Begins a round anew, so that the next one to be complete has seen every slot.
    pub(super) fn restart(&mut self) {
        self.earliest_in_round = NEVER;
        self.hand = 0;
    }
}
