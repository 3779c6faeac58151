//! What can go wrong, as separate facts: the kind, whether a repetition may help, and what the server did.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An argument of the wrong type, range or form.
    InvalidArgument,
    /// An option or an environment variable that cannot be used.
    InvalidConfig,
    /// Data that has no stored form (a cycle, a BigInt, a function).
    InvalidData,
    /// A stored value that is not JSON where JSON was asked for.
    InvalidJson,
    /// `configure` after the first command.
    AlreadyConnected,
    /// The client was closed.
    Closed,
    /// The client is switched off by configuration.
    Disabled,
    /// No connection could be made.
    ConnectionRefused,
    /// A connection broke.
    ConnectionLost,
    /// No usable connection within the connect timeout.
    ConnectTimeout,
    /// No answer in time.
    Timeout,
    /// The TLS handshake failed.
    Tls,
    /// The server refused the login.
    Auth,
    /// Bytes arrived that are not an answer.
    Protocol,
    /// The circuit breaker is open.
    CircuitOpen,
    /// No room for more work within the limit of buffered bytes.
    Overloaded,
    /// A condition (`nx`, `xx`) was not met.
    NotSet,
    /// A value longer than a JavaScript string may be.
    TooLarge,
    /// A fault of this package: a panic.
    Internal,
    /// An error reply; the text is the server's own code, known here or not.
    Server(Arc<str>),
}

/// The class of the error that a user of the package catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// `RedisBulkError`, the base class.
    Base,
    /// `ConnectionError`.
    Connection,
    /// `TimeoutError`.
    Timeout,
    /// `ReplyError`.
    Reply,
    /// `ConfigError`.
    Config,
    /// A JavaScript `TypeError` or `RangeError`.
    Argument,
}

/// Whether the server carried out what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// It was not carried out.
    No,
    /// It was carried out.
    Yes,
    /// It was sent and its answer was lost.
    Unknown,
}

impl Kind {
    /// The value of `err.code`.
    pub fn code(&self) -> &str {
        match self {
            Kind::InvalidArgument => "INVALID_ARGUMENT",
            Kind::InvalidConfig => "INVALID_CONFIG",
            Kind::InvalidData => "INVALID_DATA",
            Kind::InvalidJson => "INVALID_JSON",
            Kind::AlreadyConnected => "ALREADY_CONNECTED",
            Kind::Closed => "CLOSED",
            Kind::Disabled => "DISABLED",
            Kind::ConnectionRefused => "CONNECTION_REFUSED",
            Kind::ConnectionLost => "CONNECTION_LOST",
            Kind::ConnectTimeout => "CONNECT_TIMEOUT",
            Kind::Timeout => "TIMEOUT",
            Kind::Tls => "TLS",
            Kind::Auth => "AUTH",
            Kind::Protocol => "PROTOCOL",
            Kind::CircuitOpen => "CIRCUIT_OPEN",
            Kind::Overloaded => "OVERLOADED",
            Kind::NotSet => "NOT_SET",
            Kind::TooLarge => "TOO_LARGE",
            Kind::Internal => "INTERNAL",
            Kind::Server(code) => code,
        }
    }

    /// Whether it is the server's own answer.
    pub fn is_reply(&self) -> bool {
        matches!(self, Kind::Server(_))
    }

    /// The class of the thrown error.
    pub fn class(&self) -> Class {
        match self {
            Kind::InvalidArgument => Class::Argument,
            Kind::InvalidConfig | Kind::AlreadyConnected => Class::Config,
            Kind::Closed
            | Kind::Disabled
            | Kind::ConnectionRefused
            | Kind::ConnectionLost
            | Kind::Tls
            | Kind::Auth
            | Kind::Protocol
            | Kind::CircuitOpen => Class::Connection,
            Kind::ConnectTimeout | Kind::Timeout => Class::Timeout,
            Kind::Server(_) => Class::Reply,
            Kind::InvalidData
            | Kind::InvalidJson
            | Kind::Overloaded
            | Kind::NotSet
            | Kind::TooLarge
            | Kind::Internal => Class::Base,
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn retryable(&self) -> bool {
        match self {
            Kind::ConnectionRefused
            | Kind::ConnectionLost
            | Kind::ConnectTimeout
            | Kind::Timeout
            | Kind::Protocol
            | Kind::CircuitOpen
            | Kind::Overloaded => true,
            Kind::InvalidArgument
            | Kind::InvalidConfig
            | Kind::InvalidData
            | Kind::InvalidJson
            | Kind::AlreadyConnected
            | Kind::Closed
            | Kind::Disabled
            | Kind::Tls
            | Kind::Auth
            | Kind::NotSet
            | Kind::TooLarge
            | Kind::Internal => false,
            Kind::Server(code) => server_code_is_transient(code),
        }
    }
}

/// Codes that describe a passing state of the server, from the error replies in the sources of Redis and Valkey.
/// `OOM` is one of them: memory is freed by expiry and eviction without the caller doing anything.
fn server_code_is_transient(code: &str) -> bool {
    matches!(
        code,
        "LOADING"
            | "BUSY"
            | "TRYAGAIN"
            | "CLUSTERDOWN"
            | "MASTERDOWN"
            | "READONLY"
            | "NOREPLICAS"
            | "OOM"
            | "MISCONF"
    )
}

/// An error of this crate. Cheap to clone: one failure may be the answer to many items.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: Arc<str>,
    applied: Applied,
    /// Where the circumstances say more than the kind.
    retryable: Option<bool>,
    cause: Option<Arc<str>>,
}

impl Error {
    /// A new error; nothing was carried out unless [`Error::with_applied`] says otherwise.
    pub fn new<'a>(kind: Kind, message: impl Into<Cow<'a, str>>) -> Self {
        let message: Cow<'a, str> = message.into();
        Self {
            kind,
            message: Arc::from(message.as_ref()),
            applied: Applied::No,
            retryable: None,
            cause: None,
        }
    }

    /// From the text of an error reply without its leading `-`: the first word in capitals is the code.
    /// A text without one (Lua's `redis.error_reply` allows it) gets the code `ERR`.
    pub fn from_reply(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let word = text.split(' ').next().unwrap_or("");
        let is_code = !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        let code = if is_code { word } else { "ERR" };
        Self::new(Kind::Server(Arc::from(code)), text.as_ref())
    }

    /// Says what became of the work on the server.
    #[must_use]
    pub fn with_applied(mut self, applied: Applied) -> Self {
        self.applied = applied;
        self
    }

    /// Says that a repetition may help although the kind alone does not tell.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.retryable = Some(retryable);
        self
    }

    /// Keeps the text of the error beneath.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(Arc::from(cause.to_string()));
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The message for the user, without secrets.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether a user could tell the two apart.
    pub fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.message == other.message
            && self.applied == other.applied
            && self.retryable == other.retryable
            && self.cause == other.cause
    }

    /// What became of the work on the server.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn retryable(&self) -> bool {
        self.retryable.unwrap_or_else(|| self.kind.retryable())
    }

    /// The text of the error beneath.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The value of `err.code`.
    pub fn code(&self) -> &str {
        self.kind.code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
