//! Which failures mean that the server is away.

use crate::error::Kind;
use crate::store::{Bounds, Command, Failure};
use tokio::time::Instant;

/// Whether the memory may answer in the place of a server with which a command has failed like this: that could not be
/// reached, and carrying the command out leaves the same even if the server has done so already. `in_turns`: calls may wait
/// for one another instead of a connection.
pub(super) fn takes_over(command: &Command<'_>, failure: &Failure, bounds: &Bounds, in_turns: bool) -> bool {
    let harmless = !failure.sent || command.leaves_the_same();
    match failure.error.kind() {
        Kind::ConnectionRefused
        | Kind::ConnectionLost
        | Kind::ConnectTimeout
        | Kind::Protocol
        | Kind::CircuitOpen => harmless,
        Kind::Timeout if !failure.sent => !in_turns,
        // A silent server is away. What is sent by name may just take long, and a caller who would not wait as long as
        // others says nothing of the server.
        Kind::Timeout => {
            let in_time = bounds.limit().is_none_or(|limit| Instant::now() < limit);
            harmless && in_time && !matches!(command, Command::Other { .. })
        }
        Kind::Server(_)
        | Kind::InvalidArgument
        | Kind::InvalidConfig
        | Kind::InvalidData
        | Kind::InvalidJson
        | Kind::AlreadyConnected
        | Kind::Closed
        | Kind::Disabled
        | Kind::Tls
        | Kind::Auth
        | Kind::Overloaded
        | Kind::NotSet
        | Kind::TooLarge
        | Kind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Keys;
    use crate::error::Error;
    use crate::store::{Split, Verb};
    use std::time::Duration;

    #[test]
    fn an_outage_is_no_answer_of_the_server_and_nothing_counts_twice() {
        let keys = Keys::default();
        let delete = |split| Command::Delete { keys: &keys, items: &[], verb: Verb::Unlink, split };
        let incr = [b"INCR".to_vec(), b"n".to_vec()];
        let counts = Command::Other { arguments: &incr };
        let now = Instant::now();
        let endless = Bounds::default();
        let patient = Bounds::new(Some(now + Duration::from_secs(600)));
        let impatient = Bounds::new(Some(now));
        let over = |command: &Command<'_>, kind: Kind, sent: bool, bounds: &Bounds| {
            takes_over(command, &Failure { error: Error::new(kind, ""), sent }, bounds, false)
        };
        for kind in [
            Kind::ConnectionRefused,
            Kind::ConnectionLost,
            Kind::ConnectTimeout,
            Kind::Protocol,
            Kind::CircuitOpen,
        ] {
            assert!(over(&counts, kind.clone(), false, &endless), "{kind:?}");
            assert!(!over(&counts, kind.clone(), true, &endless), "{kind:?}");
            assert!(over(&delete(Split::Together), kind.clone(), true, &endless), "{kind:?}");
            assert!(!over(&delete(Split::Each), kind.clone(), true, &endless), "{kind:?}");
        }
        for kind in [Kind::Auth, Kind::Tls, Kind::InvalidConfig, Kind::Overloaded, Kind::Closed] {
            assert!(!over(&counts, kind.clone(), false, &endless), "{kind:?}");
        }
        assert!(!over(&counts, Kind::Server("LOADING".into()), false, &endless));
        let read = delete(Split::Together);
        assert!(over(&read, Kind::Timeout, true, &endless) && over(&read, Kind::Timeout, true, &patient));
        assert!(!over(&read, Kind::Timeout, true, &impatient), "the caller's own limit");
        assert!(over(&read, Kind::Timeout, false, &impatient), "there was no connection in all its time");
        assert!(!over(&Command::Other { arguments: &[b"GET".to_vec()] }, Kind::Timeout, true, &endless));
        let waited = Failure::unsent(Error::new(Kind::Timeout, ""));
        assert!(!takes_over(&read, &waited, &impatient, true), "others had their turn");
    }
}
