//! Options and environment → [`Config`].
//!
//! JavaScript passes one JSON text, `{"options": {…ClientOptions…}, "env": {"REDIS_URL": "…"}}`, to
//! [`Config::from_json`]. Nothing here opens a connection, reads a file or looks at the process's environment.
//!
//! # Which address
//!
//! The first of these that is given is the address; the ones after it are not looked at:
//!
//! 1. `options.url`; it stands above `host` and `port`.
//! 2. `options.cluster`, `sentinel` or `upstash`. At most one of these and `url` may be given.
//! 3. `options.host` and `port`; the one left out comes from `REDIS_HOST` or `REDIS_PORT`, else the default.
//! 4. `REDIS_URL`, then `KV_URL`. With `REDIS_CLUSTER=true` it is the one seed of a cluster.
//! 5. `REDIS_CLUSTER_NODES` (unless `REDIS_CLUSTER=false`), or `REDIS_CLUSTER=true` with `REDIS_HOST` and
//!    `REDIS_PORT` as the one seed.
//! 6. `REDIS_SENTINELS` with `REDIS_SENTINEL_MASTER`.
//! 7. `UPSTASH_REDIS_REST_URL` with `UPSTASH_REDIS_REST_TOKEN`.
//! 8. `REDIS_HOST` (localhost) and `REDIS_PORT` (6379).
//!
//! # Which login, database and TLS
//!
//! User name, password, database and TLS are each taken from the first place that gives them:
//!
//! | address from | looked at, in this order |
//! |---|---|
//! | `options.url` | the URL, then the options. Not the environment: a password meant for one server must not be sent to another |
//! | other options | the options, then `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_DB`, `REDIS_TLS` |
//! | `REDIS_URL`, `KV_URL` | the options, then the URL, then the four variables |
//! | other variables | the options, then the four variables |
//! | `memory:`, `disabled`, Upstash | nothing: they have none |
//!
//! An empty `username`, `password` or `clientName` in the options means none, and keeps the environment's away. Where
//! one place turns TLS on and a later one gives its details (`rediss://` and `tls.ca`), both count; of two values for
//! `rejectUnauthorized` the stricter one does. A Unix socket has no TLS.
//!
//! # Everything else
//!
//! The option, else its variable (`REDIS_KEY_PREFIX` …), else the default; this holds with every address. A variable
//! that is empty counts as not set, one that is not looked at is not checked. A message about a value names the option
//! or variable. It shows the value only of a number or a switch in the environment, and never that of an address or a
//! secret, because an address may carry a password.

mod env;
mod fields;
mod host;
mod input;
mod password;
mod resolve;
mod secret;
mod surrogate;
#[cfg(test)]
mod tests;
mod tls;
mod url;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Kind, Result};

pub use self::password::{Answer as PasswordAnswer, AskPassword, PasswordSource};
pub use self::secret::Secret;
pub use self::tls::Tls;

/// Everything a client needs to know. Two equal configurations may share one client.
///
/// `Debug` shows no secret: each one is a [`Secret`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// What to connect to.
    pub target: Target,
    /// ACL user; `None` is the server's default user. Without a password there is no login, whatever stands here.
    pub username: Option<String>,
    /// Password of the server, of every node of a cluster, or of the primary behind Sentinel.
    pub password: Option<Secret>,
    /// Asked for the password of each connection, in the place of `password`. Default none.
    pub password_source: Option<PasswordSource>,
    /// Database number. Default 0; always 0 in a cluster.
    pub db: u32,
    /// Put in front of every key. Default empty.
    pub key_prefix: String,
    /// Name for `CLIENT SETNAME`: visible ASCII without spaces. Default none.
    pub client_name: Option<String>,
    /// Longest wait for a usable connection. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest wait for one server round trip. Default 5 s.
    pub command_timeout: Duration,
    /// Idle time before TCP asks whether the peer is still there; at least 1 s. Default 30 s.
    pub keep_alive: Duration,
    /// How calls that are safe to repeat are repeated.
    pub retry: Retry,
    /// Bytes of requests and replies that may wait in memory. Default 64 MiB.
    pub max_buffered_bytes: usize,
    /// The embedded store for the time the server is away. Default `None`: off.
    pub fallback: Option<Fallback>,
    /// Fail at once after repeated connection failures. On by default, as `circuitBreaker: false` is the way to turn
    /// it off; `None`: off.
    pub breaker: Option<Breaker>,
    /// Encryption; `None`: plain.
    pub tls: Option<Tls>,
}

/// What a client connects to.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// One server.
    Tcp {
        /// Name or address in lower case, IPv6 without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// One server, by its socket file.
    Unix {
        /// Absolute path.
        path: PathBuf,
    },
    /// The embedded store.
    Memory,
    /// Every call fails with `DISABLED`.
    Disabled,
    /// A Redis Cluster.
    Cluster {
        /// Where to ask for the layout; at least one.
        nodes: Vec<(String, u16)>,
        /// Who answers reads.
        read_from: ReadFrom,
        /// Addresses that nodes announce, and where they can be reached from here. Default empty.
        nat_map: BTreeMap<(String, u16), (String, u16)>,
        /// How old the layout may become while the cluster is in use. Default 60 s.
        refresh_interval: Duration,
    },
    /// A primary that Sentinel knows.
    Sentinel {
        /// The sentinels; at least one.
        nodes: Vec<(String, u16)>,
        /// Name of the primary.
        master: String,
        /// User on the sentinels themselves.
        username: Option<String>,
        /// Password on the sentinels themselves.
        password: Option<Secret>,
    },
    /// Upstash, over HTTP.
    Upstash {
        /// Address of the REST interface, without credentials and trailing slash.
        url: String,
        /// Its bearer token.
        token: Secret,
    },
}

/// Who answers reads in a cluster.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadFrom {
    /// The primaries.
    #[default]
    Primary,
    /// The replicas.
    Replica,
}

/// How calls that are safe to repeat are repeated: exponential with jitter.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// Attempts in all, the first one included; at least 1. Default 3.
    pub attempts: u32,
    /// Wait before the second attempt. Default 50 ms.
    pub base_delay: Duration,
    /// Longest wait between two attempts; never less than `base_delay`. Default 2 s.
    pub max_delay: Duration,
}

/// Limits of the embedded store.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fallback {
    /// Bytes of keys and values. Default 64 MiB.
    pub max_bytes: usize,
    /// Number of keys. Default `None`: only the bytes count.
    pub max_entries: Option<usize>,
}

/// When the circuit breaker opens and for how long.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Breaker {
    /// Consecutive connection failures that open it. Default 5.
    pub failures: u32,
    /// How long it stays open. Default 10 s.
    pub open: Duration,
}

/// 64 MiB, the default of every limit in bytes.
const DEFAULT_BYTES: usize = 64 * 1024 * 1024;

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, base_delay: Duration::from_millis(50), max_delay: Duration::from_secs(2) }
    }
}

impl Default for Fallback {
    fn default() -> Self {
        Self { max_bytes: DEFAULT_BYTES, max_entries: None }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(10) }
    }
}

impl Config {
    /// The defaults, with an address.
    ///
    /// ```
    /// use redis_bulk::config::{Config, Target};
    /// let config = Config::new(Target::Memory);
    /// assert_eq!(config.retry.attempts, 3);
    /// ```
    pub fn new(target: Target) -> Self {
        Self {
            target,
            username: None,
            password: None,
            password_source: None,
            db: 0,
            key_prefix: String::new(),
            client_name: None,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(30),
            retry: Retry::default(),
            max_buffered_bytes: DEFAULT_BYTES,
            fallback: None,
            breaker: Some(Breaker::default()),
            tls: None,
        }
    }

    /// From what JavaScript passes; `options` and `env` may each be left out.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the option or variable, never with a secret.
    ///
    /// ```
    /// use redis_bulk::config::Config;
    /// let config = Config::from_json(r#"{"options": {"db": 2}, "env": {"REDIS_URL": "redis://cache.example"}}"#)?;
    /// assert_eq!((config.target.describe().as_str(), config.db), ("cache.example:6379", 2));
    /// # Ok::<(), redis_bulk::error::Error>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Self> {
        resolve::resolve(input::Input::read(text)?)
    }

    /// The error for a configuration that is valid but asks for what does not go together, or what this platform has not.
    pub fn unsupported(&self) -> Option<Error> {
        let what = match &self.target {
            Target::Cluster { .. } if self.fallback.is_some() => {
                "the fallback store (option fallback, REDIS_ENABLE_FALLBACK) in front of a cluster"
            }
            Target::Unix { .. } if cfg!(not(unix)) => "a Unix socket on this platform",
            Target::Tcp { .. }
            | Target::Unix { .. }
            | Target::Memory
            | Target::Disabled
            | Target::Cluster { .. }
            | Target::Sentinel { .. }
            | Target::Upstash { .. } => return None,
        };
        Some(invalid(format!("{what} is not supported")))
    }
}

impl Target {
    /// Whether keys are elsewhere, behind connections that may fail.
    pub fn is_remote(&self) -> bool {
        match self {
            Target::Memory | Target::Disabled => false,
            Target::Tcp { .. }
            | Target::Unix { .. }
            | Target::Cluster { .. }
            | Target::Sentinel { .. }
            | Target::Upstash { .. } => true,
        }
    }

    /// A cluster with the defaults.
    pub fn cluster(nodes: Vec<(String, u16)>) -> Self {
        Self::Cluster {
            nodes,
            read_from: ReadFrom::default(),
            nat_map: BTreeMap::new(),
            refresh_interval: Duration::from_secs(60),
        }
    }

    /// Where it leads, for messages: `redis.example.com:6379`. Without credentials.
    pub fn describe(&self) -> String {
        match self {
            Target::Tcp { host, port } => host::join(host, *port),
            Target::Unix { path } => path.display().to_string(),
            Target::Memory => "the embedded store".to_owned(),
            Target::Disabled => "disabled".to_owned(),
            Target::Cluster { nodes, .. } => format!("the cluster at {}", host::join_all(nodes)),
            Target::Sentinel { nodes, master, .. } => {
                format!("the primary {master} of the sentinels at {}", host::join_all(nodes))
            }
            Target::Upstash { url, .. } => url.clone(),
        }
    }
}

/// An `InvalidConfig` error.
fn invalid<'a>(message: impl Into<Cow<'a, str>>) -> Error {
    Error::new(Kind::InvalidConfig, message)
}
