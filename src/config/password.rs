//! A password that is asked for anew for each connection.

use super::secret::Secret;
use crate::error::Result;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;

/// The answer to a question for a password.
pub type Answer = Pin<Box<dyn Future<Output = Result<Secret>> + Send>>;

/// Gives passwords: tokens that expire after minutes, for instance.
pub trait AskPassword: Send + Sync {
    /// Two with the same are one: their clients are shared.
    fn id(&self) -> (usize, u32);

    /// Asks; dropping the answer takes the question back.
    fn ask(&self) -> Answer;
}

/// Where passwords come from, as a part of a configuration.
#[derive(Clone)]
pub struct PasswordSource(Arc<dyn AskPassword>);

impl PasswordSource {
    /// From `ask`.
    pub fn new(ask: Arc<dyn AskPassword>) -> Self {
        Self(ask)
    }

    /// The password of a connection that is being made.
    ///
    /// # Errors
    /// `Auth`, where none could be had.
    pub async fn ask(&self) -> Result<Secret> {
        self.0.ask().await
    }
}

impl PartialEq for PasswordSource {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for PasswordSource {}

impl Hash for PasswordSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl fmt::Debug for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
