//! What an error reply of a cluster asks for.

use super::Cluster;
use super::layout::{Layout, known_host};
use super::node::Role;
use super::work::Part;
use crate::error::Error;
use crate::resp::{Sink, Status};
use crate::store::Answer;
use crate::store::connect::Endpoint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Another node is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// It has the slot from now on.
    Moved { slot: u16, to: Endpoint },
    /// It may have this key while the slot is on its way there.
    Ask { to: Endpoint },
}

/// Whether the error names another node.
pub(super) fn is_redirect(error: &Error) -> bool {
    matches!(error.code(), "MOVED" | "ASK")
}

/// The redirect that the error is, if it is one. `asked` is who answered.
pub(super) fn redirect(error: &Error, asked: &Endpoint) -> Option<Redirect> {
    if !is_redirect(error) {
        return None;
    }
    // `MOVED 3999 127.0.0.1:6381`; an IPv6 address has colons itself.
    let mut words = error.message().split(' ').skip(1);
    let slot: u16 = words.next()?.parse().ok()?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    let to = known_host(host, port.parse().ok()?, asked);
    Some(if error.code() == "MOVED" { Redirect::Moved { slot, to } } else { Redirect::Ask { to } })
}

impl Cluster {
    /// Notes what redirects say about slots.
    pub(super) fn learn(&self, answers: &[(Part, Answer)]) {
        let mut moved = BTreeMap::new();
        for (part, answer) in answers {
            let mut note = |error: &Error| {
                if let Some(Redirect::Moved { slot, to }) = redirect(error, &part.node.endpoint) {
                    moved.insert(slot, self.reachable(&to));
                }
            };
            match &answer.sink {
                Sink::Values(sink) => sink.values().failures().iter().for_each(|item| note(&item.error)),
                Sink::Statuses(statuses) => {
                    for status in statuses {
                        match status {
                            Status::Refused(error) => note(error),
                            Status::Done | Status::NotMet | Status::Count(_) | Status::Missing { .. } => {}
                        }
                    }
                }
                Sink::Page(_) | Sink::Any(_) | Sink::Skip => answer.sink.fault().into_iter().for_each(note),
            }
        }
        if moved.is_empty() {
            return;
        }
        let mut known = self.known();
        let Some(layout) = known.layout.clone() else { return };
        let mut layout = Layout::clone(&layout);
        for (slot, endpoint) in moved {
            let node = self.node_in(&mut known, &endpoint, Role::Primary);
            layout.set_owner(slot, node);
        }
        let version = layout.version;
        known.layout = Some(Arc::new(layout));
        drop(known);
        self.refresh(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn redirects_are_read() {
        let asked = at("asked", 1);
        let of = |text: &str| redirect(&Error::from_reply(text.as_bytes()), &asked);
        assert_eq!(
            of("MOVED 3999 127.0.0.1:6381"),
            Some(Redirect::Moved { slot: 3999, to: at("127.0.0.1", 6381) })
        );
        assert_eq!(of("ASK 1 2001:db8::1:6381"), Some(Redirect::Ask { to: at("2001:db8::1", 6381) }));
        assert_eq!(of("MOVED 1 :6381"), Some(Redirect::Moved { slot: 1, to: at("asked", 6381) }));
        assert_eq!(of("MOVED 1 ?:6381"), Some(Redirect::Moved { slot: 1, to: at("asked", 6381) }));
        for text in ["MOVED", "MOVED x h:1", "MOVED 1 h", "MOVED 1 h:x", "MOVED 70000 h:1", "ERR MOVED 1 h:1"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
