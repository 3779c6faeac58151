//! Cursors of SCAN while the place that answers may change: one that the embedded store gave away must not be taken to
//! the server, nor the other way round. Whoever comes with the other's cursor begins anew; keys that were found twice are
//! told apart by who asks, as they are on a server that rehashes.

use crate::resp::{Reply, Sink};
use crate::store::Command;
use redis::Value;

/// Stands in the upper half of the embedded store's cursors, which are slot numbers below 2^32. Servers use all 64 bits,
/// but only one cursor in four billion looks like this, and it costs a second look at some keys.
const MARK: u64 = 0xfa11_bacc << 32;

fn is_marked(cursor: u64) -> bool {
    cursor >> 32 == MARK >> 32
}

fn for_memory(cursor: u64) -> u64 {
    if is_marked(cursor) { cursor ^ MARK } else { 0 }
}

fn mark(cursor: u64) -> u64 {
    if cursor == 0 { 0 } else { cursor | MARK }
}

/// The cursor of a SCAN among the other commands.
fn cursor_of(arguments: &[Vec<u8>]) -> Option<u64> {
    match arguments {
        [name, cursor, ..] if name.eq_ignore_ascii_case(b"scan") => {
            std::str::from_utf8(cursor).ok()?.parse().ok()
        }
        _ => None,
    }
}

fn with_cursor(arguments: &[Vec<u8>], cursor: u64) -> Vec<Vec<u8>> {
    let mut arguments = arguments.to_vec();
    if let Some(place) = arguments.get_mut(1) {
        *place = cursor.to_string().into_bytes();
    }
    arguments
}

/// Whether the server may see the command as it is.
pub(super) fn fits_server(command: &Command<'_>) -> bool {
    match command {
        Command::Scan { cursor, .. } => !is_marked(*cursor),
        Command::Other { arguments } => !cursor_of(arguments).is_some_and(is_marked),
        Command::Lookup { .. } | Command::Set { .. } | Command::Mset { .. } | Command::Delete { .. } => true,
    }
}

/// The command as the server may see it; `room` keeps its arguments.
pub(super) fn server_command<'a>(command: &Command<'a>, room: &'a mut Vec<Vec<u8>>) -> Command<'a> {
    match *command {
        Command::Scan { shard, query, cursor } if is_marked(cursor) => {
            Command::Scan { shard, query, cursor: 0 }
        }
        Command::Other { arguments } if cursor_of(arguments).is_some_and(is_marked) => {
            *room = with_cursor(arguments, 0);
            Command::Other { arguments: room }
        }
        Command::Lookup { .. }
        | Command::Set { .. }
        | Command::Mset { .. }
        | Command::Delete { .. }
        | Command::Scan { .. }
        | Command::Other { .. } => *command,
    }
}

/// Has `run` carry the command out as the embedded store may see it, and marks the cursor of its answer.
pub(super) fn memory_command(command: &Command<'_>, run: impl FnOnce(&Command<'_>) -> Sink) -> Sink {
    match command {
        Command::Scan { shard, query, cursor } => {
            match run(&Command::Scan { shard: *shard, query, cursor: for_memory(*cursor) }).into_reply() {
                Some(Reply::Page(mut page)) => {
                    page.cursor = mark(page.cursor);
                    Sink::from_page(page)
                }
                Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Value(_)) | None => command.sink(),
            }
        }
        Command::Other { arguments } => {
            let Some(cursor) = cursor_of(arguments) else { return run(command) };
            let mut sink = run(&Command::Other { arguments: &with_cursor(arguments, for_memory(cursor)) });
            if sink.fault().is_some() {
                return sink;
            }
            if let Sink::Any(any) = &mut sink
                && let Some(Value::Array(reply)) = any.done_mut()
                && let Some(Value::BulkString(next)) = reply.first_mut()
                && let Some(cursor) = std::str::from_utf8(next).ok().and_then(|text| text.parse().ok())
            {
                *next = mark(cursor).to_string().into_bytes();
            }
            sink
        }
        Command::Lookup { .. } | Command::Set { .. } | Command::Mset { .. } | Command::Delete { .. } => {
            run(command)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_knows_its_own_cursors() {
        for slot in [1, 1_000, u64::from(u32::MAX)] {
            assert_eq!(for_memory(mark(slot)), slot);
            assert!(is_marked(mark(slot)));
        }
        assert_eq!(mark(0), 0);
        for cursor in [0, 17, u64::MAX, 1 << 40] {
            assert_eq!((is_marked(cursor), for_memory(cursor)), (false, 0));
        }
        let scan = [b"scan".to_vec(), mark(5).to_string().into_bytes()];
        let command = Command::Other { arguments: &scan };
        assert!(!fits_server(&command));
        let mut room = Vec::new();
        let Command::Other { arguments } = server_command(&command, &mut room) else {
            panic!("another command")
        };
        assert_eq!(arguments, &[b"scan".to_vec(), b"0".to_vec()]);
    }
}
