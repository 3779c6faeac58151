//! What became of each item of a command, as the answers of several nodes tell it.

use super::work::Part;
use crate::batch::Values;
use crate::error::{Error, Kind};
use crate::resp::{Reply, Sink, Status};
use crate::store::{Answer, Failure};
use std::collections::BTreeSet;

/// What a command is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A value for each of so many items.
    Values(usize),
    /// A status for each of so many items.
    Statuses(usize),
    /// One status for so many items.
    OneStatus(usize),
    /// The command is one item.
    One,
}

/// The answers so far.
pub(super) enum Results {
    Values {
        count: usize,
        /// Empty before the first answers.
        values: Values,
        /// Items that were refused with others.
        spoiled: Vec<u32>,
    },
    Statuses {
        statuses: Vec<Status>,
        /// Whether they are to be one.
        as_one: bool,
    },
    One(Box<Answer>),
}

/// An item that has no answer that stands.
pub(super) struct Open {
    pub(super) position: u32,
    pub(super) error: Error,
    /// False when the server cannot have seen it.
    pub(super) sent: bool,
    /// Whether it was refused with others: alone it may not be.
    pub(super) spoiled: bool,
}

fn unanswered() -> Error {
    Error::new(Kind::Protocol, "an answer of another length than the question")
}

impl Results {
    /// Before anything was answered.
    pub(super) fn blank(shape: Shape) -> Self {
        let missing = || Status::Missing { error: unanswered(), sent: true };
        match shape {
            Shape::Values(count) => Self::Values { count, values: Values::default(), spoiled: Vec::new() },
            Shape::Statuses(count) | Shape::OneStatus(count) => Self::Statuses {
                statuses: (0..count).map(|_| missing()).collect(),
                as_one: matches!(shape, Shape::OneStatus(_)),
            },
            Shape::One => Self::One(Box::new(Answer {
                sink: Sink::Skip,
                failure: Some(Failure { error: unanswered(), sent: true }),
            })),
        }
    }

    /// From what [`Results::into_answer`] gave. `None` where nothing was sent at all, or one status stands for many.
    pub(super) fn of(shape: Shape, answer: Answer) -> Option<Self> {
        match (shape, answer) {
            (Shape::One, answer) => Some(Self::One(Box::new(answer))),
            (Shape::Values(count), Answer { sink: Sink::Values(sink), failure: None }) => {
                let spoiled = sink.together().to_vec();
                match Sink::Values(sink).into_reply() {
                    Some(Reply::Values(values)) if values.len() == count => {
                        Some(Self::Values { count, values, spoiled })
                    }
                    Some(_) | None => None,
                }
            }
            (Shape::Statuses(count), Answer { sink: Sink::Statuses(statuses), failure: None }) => {
                (statuses.len() == count).then_some(Self::Statuses { statuses, as_one: false })
            }
            (Shape::Values(_) | Shape::Statuses(_) | Shape::OneStatus(_), _) => None,
        }
    }

    /// Takes the answers of parts. What a part does not answer fails with its failure.
    pub(super) fn update(&mut self, answers: Vec<(Part, Answer)>) {
        match self {
            Self::Values { count, values, spoiled } => update_values(*count, values, spoiled, answers),
            Self::Statuses { statuses, .. } => {
                for (part, answer) in answers {
                    let (new, failure) = answer.into_statuses();
                    let mut new = new.into_iter();
                    for position in part.positions {
                        let status = new.next().unwrap_or_else(|| match &failure {
                            Some(failure) => {
                                Status::Missing { error: failure.error.clone(), sent: failure.sent }
                            }
                            None => Status::Missing { error: unanswered(), sent: true },
                        });
                        if let Some(place) = statuses.get_mut(position as usize) {
                            *place = status;
                        }
                    }
                }
            }
            Self::One(answer) => {
                if let Some((_, new)) = answers.into_iter().next() {
                    **answer = new;
                }
            }
        }
    }

    /// Items without an answer that stands for certain.
    pub(super) fn open(&self) -> Vec<Open> {
        match self {
            Self::Values { values, spoiled, .. } => {
                let mut spoiled = spoiled.iter().peekable();
                let failures = values.failures().iter().map(|failure| Open {
                    position: failure.index,
                    error: failure.error.clone(),
                    sent: true,
                    spoiled: spoiled.next_if(|position| **position == failure.index).is_some(),
                });
                failures.collect()
            }
            Self::Statuses { statuses, .. } => {
                let open = (0u32..).zip(statuses).filter_map(|(position, status)| {
                    let (error, sent) = troubled(status)?;
                    Some(Open { position, error: error.clone(), sent, spoiled: false })
                });
                open.collect()
            }
            Self::One(answer) => {
                let open = one_trouble(answer).map(|(error, sent)| Open {
                    position: 0,
                    error: error.clone(),
                    sent,
                    spoiled: false,
                });
                open.into_iter().collect()
            }
        }
    }

    /// Items that were sent and have no answer.
    pub(super) fn lost(&self) -> Vec<u32> {
        let open = self.open().into_iter();
        open.filter(|item| item.sent && !item.error.kind().is_reply()).map(|item| item.position).collect()
    }

    /// Says of these items, where they were refused or not sent in the end, that nobody knows whether they were carried
    /// out: an earlier attempt may have been.
    pub(super) fn doubt(&mut self, items: &BTreeSet<u32>) {
        match self {
            // Reading changes nothing.
            Self::Values { .. } => {}
            Self::Statuses { statuses, .. } => {
                for position in items {
                    if let Some(status) = statuses.get_mut(*position as usize) {
                        status.doubt();
                    }
                }
            }
            Self::One(answer) if !items.is_empty() => {
                let blank = Answer { sink: Sink::Skip, failure: None };
                **answer = std::mem::replace(&mut **answer, blank).doubted();
            }
            Self::One(_) => {}
        }
    }

    /// Whether `wanted(error, sent, spoiled)` holds for any item of an answer.
    pub(super) fn any_open(answer: &Answer, wanted: impl Fn(&Error, bool, bool) -> bool) -> bool {
        if let Some(failure) = &answer.failure {
            return wanted(&failure.error, failure.sent, false);
        }
        match &answer.sink {
            Sink::Values(sink) => {
                !sink.together().is_empty()
                    || sink.values().failures().iter().any(|item| wanted(&item.error, true, false))
            }
            Sink::Statuses(statuses) => {
                statuses.iter().filter_map(troubled).any(|(error, sent)| wanted(error, sent, false))
            }
            Sink::Page(_) | Sink::Any(_) | Sink::Skip => {
                one_trouble(answer).is_some_and(|(error, sent)| wanted(error, sent, false))
            }
        }
    }

    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Values { values, spoiled, .. } => {
                Answer { sink: Sink::from_values(values, spoiled), failure: None }
            }
            Self::Statuses { statuses, as_one: false } => {
                Answer { sink: Sink::Statuses(statuses), failure: None }
            }
            Self::Statuses { statuses, as_one: true } => {
                let trouble = statuses.into_iter().find(|status| !matches!(status, Status::Done));
                Answer { sink: Sink::Statuses(vec![trouble.unwrap_or(Status::Done)]), failure: None }
            }
            Self::One(answer) => *answer,
        }
    }
}

fn troubled(status: &Status) -> Option<(&Error, bool)> {
    match status {
        Status::Refused(error) => Some((error, true)),
        Status::Missing { error, sent } => Some((error, *sent)),
        Status::Done | Status::NotMet | Status::Count(_) => None,
    }
}

fn one_trouble(answer: &Answer) -> Option<(&Error, bool)> {
    match &answer.failure {
        Some(failure) => Some((&failure.error, failure.sent)),
        None => answer.sink.fault().map(|error| (error, true)),
    }
}

fn update_values(count: usize, values: &mut Values, spoiled: &mut Vec<u32>, answers: Vec<(Part, Answer)>) {
    let mut taken: Vec<(Vec<u32>, Values)> = Vec::with_capacity(answers.len());
    spoiled.clear();
    for (part, answer) in answers {
        let failure = answer.failure.map_or_else(unanswered, |failure| failure.error);
        let together = match &answer.sink {
            Sink::Values(sink) => sink.together().to_vec(),
            Sink::Statuses(_) | Sink::Page(_) | Sink::Any(_) | Sink::Skip => Vec::new(),
        };
        let at = |index: u32| part.positions.get(index as usize).copied();
        spoiled.extend(together.into_iter().filter_map(at));
        let mut new = match answer.sink.into_reply() {
            Some(Reply::Values(new)) => new,
            Some(_) | None => Values::default(),
        };
        while new.len() < part.positions.len() {
            new.push_failed(failure.clone());
        }
        taken.push((part.positions, new));
    }
    spoiled.sort_unstable();
    let whole: Vec<u32> = (0..count as u32).collect();
    let old = std::mem::take(values);
    let mut parts: Vec<(&[u32], &Values)> = vec![(&whole, &old)];
    parts.extend(taken.iter().map(|(positions, new)| (positions.as_slice(), new)));
    *values = Values::assemble(count, &parts, &unanswered());
}
