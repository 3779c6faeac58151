//! A Redis Cluster: a connection to each primary, and the knowledge of who has which slot.
//!
//! A command on many keys is cut by the owners of their slots, all of them work at once, and the answers come together
//! in the order in which the keys stood. What a node answered with a redirect, or not at all, is asked for again by
//! itself (`run`); the rest is not.

mod ask;
mod broadcast;
mod connections;
mod discovery;
mod layout;
mod node;
mod order;
mod redirect;
mod results;
mod route;
mod run;
mod slots;
mod view;
mod work;

use self::discovery::Known;
use self::results::Results;
use self::work::Work;
use super::connect::Endpoint;
use super::placement::Placement;
use super::retry::{Verdict, about_loss, about_refusal};
use super::{Answer, Bounds, Command, EventLoop, Link, NodeState, Pending, Settled, Spread, Store};
use crate::config::{ReadFrom, Target};
use crate::error::{Error, Kind, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Redirects that one command follows before the server's error stands.
const MOST_HOPS: u32 = 16;

/// A store on a cluster. It repeats what may be repeated by itself.
pub struct Cluster {
    link: Link,
    seeds: Vec<Endpoint>,
    /// Addresses that nodes announce, and where they can be reached.
    reachable: HashMap<Endpoint, Endpoint>,
    read_from: ReadFrom,
    refresh_interval: Duration,
    known: Mutex<Known>,
    /// One discovery at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Whether a discovery is under way that nobody waits for.
    refreshing: AtomicBool,
    /// Spreads reads over replicas.
    rotation: AtomicUsize,
    /// Repetitions so far.
    repeated: Arc<AtomicU64>,
    /// For tasks: they must not keep a closed client's store alive.
    me: Weak<Cluster>,
}

impl Cluster {
    /// On the cluster that the configuration names, without a connection yet; `repeated` counts repetitions.
    ///
    /// # Errors
    /// `InvalidConfig` when it names none.
    pub fn new(link: Link, repeated: Arc<AtomicU64>) -> Result<Arc<Self>> {
        let Target::Cluster { nodes, read_from, nat_map, refresh_interval } = &link.config.target else {
            let text = format!("{} is not a cluster", link.config.target.describe());
            return Err(Error::new(Kind::InvalidConfig, text));
        };
        let endpoint = |(host, port): &(String, u16)| Endpoint::Tcp { host: host.clone(), port: *port };
        let seeds = nodes.iter().map(endpoint).collect();
        let reachable = nat_map.iter().map(|(from, to)| (endpoint(from), endpoint(to))).collect();
        let (read_from, refresh_interval) = (*read_from, *refresh_interval);
        Ok(Arc::new_cyclic(|me| Self {
            link,
            seeds,
            reachable,
            read_from,
            refresh_interval,
            known: Mutex::default(),
            turn: Arc::default(),
            refreshing: AtomicBool::new(false),
            rotation: AtomicUsize::new(0),
            repeated,
            me: me.clone(),
        }))
    }

    fn attempts(&self) -> u32 {
        self.link.config.retry.attempts
    }
}

impl Store for Cluster {
    fn execute<'a>(&'a self, command: &'a Command<'a>, bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(self.run(command, None, bounds))
    }

    fn execute_now(
        &self,
        command: &Command<'_>,
        limit: Option<Instant>,
        caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) -> Option<Settled> {
        let Some(layout) = self.layout() else { return Some(settled) };
        self.refresh_if_old(&layout);
        let work = Work::new(command);
        let Some(parts) = self.first_parts(&work, &layout) else { return Some(settled) };
        if !parts.iter().all(|part| part.node.store.is_ready()) {
            return Some(settled);
        }
        self.send_joined(&work, parts, limit, caller, settled);
        None
    }

    fn wants_repeat(&self, command: &Command<'_>, answer: &Answer, bounds: &Bounds) -> bool {
        let attempts_left = bounds.failed() < self.attempts();
        Results::any_open(answer, |error, sent, spoiled| {
            let verdict =
                if error.kind().is_reply() { about_refusal(error) } else { about_loss(command, error, sent) };
            spoiled
                || redirect::is_redirect(error)
                || match verdict {
                    Verdict::Wait | Verdict::Moved => true,
                    Verdict::Again => attempts_left,
                    Verdict::Final => false,
                }
        })
    }

    fn resume<'a>(
        &'a self,
        command: &'a Command<'a>,
        answer: Answer,
        bounds: &'a Bounds,
    ) -> Pending<'a, Answer> {
        Box::pin(self.run(command, Some(answer), bounds))
    }

    fn spread(&self) -> Spread {
        Spread::Slots(self.layout().map_or(0, |layout| layout.groups().len()))
    }

    fn placement<'a>(&'a self, bounds: &'a Bounds) -> Pending<'a, Result<Placement>> {
        Box::pin(self.holdings(bounds))
    }

    fn nodes<'a>(&'a self, bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>> {
        Box::pin(self.node_states(bounds))
    }

    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(self.connect_all())
    }

    fn disconnect(&self) {
        self.forget();
    }
}
