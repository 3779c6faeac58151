//! Of two writes to one key in one command the later one stands, also where one of them is asked for again.
//!
//! They start out in one part, in order. Then one may be refused (MOVED, CLUSTERDOWN) and the other carried out. A later one
//! that was carried out has overtaken the earlier: that one is not sent any more and counts as carried out, as if it
//! had been right before. What is still to be sent stays together: in one part, in order.

use super::node::Node;
use super::work::{Parts, Work};
use crate::resp::Status;
use crate::store::{Command, Condition};
use std::collections::HashMap;
use std::sync::Arc;

/// A prefix and what follows it.
type Key<'a> = (&'a [u8], &'a [u8]);

impl<'a> Work<'a> {
    /// The key that an item writes.
    fn written(&self, position: u32) -> Option<Key<'a>> {
        let (Command::Set { entries, items, .. } | Command::Mset { entries, items }) = self.command else {
            return None;
        };
        items.get(position as usize).map(|&index| entries.keys.parts(index as usize))
    }

    /// Whether a write, had it been carried out right before a later one to the same key, would have left nothing behind
    /// and changed nothing of that one's answer. Two under NX cannot both be met.
    fn gives_way(&self) -> bool {
        match self.command {
            Command::Mset { .. } => true,
            Command::Set { condition, .. } => match condition {
                Condition::Always | Condition::IfPresent => true,
                Condition::IfAbsent => false,
            },
            Command::Lookup { .. }
            | Command::Delete { .. }
            | Command::Scan { .. }
            | Command::Other { .. } => false,
        }
    }

    /// Which of `open`, items that may be sent again, are overtaken.
    pub(super) fn overtaken(&self, statuses: &[Status], open: &[u32]) -> Vec<u32> {
        if open.is_empty() || !self.gives_way() {
            return Vec::new();
        }
        // The last write to each of these keys that was carried out.
        let mut done: HashMap<Key<'_>, Option<u32>> =
            open.iter().filter_map(|&position| Some((self.written(position)?, None))).collect();
        for (position, status) in (0u32..).zip(statuses) {
            if matches!(status, Status::Done)
                && let Some(last) = self.written(position).and_then(|key| done.get_mut(&key))
            {
                *last = Some(position);
            }
        }
        let overtaken = open.iter().copied().filter(|&position| {
            let last = self.written(position).and_then(|key| done.get(&key).copied().flatten());
            last.is_some_and(|last| last > position)
        });
        overtaken.collect()
    }

    /// Parts for items and the nodes they go to, each with whether it has to be told that it is asked on its way.
    pub(super) fn parts(&self, items: &[(u32, Arc<Node>, bool)]) -> Parts {
        // Writes to one key all go where the last one goes.
        let last: HashMap<Key<'_>, (&Arc<Node>, bool)> = items
            .iter()
            .filter_map(|(position, node, asking)| Some((self.written(*position)?, (node, *asking))))
            .collect();
        let mut parts = Parts::default();
        for (position, node, asking) in items {
            let (node, asking) =
                self.written(*position).and_then(|key| last.get(&key).copied()).unwrap_or((node, *asking));
            parts.add(node, asking, *position);
        }
        parts
    }
}
