//! A command, cut by the nodes that carry out its parts.

use super::Cluster;
use super::layout::Layout;
use super::node::Node;
use super::results::{Results, Shape};
use super::route::{Place, place_of};
use super::slots::{Hasher, SLOTS};
use crate::batch::Keys;
use crate::config::ReadFrom;
use crate::store::standalone::Message;
use crate::store::{Answer, Command, Condition, EventLoop, Settled, Split};
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// A command and where its items belong.
pub(super) struct Work<'a> {
    pub(super) command: &'a Command<'a>,
    pub(super) shape: Shape,
    /// The keys' slots; empty for a command that is one item.
    slots: Vec<u16>,
    /// Where a command that is one item goes.
    pub(super) place: Place,
}

/// What one node is asked.
pub(super) struct Part {
    pub(super) node: Arc<Node>,
    /// Places of its items among those of the command, in the order in which it is asked for them.
    pub(super) positions: Vec<u32>,
    /// How many of them stand in each command; empty: one in each.
    runs: Vec<u32>,
    /// Whether the node has no right to the slot yet.
    pub(super) asking: bool,
}

impl<'a> Work<'a> {
    pub(super) fn new(command: &'a Command<'a>) -> Self {
        let of_keys = |keys: &Keys, items: &[u32], shape| {
            let mut hasher = Hasher::new(keys);
            let slots = items.iter().map(|&index| hasher.slot(index as usize)).collect();
            Self { command, shape, slots, place: Place::Any }
        };
        let single = |place| Self { command, shape: Shape::One, slots: Vec::new(), place };
        match command {
            Command::Lookup { keys, items, .. } => of_keys(keys, items, Shape::Values(items.len())),
            Command::Set { entries, items, .. } => {
                of_keys(&entries.keys, items, Shape::Statuses(items.len()))
            }
            Command::Mset { entries, items } => of_keys(&entries.keys, items, Shape::OneStatus(items.len())),
            Command::Delete { keys, items, .. } => of_keys(keys, items, Shape::Statuses(items.len())),
            Command::Scan { shard, .. } => single(Place::Shard(*shard)),
            Command::Other { arguments } => single(place_of(arguments)),
        }
    }

    pub(super) fn slot(&self, position: u32) -> Option<u16> {
        match (self.shape, self.place) {
            (Shape::One, Place::Slot(slot)) => Some(slot),
            (Shape::One, _) => None,
            _ => self.slots.get(position as usize).copied(),
        }
    }

    fn items(&self) -> &[u32] {
        match self.command {
            Command::Lookup { items, .. }
            | Command::Set { items, .. }
            | Command::Mset { items, .. }
            | Command::Delete { items, .. } => items,
            Command::Scan { .. } | Command::Other { .. } => &[],
        }
    }

    /// The part as bytes.
    pub(super) fn message(&self, part: &Part) -> Message {
        let items: Vec<u32> = part
            .positions
            .iter()
            .filter_map(|&position| self.items().get(position as usize).copied())
            .collect();
        let split = if part.runs.is_empty() { Split::Each } else { Split::Runs(&part.runs) };
        if !part.asking {
            return self.with_command(&items, split, Message::of);
        }
        let mut message = self.with_command(&items, Split::Each, Message::of);
        message.asking = true;
        message.bytes.clear();
        // A command that is one item has no items.
        for item in items.chunks(1).chain(items.is_empty().then_some(&[][..])) {
            message.bytes.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
            let one = self.with_command(item, Split::Each, |command| command.encode());
            message.bytes.extend_from_slice(&one);
        }
        message
    }

    fn with_command<T>(&self, items: &[u32], split: Split<'_>, take: impl FnOnce(&Command<'_>) -> T) -> T {
        match *self.command {
            Command::Lookup { keys, via, .. } => take(&Command::Lookup { keys, items, via, split }),
            Command::Set { entries, condition, .. } => take(&Command::Set { entries, items, condition }),
            Command::Mset { entries, .. } => {
                take(&Command::Set { entries, items, condition: Condition::Always })
            }
            Command::Delete { keys, verb, .. } => {
                take(&Command::Delete { keys, items, verb, split: Split::Each })
            }
            Command::Scan { .. } | Command::Other { .. } => take(self.command),
        }
    }
}

/// Collects what goes where.
#[derive(Default)]
pub(super) struct Parts(Vec<Part>);

impl Parts {
    /// Adds an item for a node.
    pub(super) fn add(&mut self, node: &Arc<Node>, asking: bool, position: u32) {
        let known = self.0.iter_mut().find(|part| part.node.shard == node.shard && part.asking == asking);
        match known {
            Some(part) => part.positions.push(position),
            None => {
                self.0.push(Part { node: node.clone(), positions: vec![position], runs: Vec::new(), asking });
            }
        }
    }

    pub(super) fn into_vec(self) -> Vec<Part> {
        self.0
    }
}

impl Part {
    /// Puts keys of one slot into one command where slots have many of them, as keys with a hash tag do. Else a command
    /// for each key takes the server no longer, and spares the sorting.
    fn group(&mut self, work: &Work<'_>) {
        const KEYS_A_SLOT: usize = 4;
        if self.positions.len() < KEYS_A_SLOT {
            return;
        }
        let mut seen = vec![false; usize::from(SLOTS)];
        let mut distinct = 0;
        for slot in self.positions.iter().filter_map(|position| work.slot(*position)) {
            if let Some(known) = seen.get_mut(usize::from(slot))
                && !mem::replace(known, true)
            {
                distinct += 1;
            }
        }
        if self.positions.len() < KEYS_A_SLOT * distinct {
            return;
        }
        // The sort is stable: a slot's keys stay in order.
        self.positions.sort_by_key(|position| work.slot(*position));
        let same = |one: &u32, other: &u32| work.slot(*one) == work.slot(*other);
        self.runs = self.positions.chunk_by(same).map(|run| run.len() as u32).collect();
    }
}

impl Cluster {
    /// What each node is asked at first: keys of one slot together where the answers allow it. `None` when there is
    /// nobody to ask, or all are to be asked.
    pub(super) fn first_parts(&self, work: &Work<'_>, layout: &Layout) -> Option<Vec<Part>> {
        let reads = matches!(work.command, Command::Lookup { .. });
        let groups = layout.groups();
        if work.shape == Shape::One {
            let node = match work.place {
                Place::Slot(slot) => &layout.group(slot)?.primary,
                Place::Any => self.any_primary(layout)?,
                Place::Shard(shard) => layout.primary(shard)?,
                Place::Everywhere(_) => return None,
            };
            let mut parts = Parts::default();
            parts.add(node, false, 0);
            return Some(parts.into_vec());
        }
        let nodes: Vec<&Arc<Node>> =
            groups.iter().map(|group| if reads { self.reader_of(group) } else { &group.primary }).collect();
        let mut positions: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
        for (position, slot) in (0u32..).zip(&work.slots) {
            positions.get_mut(layout.group_index(*slot))?.push(position);
        }
        let parts = nodes.into_iter().zip(positions).filter(|(_, positions)| !positions.is_empty());
        Some(
            parts
                .map(|(node, positions)| {
                    let mut part = Part { node: node.clone(), positions, runs: Vec::new(), asking: false };
                    if reads {
                        part.group(work);
                    }
                    part
                })
                .collect(),
        )
    }

    /// Who answers reads of a group: a replica that is connected, where replicas are to.
    fn reader_of<'a>(&self, group: &'a super::layout::Group) -> &'a Arc<Node> {
        if self.read_from == ReadFrom::Primary || group.replicas.is_empty() {
            return &group.primary;
        }
        let first = self.rotation.fetch_add(1, Ordering::Relaxed);
        let turns = (0..group.replicas.len()).map(|turn| (first + turn) % group.replicas.len());
        let mut ready = turns.filter_map(|at| group.replicas.get(at)).filter(|node| node.store.is_ready());
        ready.next().unwrap_or(&group.primary)
    }

    /// Sends all parts; the one that is answered last settles the whole.
    pub(super) fn send_joined(
        &self,
        work: &Work<'_>,
        parts: Vec<Part>,
        limit: Option<Instant>,
        caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) {
        let messages: Vec<_> = parts.iter().map(|part| (part.node.clone(), work.message(part))).collect();
        let answers = parts.iter().map(|_| None).collect();
        let join = Arc::new(Join {
            cluster: self.me.clone(),
            shape: work.shape,
            state: Mutex::new(JoinState { parts, answers, settled: Some(settled) }),
        });
        for (at, (node, message)) in messages.into_iter().enumerate() {
            let join = join.clone();
            node.store.send(message, limit, caller, Box::new(move |answer| join.arrived(at, answer)));
        }
    }
}

/// Waits for the answers to all parts of a command.
struct Join {
    cluster: std::sync::Weak<Cluster>,
    shape: Shape,
    state: Mutex<JoinState>,
}

struct JoinState {
    parts: Vec<Part>,
    answers: Vec<Option<Answer>>,
    settled: Option<Settled>,
}

impl Join {
    fn arrived(&self, at: usize, answer: Answer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = state.answers.get_mut(at) {
            *place = Some(answer);
        }
        if state.answers.iter().any(Option::is_none) {
            return;
        }
        let (parts, answers) = (mem::take(&mut state.parts), mem::take(&mut state.answers));
        let Some(settled) = state.settled.take() else { return };
        drop(state);
        let mut results = Results::blank(self.shape);
        let answers: Vec<(Part, Answer)> = parts.into_iter().zip(answers.into_iter().flatten()).collect();
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.learn(&answers);
        }
        results.update(answers);
        settled(results.into_answer());
    }
}
