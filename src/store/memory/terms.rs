//! What callers ask of the table, and what it answers.

/// When `set` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// In any case.
    #[default]
    Always,
    /// Only where the key does not exist (`NX`).
    IfAbsent,
    /// Only where the key exists (`XX`).
    IfPresent,
}

/// What becomes of a key's time to live when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The key does not expire, whatever it did before.
    Clear,
    /// As it was; a new key does not expire.
    Keep,
    /// The key is gone in this many milliseconds; with zero it is gone at once.
    After(u64),
}

/// What `set` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetOutcome {
    /// It wrote.
    Stored,
    /// The condition was not met; nothing changed.
    ConditionNotMet,
    /// The entry alone is larger than the whole store may be; nothing changed.
    TooLarge,
}

/// A key's time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ttl {
    /// There is no such key.
    Absent,
    /// The key does not expire.
    Persistent,
    /// Milliseconds that are left, at least one.
    Remaining(u64),
}
