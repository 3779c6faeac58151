//! One server of a cluster.

use crate::state::States;
use crate::store::connect::Endpoint;
use crate::store::{Link, Shard, Standalone};
use std::sync::Arc;

/// What a connection to a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    /// Reads from a replica.
    Replica,
}

/// A server and the connection to it.
pub(super) struct Node {
    /// No other node of the client has or had it.
    pub(super) shard: Shard,
    pub(super) endpoint: Endpoint,
    pub(super) role: Role,
    pub(super) store: Arc<Standalone>,
    /// Of this connection alone.
    pub(super) states: Arc<States>,
}

impl Node {
    pub(super) fn new(shard: Shard, endpoint: Endpoint, role: Role, link: &Link) -> Arc<Self> {
        let states = Arc::new(States::default());
        let own = Link {
            config: link.config.clone(),
            runtime: link.runtime.clone(),
            traffic: link.traffic.clone(),
            states: states.clone(),
        };
        let server = Arc::new(endpoint.clone());
        let store = match role {
            Role::Primary => Standalone::at(server, own),
            Role::Replica => Standalone::at_replica(server, own),
        };
        Arc::new(Self { shard, endpoint, role, store, states })
    }
}
