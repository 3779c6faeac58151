//! What the nodes say of themselves: for scans and for health.

use super::Cluster;
use super::discovery::value_of;
use super::layout::{Layout, known_host};
use super::node::{Node, Role};
use crate::error::Result;
use crate::store::connect::Endpoint;
use crate::store::placement::{Holding, Placement};
use crate::store::{Bounds, Command, NodeState, Shard, Store};
use std::sync::Arc;
use tokio::task::JoinSet;

/// A line of CLUSTER NODES.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    host: &'a str,
    port: u16,
    flags: Vec<&'a str>,
    epoch: u64,
    connected: bool,
    slots: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// `id host:port@bus,name flags primary ping pong epoch state slot…`
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(' ').skip(1);
        let address = fields.next()?.split(['@', ',']).next()?;
        let (host, port) = address.rsplit_once(':')?;
        let flags = fields.next()?.split(',').collect();
        let mut fields = fields.skip(3);
        let epoch = fields.next()?.parse().ok()?;
        let connected = fields.next()? == "connected";
        Some(Self { host, port: port.parse().ok()?, flags, epoch, connected, slots: fields.collect() })
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// What the node has, if it is a primary. A slot on its way is written `[slot->-id]` or `[slot-<-id]`, by its own
    /// node only.
    fn holding(&self) -> Option<Holding> {
        if !self.is("master") {
            return None;
        }
        let mut holding = Holding { epoch: self.epoch, ..Holding::default() };
        for slot in &self.slots {
            if slot.starts_with('[') {
                holding.importing |= slot.contains("-<-");
                holding.migrating |= slot.contains("->-");
                continue;
            }
            let (first, last) = slot.split_once('-').unwrap_or((slot, slot));
            holding.slots.push((first.parse().ok()?, last.parse().ok()?));
        }
        holding.slots.sort_unstable();
        Some(holding)
    }
}

impl Cluster {
    /// What each primary has, by its own word. Where that is not what was known, the cluster is discovered again.
    pub(super) async fn holdings(&self, bounds: &Bounds) -> Result<Placement> {
        let layout = self.some_layout(bounds).await?;
        let own = self.own_words(&layout, bounds).await;
        let known = layout.primaries().all(|node| {
            own.iter().any(|(shard, holding)| {
                *shard == node.shard
                    && holding.as_ref().is_some_and(|holding| holding.slots == layout.slots_of(*shard))
            })
        });
        if known {
            return Ok(placed(&layout, own));
        }
        let layout = self.newer_layout(layout.version, bounds).await?;
        let own = self.own_words(&layout, bounds).await;
        Ok(placed(&layout, own))
    }

    async fn own_words(&self, layout: &Layout, bounds: &Bounds) -> Vec<(Shard, Option<Holding>)> {
        let asked: Vec<Arc<Node>> = layout.primaries().cloned().collect();
        let texts = self.cluster_nodes(asked, bounds).await;
        let own = texts.into_iter().map(|(node, text)| {
            let mine = text.ok().and_then(|text| {
                text.lines().filter_map(Line::read).find(|line| line.is("myself"))?.holding()
            });
            (node.shard, mine)
        });
        own.collect()
    }

    /// CLUSTER NODES of each.
    async fn cluster_nodes(
        &self,
        nodes: Vec<Arc<Node>>,
        bounds: &Bounds,
    ) -> Vec<(Arc<Node>, Result<String>)> {
        let limit = bounds.limit();
        let mut asked = JoinSet::new();
        for node in nodes {
            asked.spawn(async move {
                let arguments = [b"CLUSTER".to_vec(), b"NODES".to_vec()];
                let answer =
                    node.store.execute(&Command::Other { arguments: &arguments }, &Bounds::new(limit)).await;
                let text = value_of(answer).map(|value| redis::from_redis_value(value).unwrap_or_default());
                (node, text)
            });
        }
        let mut texts = Vec::new();
        while let Some(joined) = asked.join_next().await {
            texts.extend(joined.ok());
        }
        texts
    }

    /// Every node that the cluster knows of. A primary is up when it answers this client; of a replica the cluster's
    /// own word counts.
    pub(super) async fn node_states(&self, bounds: &Bounds) -> Vec<NodeState> {
        let Ok(layout) = self.some_layout(bounds).await else {
            let seeds = self.seeds.iter();
            return seeds.map(|seed| NodeState::only(seed.to_string(), false)).collect();
        };
        let asked: Vec<Arc<Node>> = layout.primaries().cloned().collect();
        let texts = self.cluster_nodes(asked, bounds).await;
        let answers = |endpoint: &Endpoint| {
            let asked = texts.iter().find(|(node, _)| node.endpoint == *endpoint);
            asked.map(|(_, text)| match text {
                Ok(_) => true,
                // It may refuse to tell, and work all the same.
                Err(error) => error.kind().is_reply(),
            })
        };
        let told = texts.iter().find_map(|(node, text)| Some((node, text.as_ref().ok()?)));
        let mut states: Vec<NodeState> = match told {
            None => Vec::new(),
            Some((teller, text)) => {
                let lines = text.lines().filter_map(Line::read);
                let listed = lines.filter(|line| !line.is("noaddr") && !line.is("handshake"));
                let states = listed.map(|line| {
                    let announced = known_host(line.host, line.port, &teller.endpoint);
                    let endpoint = self.reachable(&announced);
                    let alive = (line.connected || line.is("myself")) && !line.is("fail");
                    NodeState {
                        address: endpoint.to_string(),
                        is_primary: line.is("master"),
                        is_needed: line.holding().is_some_and(|holding| !holding.slots.is_empty()),
                        is_up: answers(&endpoint).unwrap_or(alive),
                    }
                });
                states.collect()
            }
        };
        for node in layout.nodes() {
            let address = node.endpoint.to_string();
            if !states.iter().any(|state| state.address == address) {
                let is_primary = node.role == Role::Primary;
                let is_up = answers(&node.endpoint).unwrap_or_else(|| node.store.is_ready());
                states.push(NodeState { address, is_primary, is_needed: is_primary, is_up });
            }
        }
        states.sort_by(|one, other| one.address.cmp(&other.address));
        states
    }
}

/// Where a primary did not say, what was known counts.
fn placed(layout: &Layout, own: Vec<(Shard, Option<Holding>)>) -> Placement {
    Placement::new(own.into_iter().map(|(shard, holding)| {
        let known = || Holding { slots: layout.slots_of(shard), ..Holding::default() };
        (shard, holding.unwrap_or_else(known))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cluster_nodes() {
        let line = Line::read(
            "07c37df 127.0.0.1:30004@31004,host myself,master - 0 1426238317239 4 connected 0-5460 5470 [93-<-292f] [77->-e7d1]",
        )
        .expect("a line");
        assert_eq!((line.host, line.port, line.connected), ("127.0.0.1", 30004, true));
        let expected =
            Holding { slots: vec![(0, 5460), (5470, 5470)], epoch: 4, importing: true, migrating: true };
        assert_eq!(line.holding(), Some(expected));
        let line = Line::read("6ec2 ::1:30005@31005 slave,fail 67ed 1 2 5 disconnected").expect("a line");
        assert_eq!((line.host, line.port, line.connected, line.holding()), ("::1", 30005, false, None));
        assert_eq!(Line::read("vars currentEpoch 6 lastVoteEpoch 0"), None);
        assert_eq!(Line::read(""), None);
    }
}
