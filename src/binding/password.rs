//! Passwords that a function of the program gives: a question goes to JavaScript with a number, and the answer comes
//! back with it.

use super::completion::{Completion, Outcome};
use super::port::Port;
use crate::config::{AskPassword, PasswordAnswer, Secret};
use crate::error::{Error, Kind, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Questions that were asked and not answered.
#[derive(Default)]
pub(super) struct Questions {
    waiting: Mutex<HashMap<u32, oneshot::Sender<Result<Secret>>>>,
    last: AtomicU32,
}

impl Questions {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<Result<Secret>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an answer to who asked, if he still waits.
    pub(super) fn answer(&self, question: u32, answer: Result<Secret>) {
        if let Some(sender) = self.waiting().remove(&question) {
            let _ = sender.send(answer);
        }
    }

    /// Nobody is left to answer.
    pub(super) fn clear(&self) {
        self.waiting().clear();
    }
}

/// A function of one JavaScript environment, by its number there.
pub(super) struct PasswordFunction {
    port: Arc<Port>,
    number: u32,
}

impl PasswordFunction {
    pub(super) fn new(port: Arc<Port>, number: u32) -> Self {
        Self { port, number }
    }
}

impl AskPassword for PasswordFunction {
    fn id(&self) -> (usize, u32) {
        (Arc::as_ptr(&self.port) as usize, self.number)
    }

    fn ask(&self) -> PasswordAnswer {
        let (port, number) = (self.port.clone(), self.number);
        Box::pin(async move {
            let question = port.questions.last.fetch_add(1, Ordering::Relaxed);
            let (sender, receiver) = oneshot::channel();
            port.questions.waiting().insert(question, sender);
            let asked = Asked { port: &port, question };
            port.complete(Completion { id: number, outcome: Ok(Outcome::Ask(question)) });
            // An environment that was gone before has cleared the questions already.
            if port.is_closed() {
                return Err(gone());
            }
            let answer = receiver.await.unwrap_or_else(|_| Err(gone()));
            drop(asked);
            answer
        })
    }
}

/// Takes the question back when nobody waits for its answer any more.
struct Asked<'a> {
    port: &'a Port,
    question: u32,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.port.questions.waiting().remove(&self.question);
    }
}

fn gone() -> Error {
    Error::new(Kind::Auth, "the thread whose function gives the password has ended")
}

/// The error of a function that gave none; `reason` is what it threw.
pub(super) fn failed(reason: &str) -> Error {
    Error::new(Kind::Auth, "the function for the password gave none").with_cause(reason)
}
