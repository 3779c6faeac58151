//! Who has which slot.

use super::node::{Node, Role};
use super::slots::SLOTS;
use crate::error::{Error, Kind, Result};
use crate::store::Shard;
use crate::store::connect::Endpoint;
use redis::Value;
use std::sync::Arc;
use tokio::time::Instant;

/// A slot without an owner.
const NOBODY: u16 = u16::MAX;

/// Which primary has which slot, as one node said it.
#[derive(Clone)]
pub(super) struct Layout {
    /// Counts discoveries.
    pub(super) version: u64,
    pub(super) discovered: Instant,
    /// Index into `groups` for each slot.
    owners: Box<[u16]>,
    groups: Vec<Group>,
}

/// A primary and its replicas.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) primary: Arc<Node>,
    pub(super) replicas: Vec<Arc<Node>>,
}

/// Addresses and their slots, from CLUSTER SLOTS.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    /// First and last slot, the primary, its replicas.
    pub(super) ranges: Vec<(u16, u16, Endpoint, Vec<Endpoint>)>,
}

impl Announced {
    /// Reads the reply. `asked` stands for what the server does not know of itself.
    ///
    /// # Errors
    /// `Protocol` for a reply of another form.
    pub(super) fn read(reply: &Value, asked: &Endpoint) -> Result<Self> {
        let wrong = || Error::new(Kind::Protocol, "a reply to CLUSTER SLOTS of another form");
        let Value::Array(rows) = reply else { return Err(wrong()) };
        let ranges = rows.iter().map(|row| {
            let Value::Array(row) = row else { return None };
            let [Value::Int(first), Value::Int(last), primary, replicas @ ..] = row.as_slice() else {
                return None;
            };
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            if first > last || last >= SLOTS {
                return None;
            }
            let replicas: Option<Vec<_>> = replicas.iter().map(|node| address(node, asked)).collect();
            Some((first, last, address(primary, asked)?, replicas?))
        });
        ranges.collect::<Option<Vec<_>>>().map(|ranges| Self { ranges }).ok_or_else(wrong)
    }
}

fn address(node: &Value, asked: &Endpoint) -> Option<Endpoint> {
    let Value::Array(fields) = node else { return None };
    let [host, Value::Int(port), ..] = fields.as_slice() else { return None };
    let host: Option<String> = redis::from_redis_value_ref(host).ok()?;
    Some(known_host(&host.unwrap_or_default(), u16::try_from(*port).ok()?, asked))
}

/// An announced address. A server that does not know its own host means the one that it was asked under.
pub(super) fn known_host(host: &str, port: u16, asked: &Endpoint) -> Endpoint {
    match asked {
        Endpoint::Tcp { host: own, .. } if host.is_empty() || host == "?" => {
            Endpoint::Tcp { host: own.clone(), port }
        }
        Endpoint::Tcp { .. } | Endpoint::Unix { .. } => Endpoint::Tcp { host: host.to_owned(), port },
    }
}

impl Layout {
    /// From what the server at `asked` announced; `node_of` gives the node at an address.
    pub(super) fn new(
        version: u64,
        announced: &Announced,
        asked: &Endpoint,
        mut node_of: impl FnMut(&Endpoint, Role) -> Arc<Node>,
        replicas_wanted: bool,
    ) -> Self {
        let mut layout = Self {
            version,
            discovered: Instant::now(),
            owners: vec![NOBODY; usize::from(SLOTS)].into_boxed_slice(),
            groups: Vec::new(),
        };
        for (first, last, primary, replicas) in &announced.ranges {
            let group = layout.group_of(node_of(primary, Role::Primary));
            if let Some(known) = layout.groups.get_mut(usize::from(group))
                && known.replicas.is_empty()
                && replicas_wanted
            {
                known.replicas = replicas.iter().map(|replica| node_of(replica, Role::Replica)).collect();
            }
            let range = usize::from(*first)..=usize::from(*last);
            layout.owners.get_mut(range).unwrap_or(&mut []).fill(group);
        }
        if layout.groups.is_empty() {
            // Nobody has a slot yet; the server itself says so.
            layout.group_of(node_of(asked, Role::Primary));
        }
        layout
    }

    fn group_of(&mut self, primary: Arc<Node>) -> u16 {
        let known = self.groups.iter().position(|group| group.primary.shard == primary.shard);
        known.unwrap_or_else(|| {
            self.groups.push(Group { primary, replicas: Vec::new() });
            self.groups.len() - 1
        }) as u16
    }

    /// Gives the slot another owner.
    pub(super) fn set_owner(&mut self, slot: u16, primary: Arc<Node>) {
        let group = self.group_of(primary);
        if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
            *owner = group;
        }
    }

    /// Place in `groups` of who has the slot. Of one that nobody has the first primary is asked, which says what it
    /// knows of it.
    pub(super) fn group_index(&self, slot: u16) -> usize {
        let owner = self.owners.get(usize::from(slot)).map_or(0, |owner| usize::from(*owner));
        if owner < self.groups.len() { owner } else { 0 }
    }

    /// Who has the slot.
    pub(super) fn group(&self, slot: u16) -> Option<&Group> {
        self.groups.get(self.group_index(slot))
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn primaries(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.groups.iter().map(|group| &group.primary)
    }

    pub(super) fn primary(&self, shard: Shard) -> Option<&Arc<Node>> {
        self.primaries().find(|node| node.shard == shard)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.groups.iter().flat_map(|group| std::iter::once(&group.primary).chain(&group.replicas))
    }

    /// First and last slot of each run that the primary has.
    pub(super) fn slots_of(&self, shard: Shard) -> Vec<(u16, u16)> {
        let owns = |owner: &u16| {
            self.groups.get(usize::from(*owner)).is_some_and(|group| group.primary.shard == shard)
        };
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for (slot, _) in (0u16..).zip(&self.owners).filter(|(_, owner)| owns(owner)) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                Some(_) | None => runs.push((slot, slot)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    fn row(first: i64, last: i64, nodes: &[(Option<&str>, i64)]) -> Value {
        let nodes = nodes.iter().map(|(host, port)| {
            let host = host.map_or(Value::Nil, |host| Value::BulkString(host.into()));
            Value::Array(vec![
                host,
                Value::Int(*port),
                Value::BulkString(b"id".to_vec()),
                Value::Array(vec![]),
            ])
        });
        Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(nodes).collect())
    }

    #[test]
    fn a_host_that_the_server_does_not_know_is_the_one_asked() {
        let reply = Value::Array(vec![
            row(0, 5, &[(Some("10.0.0.1"), 7000), (Some(""), 7001)]),
            row(6, 16_383, &[(None, 7002), (Some("?"), 7003), (Some("b.example"), 7004)]),
        ]);
        let announced = Announced::read(&reply, &at("a.example", 1)).expect("well formed");
        let expected = vec![
            (0, 5, at("10.0.0.1", 7000), vec![at("a.example", 7001)]),
            (6, 16_383, at("a.example", 7002), vec![at("a.example", 7003), at("b.example", 7004)]),
        ];
        assert_eq!(announced.ranges, expected);
    }

    #[test]
    fn another_form_is_refused() {
        for reply in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![row(5, 4, &[(Some("h"), 1)])]),
            Value::Array(vec![row(0, 16_384, &[(Some("h"), 1)])]),
            Value::Array(vec![row(-1, 4, &[(Some("h"), 1)])]),
            Value::Array(vec![row(0, 1, &[(Some("h"), 70_000)])]),
            Value::Array(vec![row(0, 1, &[])]),
        ] {
            assert!(Announced::read(&reply, &at("a", 1)).is_err(), "{reply:?}");
        }
        assert_eq!(Announced::read(&Value::Array(vec![]), &at("a", 1)).expect("empty").ranges, []);
    }
}
