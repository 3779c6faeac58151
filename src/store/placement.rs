//! Where slots are at one moment: what a scan over several servers may have missed shows in the difference of two.

use super::Shard;
use std::collections::{BTreeMap, BTreeSet};

/// The primaries and what each has, to be compared with another moment's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement(BTreeMap<Shard, Holding>);

/// What one primary has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    /// First and last slot of each run, ascending.
    pub(super) slots: Vec<(u16, u16)>,
    /// Changes with every slot that the primary takes over.
    pub(super) epoch: u64,
    /// Whether keys are on their way here, one by one.
    pub(super) importing: bool,
    /// Whether keys leave, one by one.
    pub(super) migrating: bool,
}

impl Holding {
    fn has(&self, slots: (u16, u16)) -> bool {
        self.slots.iter().any(|own| own.0 <= slots.0 && slots.1 <= own.1)
    }

    /// Whether it may have got keys of others since it was `before`.
    fn gained(&self, before: Option<&Self>) -> bool {
        let Some(before) = before else { return !self.slots.is_empty() };
        self.importing
            || before.importing
            || self.epoch != before.epoch
            || !self.slots.iter().all(|slots| before.has(*slots))
    }

    /// Whether keys may have left it until it was `after`.
    fn lost(&self, after: Option<&Self>) -> bool {
        let Some(after) = after else { return true };
        self.migrating
            || after.migrating
            || self.epoch != after.epoch
            || !self.slots.iter().all(|slots| after.has(*slots))
    }
}

impl Placement {
    /// Of a single server, which has everything.
    pub(super) fn whole() -> Self {
        Self([(Shard::default(), Holding::default())].into())
    }

    pub(super) fn new(holdings: impl IntoIterator<Item = (Shard, Holding)>) -> Self {
        Self(holdings.into_iter().collect())
    }

    /// The servers.
    pub fn shards(&self) -> BTreeSet<Shard> {
        self.0.keys().copied().collect()
    }

    /// The servers that are to be scanned once more after a scan of `scanned`, which began when slots were placed like
    /// this and has ended with `after`: a key that moved meanwhile may have left one server before it was reached there,
    /// for another where its place had been passed. A key that nothing has moved was found. None when nothing left what
    /// was scanned.
    pub fn rescan(&self, after: &Self, scanned: &BTreeSet<Shard>) -> BTreeSet<Shard> {
        let left =
            self.0.iter().any(|(shard, holding)| scanned.contains(shard) && holding.lost(after.0.get(shard)));
        if !left {
            return BTreeSet::new();
        }
        let gained = after.0.iter().filter(|(shard, holding)| holding.gained(self.0.get(shard)));
        gained.map(|(shard, _)| *shard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(slots: &[(u16, u16)]) -> Holding {
        Holding { slots: slots.to_vec(), ..Holding::default() }
    }

    fn placement(holdings: [Holding; 2]) -> Placement {
        Placement::new((1..).map(Shard).zip(holdings))
    }

    fn numbers(shards: BTreeSet<Shard>) -> Vec<u64> {
        shards.into_iter().map(|shard| shard.0).collect()
    }

    #[test]
    fn what_received_keys_is_scanned_again() {
        let before = placement([holding(&[(0, 9)]), holding(&[(10, 19)])]);
        let all = before.shards();
        assert!(before.rescan(&before, &all).is_empty());
        let moved = placement([holding(&[(0, 8)]), holding(&[(9, 19)])]);
        assert_eq!(numbers(before.rescan(&moved, &all)), [2]);
        // Nothing left the second one while it was scanned again.
        assert!(before.rescan(&moved, &[Shard(2)].into()).is_empty());
        let open = placement([
            Holding { migrating: true, ..holding(&[(0, 9)]) },
            Holding { importing: true, ..holding(&[(10, 19)]) },
        ]);
        assert_eq!(numbers(before.rescan(&open, &all)), [2]);
        assert_eq!(numbers(open.rescan(&before, &all)), [2]);
        // There and back between two looks.
        let bumped = placement([Holding { epoch: 1, ..holding(&[(0, 9)]) }, holding(&[(10, 19)])]);
        assert_eq!(numbers(before.rescan(&bumped, &all)), [1]);
    }

    #[test]
    fn a_promoted_replica_is_scanned() {
        let before = placement([holding(&[(0, 9)]), holding(&[(10, 19)])]);
        let after = Placement::new([(Shard(1), holding(&[(0, 9)])), (Shard(3), holding(&[(10, 19)]))]);
        assert_eq!(numbers(before.rescan(&after, &before.shards())), [3]);
    }

    #[test]
    fn one_server_is_scanned_once() {
        let whole = Placement::whole();
        assert_eq!(whole.shards().len(), 1);
        assert!(whole.rescan(&Placement::whole(), &whole.shards()).is_empty());
    }
}
