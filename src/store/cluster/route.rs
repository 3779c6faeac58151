//! Where any other command goes.

use super::slots::slot;
use crate::store::Shard;

/// Where a command that is one item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To the primary that has the slot.
    Slot(u16),
    /// To any primary.
    Any,
    /// To this one.
    Shard(Shard),
    /// To every primary.
    Everywhere(Merge),
}

/// What the answers of all primaries come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// One of them, as they are alike.
    First,
    /// The same, of a script; replicas that answer reads get it too.
    Script,
    /// Their sum.
    Sum,
    /// Their elements.
    Concat,
}

impl Merge {
    /// Whether the commands that are merged like this change something.
    pub(super) fn changes(self) -> bool {
        match self {
            Self::First | Self::Script => true,
            Self::Sum | Self::Concat => false,
        }
    }
}

/// By the first key, or by what the command is about. A key that this table does not know of is looked for in the first
/// argument; where that is wrong the server leads to the right place, as it does for a stale layout.
pub(super) fn place_of(arguments: &[Vec<u8>]) -> Place {
    let text = |at: usize| {
        arguments.get(at).map_or_else(String::new, |word| String::from_utf8_lossy(word).to_ascii_uppercase())
    };
    let first_of = |count_at: usize| match text(count_at).as_str() {
        "0" => None,
        _ => Some(count_at + 1),
    };
    let (name, second) = (text(0), text(1));
    let everywhere = match (name.as_str(), second.as_str()) {
        ("FLUSHALL" | "FLUSHDB", _)
        | ("SCRIPT", "FLUSH")
        | ("FUNCTION", "LOAD" | "DELETE" | "FLUSH" | "RESTORE") => Some(Merge::First),
        ("SCRIPT", "LOAD") => Some(Merge::Script),
        ("DBSIZE", _) => Some(Merge::Sum),
        ("KEYS", _) => Some(Merge::Concat),
        _ => None,
    };
    if let Some(merge) = everywhere {
        return Place::Everywhere(merge);
    }
    let key = match name.as_str() {
        "ACL" | "CLIENT" | "CLUSTER" | "COMMAND" | "CONFIG" | "ECHO" | "FUNCTION" | "INFO" | "LATENCY"
        | "LOLWUT" | "MODULE" | "PING" | "PUBLISH" | "PUBSUB" | "SCRIPT" | "SLOWLOG" | "TIME" => None,
        "BITOP" | "DEBUG" | "MEMORY" | "OBJECT" | "PFDEBUG" | "XGROUP" | "XINFO" => Some(2),
        "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => first_of(2),
        "LMPOP" | "SINTERCARD" | "ZDIFF" | "ZINTER" | "ZINTERCARD" | "ZMPOP" | "ZUNION" => first_of(1),
        "XREAD" | "XREADGROUP" => {
            arguments.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS")).map(|at| at + 1)
        }
        "MIGRATE" => Some(3),
        _ => Some(1),
    };
    match key.and_then(|at| arguments.get(at)) {
        Some(key) => Place::Slot(slot(key)),
        None => Place::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Place {
        place_of(&text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_key_decides() {
        let place = Place::Slot(slot(b"k"));
        for text in [
            "GET k",
            "set k v",
            "MGET k other",
            "EVALSHA abc 2 k other v",
            "eval return 1 k v",
            "OBJECT IDLETIME k",
            "Memory Usage k",
            "XREAD COUNT 1 STREAMS k 0",
            "ZUNION 2 k other",
            "BITOP AND k other",
            "MODULE.COMMAND k",
        ] {
            assert_eq!(of(text), place, "{text}");
        }
    }

    #[test]
    fn what_has_no_key_goes_anywhere_or_everywhere() {
        for text in
            ["PING", "TIME", "INFO server", "EVAL return 0", "CLUSTER SLOTS", "XREAD COUNT 1", "LASTSAVE"]
        {
            assert_eq!(of(text), Place::Any, "{text}");
        }
        assert_eq!(of("flushall"), Place::Everywhere(Merge::First));
        assert_eq!(of("SCRIPT LOAD x"), Place::Everywhere(Merge::Script));
        assert_eq!(of("SCRIPT EXISTS x"), Place::Any);
        assert_eq!(of("DBSIZE"), Place::Everywhere(Merge::Sum));
        assert_eq!(of("KEYS *"), Place::Everywhere(Merge::Concat));
    }
}
