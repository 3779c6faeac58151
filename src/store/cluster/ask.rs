//! One round: parts are sent, and their answers waited for.

use super::Cluster;
use super::layout::Layout;
use super::node::Node;
use super::work::{Part, Work};
use crate::store::{Answer, Bounds, Failure};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// While a connection is being made, somebody else may have taken the node's place.
const LOOK_AROUND: Duration = Duration::from_millis(500);

impl Cluster {
    /// Sends all parts and waits for their answers.
    pub(super) async fn ask(
        &self,
        work: &Work<'_>,
        parts: Vec<Part>,
        layout: &Layout,
        bounds: &Bounds,
    ) -> Vec<(Part, Answer)> {
        let mut asked = Vec::with_capacity(parts.len());
        for part in parts {
            let (sender, answer) = oneshot::channel();
            let message = work.message(&part);
            if let Some(error) = bounds.given_up(part.node.shard) {
                let failure = Some(Failure::unsent(error));
                // The receiver is right here.
                let _ = sender.send(Answer { sink: message.sink, failure });
            } else {
                let settled = Box::new(move |answer| drop(sender.send(answer)));
                part.node.store.send(message, bounds.limit(), None, settled);
            }
            asked.push((part, answer));
        }
        let mut answers = Vec::with_capacity(asked.len());
        for (part, mut answer) in asked {
            let received = loop {
                tokio::select! {
                    biased;
                    received = &mut answer => break received,
                    () = sleep(LOOK_AROUND) => if !part.node.store.is_ready() {
                        self.refresh(layout.version);
                    }
                }
            };
            answers.push((part, received.unwrap_or_else(|_| Answer::lost("the connection's driver ended"))));
        }
        answers
    }

    /// Any primary, one that is connected if there is one.
    pub(super) fn any_primary<'a>(&self, layout: &'a Layout) -> Option<&'a Arc<Node>> {
        let mut ready = layout.primaries().filter(|node| node.store.is_ready());
        ready.next().or_else(|| layout.primaries().next())
    }
}
