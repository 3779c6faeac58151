//! Reads environment variables, each error with the name of the variable.

use std::collections::HashMap;

use super::fields::{PORT, Whole};
use super::invalid;
use crate::error::Result;

pub(super) const REDIS_URL: &str = "REDIS_URL";
pub(super) const KV_URL: &str = "KV_URL";
pub(super) const CLUSTER: &str = "REDIS_CLUSTER";
pub(super) const CLUSTER_NODES: &str = "REDIS_CLUSTER_NODES";
pub(super) const SENTINELS: &str = "REDIS_SENTINELS";
pub(super) const SENTINEL_MASTER: &str = "REDIS_SENTINEL_MASTER";
pub(super) const UPSTASH_URL: &str = "UPSTASH_REDIS_REST_URL";
pub(super) const UPSTASH_TOKEN: &str = "UPSTASH_REDIS_REST_TOKEN";
pub(super) const HOST: &str = "REDIS_HOST";
pub(super) const PORT_NAME: &str = "REDIS_PORT";
pub(super) const USERNAME: &str = "REDIS_USERNAME";
pub(super) const PASSWORD: &str = "REDIS_PASSWORD";
pub(super) const DB_NAME: &str = "REDIS_DB";
pub(super) const TLS: &str = "REDIS_TLS";
pub(super) const CONNECT_TIMEOUT: &str = "REDIS_CONNECTION_TIMEOUT_MS";
pub(super) const COMMAND_TIMEOUT: &str = "REDIS_COMMAND_TIMEOUT_MS";
pub(super) const RETRY_ATTEMPTS: &str = "REDIS_RETRY_ATTEMPTS";
pub(super) const KEY_PREFIX: &str = "REDIS_KEY_PREFIX";
pub(super) const ENABLE_FALLBACK: &str = "REDIS_ENABLE_FALLBACK";

/// The variables that JavaScript passed. No `Debug`: they hold passwords.
#[derive(Default)]
pub(super) struct Env(pub(super) HashMap<String, String>);

impl Env {
    /// The value; an empty one counts as not set.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn whole<T: TryFrom<u64>>(&self, name: &str, limits: Whole) -> Result<Option<T>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match digits(value).filter(|number| limits.has(*number)).and_then(|number| T::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => {
                let hint = if name == PORT_NAME && value.starts_with("tcp://") {
                    " (Kubernetes sets it so for a Service named redis: set the port yourself, or \
                     enableServiceLinks: false)"
                } else {
                    ""
                };
                Err(invalid(format!("{name} must be {limits}; it is {}{hint}", shown(value))))
            }
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match boolean(value) {
            Some(flag) => Ok(Some(flag)),
            None => Err(invalid(format!("{name} must be true or false; it is {}", shown(value)))),
        }
    }

    pub(super) fn port(&self) -> Result<Option<u16>> {
        self.whole(PORT_NAME, PORT)
    }

    /// The parts of a comma-separated list; `None` where the variable is not set.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&str>> {
        let value = self.text(name)?;
        Some(value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect())
    }
}

/// Decimal digits and nothing else: no sign, no exponent, no blank.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A switch as people write it in environment files.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The value for a message; what has an `@` may be a URL with a password, and is left out.
fn shown(value: &str) -> String {
    if value.contains('@') {
        return "something else".to_owned();
    }
    let start: String = value.chars().take(40).collect();
    let more = if start.len() < value.len() { "…" } else { "" };
    format!("{start:?}{more}")
}
