//! Commands that every primary carries out.

use super::Cluster;
use super::node::{Node, Role};
use super::route::Merge;
use crate::error::Applied;
use crate::resp::Sink;
use crate::store::retry::{Verdict, about_loss, about_refusal};
use crate::store::standalone::Message;
use crate::store::{Answer, Bounds, Command, Failure, backoff};
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

impl Cluster {
    /// The answers of all primaries as one; the first error, where one has failed.
    pub(super) async fn run_everywhere(
        &self,
        command: &Command<'_>,
        merge: Merge,
        bounds: &Bounds,
    ) -> Answer {
        let layout = match self.some_layout(bounds).await {
            Ok(layout) => layout,
            Err(error) => return Answer { sink: command.sink(), failure: Some(Failure::unsent(error)) },
        };
        // Scripts are for whoever reads; what else there is changes keys.
        let for_replicas = |node: &Node| node.role == Role::Primary || merge == Merge::Script;
        let nodes = layout.nodes().filter(|node| for_replicas(node));
        let asked: Vec<_> = nodes.map(|node| (node.clone(), Self::ask_one(node, command, bounds))).collect();
        let mut values = Vec::with_capacity(asked.len());
        let mut troubled = None;
        // Servers that carried the command out, or may have.
        let mut reached = 0;
        for (node, answer) in asked {
            let answer = answer.await.unwrap_or_else(|_| Answer::lost("the connection's driver ended"));
            let mut answer = match node.role {
                Role::Primary => self.insist(&node, command, answer, bounds).await,
                Role::Replica => answer,
            };
            if may_be_done(&answer) {
                reached += 1;
            }
            if answer.failure.is_some() || answer.sink.fault().is_some() {
                // A replica that is away has a primary in its place.
                if node.role == Role::Primary {
                    troubled.get_or_insert(answer);
                }
            } else if let Some(crate::resp::Reply::Value(value)) =
                std::mem::replace(&mut answer.sink, Sink::Skip).into_reply()
            {
                values.push(value);
            }
        }
        match troubled {
            None => Answer { sink: Sink::from_value(merged(values, merge)), failure: None },
            // It was not carried out here, but elsewhere.
            Some(answer) if reached > 0 && merge.changes() => answer.doubted(),
            Some(answer) => answer,
        }
    }

    fn ask_one(node: &Arc<Node>, command: &Command<'_>, bounds: &Bounds) -> oneshot::Receiver<Answer> {
        let (sender, answer) = oneshot::channel();
        let settled = Box::new(move |answer| drop(sender.send(answer)));
        node.store.send(Message::of(command), bounds.limit(), None, settled);
        answer
    }

    /// Repeats what may be repeated, at the same node.
    async fn insist(
        &self,
        node: &Arc<Node>,
        command: &Command<'_>,
        mut answer: Answer,
        bounds: &Bounds,
    ) -> Answer {
        let config = &self.link.config;
        let started = Instant::now();
        let mut repeated = 0;
        loop {
            let verdict = match (&answer.failure, answer.sink.fault()) {
                (Some(failure), _) => about_loss(command, &failure.error, failure.sent),
                (None, Some(fault)) => about_refusal(fault),
                (None, None) => Verdict::Final,
            };
            let give_up = match verdict {
                // It is the node that was asked for, whatever it has become.
                Verdict::Final | Verdict::Moved => return answer,
                Verdict::Again => {
                    bounds.count_failure();
                    started + config.connect_timeout
                }
                Verdict::Wait => started + config.command_timeout,
            };
            repeated += 1;
            let give_up = bounds.limit().map_or(give_up, |limit| limit.min(give_up));
            let next = Instant::now() + backoff::delay(&config.retry, repeated);
            if next >= give_up || (verdict == Verdict::Again && bounds.failed() >= self.attempts()) {
                return answer;
            }
            sleep_until(next).await;
            self.repeated.fetch_add(1, Ordering::Relaxed);
            let again = Self::ask_one(node, command, bounds).await;
            answer = again.unwrap_or_else(|_| Answer::lost("the connection's driver ended"));
        }
    }
}

/// Whether a server carried the command out, or may have.
fn may_be_done(answer: &Answer) -> bool {
    match (&answer.failure, answer.sink.fault()) {
        (Some(failure), _) => failure.sent,
        (None, Some(fault)) => fault.applied() != Applied::No,
        (None, None) => true,
    }
}

fn merged(values: Vec<Value>, merge: Merge) -> Value {
    match merge {
        Merge::First | Merge::Script => values.into_iter().next().unwrap_or(Value::Nil),
        Merge::Sum => Value::Int(
            values
                .iter()
                .map(|value| if let Value::Int(count) = value { *count } else { 0 })
                .fold(0, i64::saturating_add),
        ),
        Merge::Concat => {
            let elements = values
                .into_iter()
                .flat_map(|value| value.into_sequence().unwrap_or_else(|value| vec![value]));
            Value::Array(elements.collect())
        }
    }
}
