//! Rounds: what has no answer that stands is asked for again, until all is answered or nothing more may be done.

use super::layout::Layout;
use super::node::{Node, Role};
use super::redirect::{Redirect, redirect};
use super::results::{Open, Results, Shape};
use super::route::Place;
use super::work::{Part, Work};
use super::{Cluster, MOST_HOPS};
use crate::error::{Error, Kind};
use crate::resp::{Page, Sink, Status};
use crate::store::retry::{Verdict, about_loss, about_refusal, is_lasting};
use crate::store::{Answer, Bounds, Command, Failure, Shard, backoff};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What is done about items without an answer.
enum Round {
    /// All of them are asked for the first time.
    First,
    /// These are asked for again, at these nodes or wherever they belong by now.
    Again { items: Vec<(u32, Option<Arc<Node>>)>, then: Before },
}

/// What comes before they are.
enum Before {
    Nothing,
    /// The server said that it will answer later.
    Pause(Instant),
    /// A connection failed: others may know who has taken its place.
    Recover(Instant),
}

/// How often what was done, and since when.
struct Effort {
    started: Instant,
    hops: u32,
    waits: u32,
    /// Attempts that this command lost.
    lost: u32,
    /// Whether what replicas refused was sent once more.
    moved: bool,
    generation: u64,
}

/// Before a redirect is followed after `hops` others. Two nodes that send a key to each other need time to agree.
fn pause_before(hops: u32) -> Duration {
    const AT_ONCE: u32 = 4;
    const LONGEST: Duration = Duration::from_millis(250);
    match hops.checked_sub(AT_ONCE) {
        None => Duration::ZERO,
        Some(more) => Duration::from_millis(1 << more.min(20)).min(LONGEST),
    }
}

/// What to do about an item without an answer that stands.
fn verdict(work: &Work<'_>, item: &Open) -> Verdict {
    if item.error.kind().is_reply() {
        about_refusal(&item.error)
    } else {
        about_loss(work.command, &item.error, item.sent)
    }
}

impl Cluster {
    /// Carries out `command`, or what `answer` lacks of it.
    pub(super) async fn run(&self, command: &Command<'_>, answer: Option<Answer>, bounds: &Bounds) -> Answer {
        let work = Work::new(command);
        if let Place::Everywhere(merge) = work.place {
            return self.run_everywhere(command, merge, bounds).await;
        }
        let mut results = answer.and_then(|answer| Results::of(work.shape, answer));
        let generation = self.known().generation;
        let mut effort = Effort {
            started: Instant::now(),
            hops: bounds.hops(),
            waits: 0,
            lost: 0,
            moved: false,
            generation,
        };
        let mut failed: Vec<(Shard, Failure)> = Vec::new();
        // Items of which an attempt left and lost its answer: nobody knows what that one did.
        let mut doubtful = BTreeSet::new();
        loop {
            let round = match &mut results {
                None => Round::First,
                Some(results) => {
                    self.settle_overtaken(&work, results, &effort);
                    match self.next_round(&work, results, &mut effort, bounds) {
                        Some(round) => round,
                        None => break,
                    }
                }
            };
            if let (Round::Again { .. }, Some(results)) = (&round, &results) {
                doubtful.extend(results.lost());
            }
            let before = match &round {
                Round::First | Round::Again { then: Before::Nothing, .. } => None,
                Round::Again { then: Before::Pause(until) | Before::Recover(until), .. } => Some(*until),
            };
            if let Some(until) = before {
                sleep_until(until).await;
                self.repeated.fetch_add(1, Ordering::Relaxed);
            }
            let layout = match (&round, self.layout()) {
                (Round::Again { then: Before::Recover(_), .. }, Some(layout)) => {
                    self.newer_layout(layout.version, bounds).await
                }
                _ => self.some_layout(bounds).await,
            };
            let layout = match layout {
                Ok(layout) => layout,
                Err(error) => match results {
                    Some(mut results) => {
                        results.doubt(&doubtful);
                        return results.into_answer();
                    }
                    None => {
                        let failure = Failure::unsent(error);
                        if self.may_discover_again(&mut effort, &failure, bounds).await {
                            continue;
                        }
                        return Answer { sink: command.sink(), failure: Some(failure) };
                    }
                },
            };
            self.refresh_if_old(&layout);
            let Some(parts) = self.parts_of(round, &work, &layout) else {
                return Self::nowhere(command);
            };
            let answers = self.ask(&work, parts, &layout, bounds).await;
            failed = answers
                .iter()
                .filter_map(|(part, answer)| Some((part.node.shard, answer.failure.clone()?)))
                .collect();
            let cut = failed
                .iter()
                .any(|(_, failure)| about_loss(command, &failure.error, failure.sent) == Verdict::Again);
            if cut {
                // One round is one failed attempt, however many nodes failed in it.
                bounds.count_failure();
                effort.lost += 1;
            }
            self.learn(&answers);
            results.get_or_insert_with(|| Results::blank(work.shape)).update(answers);
        }
        let attempts_left = bounds.failed() < self.attempts();
        for (shard, failure) in failed.iter().filter(|(_, failure)| is_lasting(failure, attempts_left)) {
            bounds.give_up(*shard, &failure.error);
        }
        let mut results = results.unwrap_or_else(|| Results::blank(work.shape));
        results.doubt(&doubtful);
        results.into_answer()
    }

    /// A command for a server that is not in the cluster any more. A scan of it has come to its end: what it had is
    /// scanned elsewhere.
    fn nowhere(command: &Command<'_>) -> Answer {
        match command {
            Command::Scan { .. } => Answer { sink: Sink::from_page(Page::default()), failure: None },
            Command::Lookup { .. }
            | Command::Set { .. }
            | Command::Mset { .. }
            | Command::Delete { .. }
            | Command::Other { .. } => {
                let error = Error::new(Kind::ConnectionRefused, "no node of the cluster is known");
                Answer { sink: command.sink(), failure: Some(Failure::unsent(error)) }
            }
        }
    }

    async fn may_discover_again(&self, effort: &mut Effort, failure: &Failure, bounds: &Bounds) -> bool {
        if !crate::store::connection_failed(&failure.error) {
            return false;
        }
        bounds.count_failure();
        effort.lost += 1;
        let next = Instant::now() + backoff::delay(&self.link.config.retry, effort.lost);
        let give_up = effort.started + self.link.config.connect_timeout;
        let give_up = bounds.limit().map_or(give_up, |limit| limit.min(give_up));
        if next >= give_up || bounds.failed() >= self.attempts() {
            return false;
        }
        sleep_until(next).await;
        self.repeated.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Writes that would be sent again although a later one to the same key was carried out count as carried out.
    fn settle_overtaken(&self, work: &Work<'_>, results: &mut Results, effort: &Effort) {
        let layout = self.layout();
        let goes_on = |item: &Open| {
            verdict(work, item) != Verdict::Final
                || self.goes_on(work, item, layout.as_deref(), effort).is_some()
        };
        let open: Vec<u32> =
            results.open().iter().filter(|item| goes_on(item)).map(|item| item.position).collect();
        let Results::Statuses { statuses, .. } = results else { return };
        for position in work.overtaken(statuses, &open) {
            if let Some(status) = statuses.get_mut(position as usize) {
                *status = Status::Done;
            }
        }
    }

    /// Who is asked next, if anybody is.
    fn next_round(
        &self,
        work: &Work<'_>,
        results: &Results,
        effort: &mut Effort,
        bounds: &Bounds,
    ) -> Option<Round> {
        let open = results.open();
        let layout = self.layout();
        let elsewhere: Vec<_> = open
            .iter()
            .filter_map(|item| Some((item.position, self.goes_on(work, item, layout.as_deref(), effort)?)))
            .collect();
        let config = &self.link.config;
        let in_time = |until: Instant, give_up: Instant| {
            until < bounds.limit().map_or(give_up, |limit| limit.min(give_up))
        };
        if !elsewhere.is_empty() && effort.hops < MOST_HOPS {
            let pause = pause_before(effort.hops);
            let until = Instant::now() + pause;
            if in_time(until, effort.started + config.command_timeout) {
                effort.hops += 1;
                let then = if pause.is_zero() { Before::Nothing } else { Before::Pause(until) };
                return Some(Round::Again { items: elsewhere, then });
            }
        }
        let with = |wanted: Verdict| -> Vec<_> {
            let items = open.iter().filter(|item| verdict(work, item) == wanted);
            items.map(|item| (item.position, None)).collect()
        };
        let waiting = with(Verdict::Wait);
        if !waiting.is_empty() {
            let until = Instant::now() + backoff::delay(&config.retry, effort.waits + 1);
            if in_time(until, effort.started + config.command_timeout) {
                effort.waits += 1;
                if let Some(layout) = layout {
                    self.refresh(layout.version);
                }
                return Some(Round::Again { items: waiting, then: Before::Pause(until) });
            }
        }
        let refused = with(Verdict::Moved);
        if !refused.is_empty() && !effort.moved {
            let until = Instant::now() + backoff::delay(&config.retry, 1);
            if in_time(until, effort.started + config.connect_timeout) {
                effort.moved = true;
                return Some(Round::Again { items: refused, then: Before::Recover(until) });
            }
        }
        let lost = with(Verdict::Again);
        if lost.is_empty() || bounds.failed() >= self.attempts() {
            return None;
        }
        // What was lost before this command was taken up again has been waited for by its caller.
        let wait =
            if effort.lost == 0 { Duration::ZERO } else { backoff::delay(&config.retry, bounds.failed()) };
        let until = Instant::now() + wait;
        in_time(until, effort.started + config.connect_timeout)
            .then_some(Round::Again { items: lost, then: Before::Recover(until) })
    }

    /// Where an item goes on at once: `Some(None)` is wherever it belongs by now.
    #[expect(clippy::option_option, reason = "not at all, anywhere, or at one node")]
    fn goes_on(
        &self,
        work: &Work<'_>,
        item: &Open,
        layout: Option<&Layout>,
        effort: &Effort,
    ) -> Option<Option<Arc<Node>>> {
        if item.spoiled {
            return Some(None);
        }
        if !item.sent && item.error.kind() == &Kind::Closed && self.known().generation == effort.generation {
            // The node left the cluster while the item waited for a connection to it.
            return Some(None);
        }
        let owner = work.slot(item.position).and_then(|slot| layout?.group(slot));
        match redirect(&item.error, &owner?.primary.endpoint)? {
            Redirect::Moved { .. } => Some(None),
            Redirect::Ask { to } => Some(Some(self.node_at(&self.reachable(&to), Role::Primary))),
        }
    }

    fn parts_of(&self, round: Round, work: &Work<'_>, layout: &Layout) -> Option<Vec<Part>> {
        let items = match round {
            Round::First => return self.first_parts(work, layout),
            Round::Again { items, .. } => items,
        };
        if work.shape == Shape::One && items.iter().all(|(_, node)| node.is_none()) {
            return self.first_parts(work, layout);
        }
        let mut placed = Vec::with_capacity(items.len());
        for (position, node) in items {
            placed.push(match node {
                Some(node) => (position, node, true),
                None => (position, layout.group(work.slot(position)?)?.primary.clone(), false),
            });
        }
        Some(work.parts(&placed).into_vec())
    }
}
