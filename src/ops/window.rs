//! Chunks in flight: a few at a time, settled in order.

use super::Call;
use crate::resp::{Sink, Status};
use crate::store::{Answer, Command, Failure, is_lasting};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use tokio::sync::oneshot;

/// Chunks of a read under way at once: while one is being answered, the next is on its way. More only fill buffers.
pub(super) const READS: usize = 2;
/// Chunks of a write or deletion under way at once. Their answers are small, so that more of them only keep the server
/// from waiting for the next: deleting 100,000 keys in 500s took 19 ms with four in flight, 30 ms one after another.
pub(super) const WRITES: usize = 4;

/// A chunk that was sent.
struct Sent {
    range: Range<usize>,
    answer: oneshot::Receiver<Answer>,
}

/// Sends the chunks and hands their answers to `done`, in order. A chunk that failed is repeated, where it may be,
/// before any later one is sent, so that of two writes to one key the later one stands.
///
/// After a failure that the next chunk would only meet again, what is left is answered with that failure, unsent.
/// Ends early, without an answer for the rest, when the call is cancelled.
pub(super) async fn run<'a>(
    call: &Call,
    most_in_flight: usize,
    chunks: impl Iterator<Item = Range<usize>>,
    command_of: impl Fn(Range<usize>) -> Command<'a>,
    mut done: impl FnMut(Range<usize>, Answer),
) {
    let mut chunks = chunks.peekable();
    let mut in_flight: VecDeque<Sent> = VecDeque::with_capacity(most_in_flight);
    let mut stop: Option<Failure> = None;
    loop {
        while in_flight.len() < most_in_flight && stop.is_none() && !call.cancel.is_cancelled() {
            let Some(range) = chunks.peek().cloned() else { break };
            if let Some(failure) = call.out_of_time() {
                stop = Some(failure);
                break;
            }
            let command = command_of(range.clone());
            if !command.writes()
                && let Err(error) = call.budget.room_for_replies(call.bounds.limit()).await
            {
                stop = Some(Failure::unsent(error));
                break;
            }
            let (sender, answer) = oneshot::channel();
            let settled = Box::new(move |answer| drop(sender.send(answer)));
            if call.store.execute_now(&command, call.bounds.limit(), None, settled).is_none() {
                in_flight.push_back(Sent { range, answer });
                chunks.next();
            } else if in_flight.is_empty() {
                // Not connected: this one waits for the connection.
                let answer = call.store.execute(&command, &call.bounds).await;
                chunks.next();
                stop = lasting(call, &answer);
                done(range, answer);
            } else {
                break;
            }
        }
        let Some(sent) = in_flight.pop_front() else { break };
        let answer = received(sent.answer).await;
        if answer.failure.is_none() && !repeats(call, &command_of(sent.range.clone()), &answer) {
            done(sent.range, answer);
            continue;
        }
        // What follows went the same way and must not overtake this one's repetition.
        let mut unsettled = vec![(sent.range, answer)];
        while let Some(next) = in_flight.pop_front() {
            unsettled.push((next.range, received(next.answer).await));
        }
        if unsettled.iter().any(|(_, answer)| answer.is_cut()) {
            // One broken connection is one failed attempt, however many chunks were on it.
            call.bounds.count_failure();
        }
        let mut repeated = false;
        // Repetitions that were sent and lost, after what stands behind them was answered.
        let mut lost: Vec<(Command<'a>, Failure)> = Vec::new();
        for (range, mut answer) in unsettled {
            let command = command_of(range.clone());
            // A write that went well before an earlier one was repeated is repeated, too: it is the later one.
            let overtaken = repeated && command.writes() && command.repeatable();
            let again = repeats(call, &command, &answer);
            if (overtaken || again) && stop.is_none() && !call.cancel.is_cancelled() {
                repeated = true;
                // It may have been carried out already, or was, if it is only repeated because it is the later one.
                let earlier = answer.failure.as_ref().map_or(overtaken, |failure| failure.sent);
                answer = if overtaken {
                    call.store.execute(&command, &call.bounds).await
                } else {
                    call.store.resume(&command, answer, &call.bounds).await
                };
                stop = stop.or_else(|| lasting(call, &answer));
                if let Some(failure) = answer.failure.clone().filter(|failure| failure.sent) {
                    lost.push((command_of(range.clone()), failure));
                }
                if earlier {
                    answer = answer.doubted();
                }
            } else {
                stop = stop.or_else(|| lasting(call, &answer));
                answer = doubt_overwritten(&command, answer, &lost);
            }
            done(range, answer);
        }
    }
    if let Some(failure) = stop
        && !call.cancel.is_cancelled()
    {
        for range in chunks {
            let sink = command_of(range.clone()).sink();
            done(range, Answer { sink, failure: Some(Failure { sent: false, ..failure.clone() }) });
        }
    }
}

/// Says of what was written that nobody knows whether it stands, where an earlier write of the same key was repeated
/// after it, and lost.
fn doubt_overwritten(command: &Command<'_>, answer: Answer, lost: &[(Command<'_>, Failure)]) -> Answer {
    let lost: HashMap<&[u8], &Failure> = lost
        .iter()
        .flat_map(|(earlier, failure)| earlier.written_keys().map(move |key| (key, failure)))
        .collect();
    if lost.is_empty() {
        return answer;
    }
    let (Sink::Statuses(statuses), None) = (&answer.sink, &answer.failure) else { return answer };
    let keys: Vec<&[u8]> = command.written_keys().collect();
    if !keys.iter().any(|key| lost.contains_key(key)) {
        return answer;
    }
    // An MSET has one answer for all.
    let status_of = |at: usize| if statuses.len() == 1 { statuses.first() } else { statuses.get(at) };
    let statuses = keys.iter().enumerate().map_while(|(at, key)| match (status_of(at)?, lost.get(key)) {
        (Status::Done, Some(failure)) => Some(Status::Missing { error: failure.error.clone(), sent: true }),
        (status, _) => Some(status.clone()),
    });
    Answer { sink: Sink::Statuses(statuses.collect()), failure: None }
}

async fn received(answer: oneshot::Receiver<Answer>) -> Answer {
    answer.await.unwrap_or_else(|_| Answer::lost("the connection's driver ended"))
}

fn repeats(call: &Call, command: &Command<'_>, answer: &Answer) -> bool {
    call.store.wants_repeat(command, answer, &call.bounds)
}

/// The failure, if the next chunk would only meet it again. After a lost connection there may be a new one, unless the
/// call has lost as many as it may.
fn lasting(call: &Call, answer: &Answer) -> Option<Failure> {
    let attempts_left = call.bounds.failed() < call.attempts;
    answer.failure.clone().filter(|failure| is_lasting(failure, attempts_left))
}
