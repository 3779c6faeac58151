//! Finding out who is in the cluster, and keeping that knowledge fresh.

use super::Cluster;
use super::layout::{Announced, Layout};
use super::node::{Node, Role};
use crate::config::ReadFrom;
use crate::error::{Error, Kind, Result};
use crate::resp::Reply;
use crate::state::State;
use crate::store::connect::Endpoint;
use crate::store::retry::connection_failed;
use crate::store::{Answer, Bounds, Command, Shard, Store};
use std::future::Future;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// Between two discoveries at least this much time passes.
const PAUSE: Duration = Duration::from_millis(100);
/// A node that has not answered after this long is not waited for alone.
const STAGGER: Duration = Duration::from_millis(200);

/// What is known of the cluster.
#[derive(Default)]
pub(super) struct Known {
    pub(super) layout: Option<Arc<Layout>>,
    pub(super) nodes: Vec<Arc<Node>>,
    /// Nodes and discoveries so far.
    shards: u64,
    versions: u64,
    /// Counts disconnections that were asked for: what was found out before one of them counts for nothing.
    pub(super) generation: u64,
    pub(super) asked_at: Option<Instant>,
    /// The discovery under way, or the last one.
    pub(super) attempt: Option<AbortHandle>,
    /// The last one that failed: when it began, and why.
    pub(super) failed: Option<(Instant, Error)>,
}

fn closed() -> Error {
    Error::new(Kind::Closed, "the client was closed")
}

/// What `future` gives, unless `limit` passes first.
async fn within<T>(limit: Option<Instant>, future: impl Future<Output = T>) -> Result<T> {
    match limit {
        None => Ok(future.await),
        Some(limit) => timeout_at(limit, future).await.map_err(|_| {
            Error::new(Kind::Timeout, "the time limit passed before the cluster was discovered")
        }),
    }
}

impl Cluster {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // What it guards is replaced whole, so a panic elsewhere leaves it usable.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn layout(&self) -> Option<Arc<Layout>> {
        self.known().layout.clone()
    }

    /// The layout; discovered now where there is none.
    ///
    /// # Errors
    /// Why it could not be, within the connect timeout and the caller's limit.
    pub(super) async fn some_layout(&self, bounds: &Bounds) -> Result<Arc<Layout>> {
        match self.layout() {
            Some(layout) => Ok(layout),
            None => self.newer_layout(0, bounds).await,
        }
    }

    /// A layout that was discovered after `version`; where that fails, the one there is.
    pub(super) async fn newer_layout(&self, version: u64, bounds: &Bounds) -> Result<Arc<Layout>> {
        Self::discover(self.me.clone(), version, bounds.limit()).await
    }

    /// Discovers the cluster in the background, unless somebody does.
    pub(super) fn refresh(&self, version: u64) {
        if self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let me = self.me.clone();
        self.link.runtime.spawn(async move {
            // Whoever needs it finds out why it failed.
            let _ = Self::discover(me.clone(), version, None).await;
            if let Some(cluster) = me.upgrade() {
                cluster.refreshing.store(false, Ordering::Release);
            }
        });
    }

    /// The slow timer: it ticks only while the cluster is used.
    pub(super) fn refresh_if_old(&self, layout: &Layout) {
        if layout.discovered.elapsed() >= self.refresh_interval {
            self.refresh(layout.version);
        }
    }

    /// One discovery at a time. Whoever waited for one that began after the own question takes its outcome, a failure
    /// too, so that however many wait, none waits for more than two.
    async fn discover(me: Weak<Self>, version: u64, limit: Option<Instant>) -> Result<Arc<Layout>> {
        let since = Instant::now();
        let (turn, generation) = {
            let cluster = me.upgrade().ok_or_else(closed)?;
            let generation = cluster.known().generation;
            (cluster.turn.clone(), generation)
        };
        let turn = within(limit, turn.lock_owned()).await?;
        let attempt = {
            let cluster = me.upgrade().ok_or_else(closed)?;
            let mut known = cluster.known();
            if known.generation != generation {
                return Err(closed());
            }
            let layout = known.layout.clone();
            if let Some(layout) = &layout
                && layout.version > version
            {
                return Ok(layout.clone());
            }
            if let Some((began, error)) = &known.failed
                && *began >= since
            {
                return layout.ok_or_else(|| error.clone());
            }
            // A task of its own: others may wait for the same when this caller's limit has passed.
            let worker = cluster.clone();
            let attempt = cluster.link.runtime.spawn(async move {
                let _turn = turn;
                worker.attempt(generation).await
            });
            known.attempt = Some(attempt.abort_handle());
            attempt
        };
        // It is aborted when the connections are ended.
        within(limit, attempt).await?.unwrap_or_else(|_| Err(closed()))
    }

    async fn attempt(&self, generation: u64) -> Result<Arc<Layout>> {
        let (asked_at, has_layout) = {
            let known = self.known();
            (known.asked_at, known.layout.is_some())
        };
        if let Some(at) = asked_at
            && has_layout
        {
            sleep_until(at + PAUSE).await;
        }
        if !has_layout {
            self.link.states.connecting();
        }
        let began = Instant::now();
        let found = timeout(self.link.config.connect_timeout, self.ask_around()).await;
        let found = found.unwrap_or_else(|_| {
            let millis = self.link.config.connect_timeout.as_millis();
            let text =
                format!("no node of {} answered within {millis} ms", self.link.config.target.describe());
            Err(Error::new(Kind::ConnectTimeout, text))
        });
        let error = match found {
            Ok((announced, asked)) => return self.install(&announced, &asked, generation),
            Err(error) => error,
        };
        let layout = {
            let mut known = self.known();
            if known.generation != generation {
                return Err(closed());
            }
            known.asked_at = Some(Instant::now());
            known.failed = Some((began, error.clone()));
            known.layout.clone()
        };
        layout.ok_or_else(|| {
            let states = &self.link.states;
            let state = if states.was_ready() { State::Reconnecting } else { State::Idle };
            states.set(state, Some(error.message().to_owned()));
            error
        })
    }

    /// Asks nodes for CLUSTER SLOTS, one after another where they are quick to answer.
    async fn ask_around(&self) -> Result<(Announced, Endpoint)> {
        let mut candidates = self.candidates().into_iter();
        let mut asked = JoinSet::new();
        let mut failure: Option<Error> = None;
        loop {
            if let Some(node) = candidates.next() {
                asked.spawn(async move {
                    let arguments = [b"CLUSTER".to_vec(), b"SLOTS".to_vec()];
                    let answer = node
                        .store
                        .execute(&Command::Other { arguments: &arguments }, &Bounds::default())
                        .await;
                    let announced =
                        value_of(answer).and_then(|reply| Announced::read(&reply, &node.endpoint));
                    announced.map(|announced| (announced, node.endpoint.clone()))
                });
            } else if asked.is_empty() {
                let nobody = || Error::new(Kind::ConnectionRefused, "no node of the cluster is known");
                return Err(failure.unwrap_or_else(nobody));
            }
            let joined = tokio::select! {
                biased;
                joined = asked.join_next() => joined,
                () = sleep(STAGGER), if candidates.len() > 0 => None,
            };
            match joined {
                Some(Ok(Ok(found))) => return Ok(found),
                // A refusal says more than a connection that could not be made.
                Some(Ok(Err(error))) => {
                    let vague = failure.as_ref().is_none_or(connection_failed);
                    if vague && (failure.is_none() || !connection_failed(&error)) {
                        failure = Some(error);
                    }
                }
                Some(Err(_)) | None => {}
            }
        }
    }

    /// Whom to ask: connected nodes in any order, then the others, then the seeds.
    fn candidates(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<Arc<Node>> =
            self.layout().map(|layout| layout.nodes().cloned().collect()).unwrap_or_default();
        fastrand::shuffle(&mut nodes);
        nodes.sort_by_key(|node| !node.store.is_ready());
        for seed in &self.seeds {
            if !nodes.iter().any(|node| node.endpoint == *seed) {
                nodes.push(self.node_at(seed, Role::Primary));
            }
        }
        nodes
    }

    /// The node that is reached at `endpoint`, known or new.
    pub(super) fn node_at(&self, endpoint: &Endpoint, role: Role) -> Arc<Node> {
        self.node_in(&mut self.known(), endpoint, role)
    }

    pub(super) fn node_in(&self, known: &mut Known, endpoint: &Endpoint, role: Role) -> Arc<Node> {
        if let Some(node) = known.nodes.iter().find(|node| node.role == role && node.endpoint == *endpoint) {
            return node.clone();
        }
        known.shards += 1;
        let node = Node::new(Shard(known.shards), endpoint.clone(), role, &self.link);
        let (me, runtime) = (self.me.clone(), self.link.runtime.clone());
        node.states.listen(Box::new(move |change| {
            let change = change.clone();
            let me = me.clone();
            let watched = me.strong_count() > 0;
            // Not here: the states that changed are locked.
            runtime.spawn(async move {
                if let Some(cluster) = me.upgrade() {
                    cluster.node_changed(change.to);
                }
            });
            watched
        }));
        known.nodes.push(node.clone());
        node
    }

    /// Where an announced address can be reached.
    pub(super) fn reachable(&self, announced: &Endpoint) -> Endpoint {
        self.reachable.get(announced).unwrap_or(announced).clone()
    }

    fn install(&self, announced: &Announced, asked: &Endpoint, generation: u64) -> Result<Arc<Layout>> {
        let (layout, gone) = {
            let mut known = self.known();
            if known.generation != generation {
                return Err(closed());
            }
            known.versions += 1;
            known.asked_at = Some(Instant::now());
            let version = known.versions;
            let node_of =
                |endpoint: &Endpoint, role| self.node_in(&mut known, &self.reachable(endpoint), role);
            let replicas = self.read_from == ReadFrom::Replica;
            let layout = Arc::new(Layout::new(version, announced, asked, node_of, replicas));
            known.layout = Some(layout.clone());
            let (kept, gone) = mem::take(&mut known.nodes)
                .into_iter()
                .partition(|node| layout.nodes().any(|listed| listed.shard == node.shard));
            known.nodes = kept;
            (layout, gone)
        };
        let gone: Vec<Arc<Node>> = gone;
        for node in gone {
            // What was sent is still answered; what waits for a connection goes another way.
            node.store.disconnect();
        }
        for node in layout.nodes().filter(|node| !node.store.is_ready()) {
            self.link.runtime.spawn(Self::keep_connecting(self.me.clone(), node.clone()));
        }
        self.show_state(None);
        Ok(layout)
    }
}

/// The one reply of any kind.
pub(super) fn value_of(mut answer: Answer) -> Result<redis::Value> {
    if let Some(failure) = answer.failure {
        return Err(failure.into_error());
    }
    if let Some(fault) = answer.sink.take_fault() {
        return Err(fault);
    }
    match answer.sink.into_reply() {
        Some(Reply::Value(value)) => Ok(value),
        Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Page(_)) | None => {
            Err(Error::new(Kind::Protocol, "an answer of another kind than the question"))
        }
    }
}
