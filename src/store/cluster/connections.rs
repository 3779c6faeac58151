//! Connections to the nodes of the layout, and what users see of them.

use super::Cluster;
use super::node::Node;
use crate::error::Result;
use crate::state::State;
use crate::store::retry::connection_failed;
use crate::store::{Bounds, Store, backoff};
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Between two looks for a node that cannot be reached at least this much time passes.
const PAUSE: Duration = Duration::from_millis(100);

impl Cluster {
    /// Connects to a node of the layout. Where that fails although others were connected before, the cluster is asked
    /// again after a while whether the node is still in it, and so on; else it is left to the next command.
    pub(super) async fn keep_connecting(me: Weak<Self>, node: Arc<Node>) {
        if node.store.connect().await.is_ok() {
            return;
        }
        let Some(wait) = me.upgrade().map(|cluster| cluster.link.config.retry.max_delay.max(PAUSE)) else {
            return;
        };
        sleep(wait).await;
        let Some(cluster) = me.upgrade() else { return };
        if let Some(layout) = cluster.layout()
            && cluster.link.states.was_ready()
            && !node.store.is_ready()
            && layout.nodes().any(|listed| listed.shard == node.shard)
        {
            cluster.refresh(layout.version);
        }
    }

    /// Connects to every primary.
    ///
    /// # Errors
    /// Why none could be reached.
    pub(super) async fn connect_all(&self) -> Result<()> {
        let retry = &self.link.config.retry;
        let give_up = Instant::now() + self.link.config.connect_timeout;
        let bounds = Bounds::new(Some(give_up));
        let mut attempt = 1;
        let layout = loop {
            match self.some_layout(&bounds).await {
                Ok(layout) => break layout,
                Err(error) => {
                    let wait = backoff::delay(retry, attempt);
                    let again = connection_failed(&error)
                        && attempt < retry.attempts
                        && Instant::now() + wait < give_up;
                    if !again {
                        return Err(error);
                    }
                    sleep(wait).await;
                    attempt += 1;
                }
            }
        };
        let mut connecting = JoinSet::new();
        for node in layout.primaries() {
            let store = node.store.clone();
            connecting.spawn(async move { store.connect().await });
        }
        let mut result = Ok(());
        let mut any = false;
        while let Some(joined) = connecting.join_next().await {
            match joined {
                Ok(Ok(())) => any = true,
                Ok(Err(error)) => result = Err(error),
                Err(_) => {}
            }
        }
        if any { Ok(()) } else { result }
    }

    /// Ends the connections; a later command discovers the cluster again.
    pub(super) fn forget(&self) {
        let nodes = {
            let mut known = self.known();
            known.generation += 1;
            if let Some(attempt) = known.attempt.take() {
                attempt.abort();
            }
            known.failed = None;
            known.layout = None;
            known.asked_at = None;
            mem::take(&mut known.nodes)
        };
        for node in nodes {
            node.store.disconnect();
        }
    }

    pub(super) fn node_changed(&self, to: State) {
        self.show_state(Some(to));
        if to == State::Reconnecting
            && let Some(layout) = self.layout()
        {
            self.refresh(layout.version);
        }
    }

    /// The client is ready while every primary is connected, and reconnecting while one that was is not.
    pub(super) fn show_state(&self, changed: Option<State>) {
        let Some(layout) = self.layout() else { return };
        let states = &self.link.states;
        let missing = layout.primaries().find(|node| node.states.get() != State::Ready);
        match missing {
            None => states.set(State::Ready, None),
            Some(node) => {
                let settled = matches!(changed, Some(State::Reconnecting | State::Idle));
                let down = matches!(node.states.get(), State::Reconnecting | State::Idle);
                if states.was_ready() || (settled && down) {
                    states.set(State::Reconnecting, Some(format!("no connection to {}", node.endpoint)));
                }
            }
        }
    }
}
