//! Any other command.

use super::Call;
use crate::error::{Applied, Error, Kind, Result};
use crate::resp::Reply;
use crate::store::Command;
use redis::Value;

/// Commands that change the connection which all calls share, keep it from answering them, or are not answered with
/// exactly one reply.
const REFUSED: &[&str] = &[
    "ASKING",
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WAIT",
    "WAITAOF",
    "WATCH",
];

/// Sub-commands of CLIENT that change the connection, silence replies or send more of them.
const REFUSED_CLIENT: &[&str] =
    &["CACHING", "NO-EVICT", "NO-TOUCH", "REPLY", "SETINFO", "SETNAME", "TRACKING"];

/// Sends one command, its arguments as they are.
///
/// # Errors
/// `InvalidArgument` for a command that the shared connection cannot carry; what the server answered; a failure of
/// the connection, with what is known of the command's effect.
pub async fn command(call: &Call, arguments: &[Vec<u8>]) -> Result<Value> {
    if let Some(name) = refused(arguments) {
        let text = format!("{name} changes or blocks the connection that all calls share");
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    let mut answer = call.store.execute(&Command::Other { arguments }, &call.bounds).await;
    if let Some(failure) = answer.failure {
        return Err(failure.into_error());
    }
    if let Some(fault) = answer.sink.take_fault() {
        return Err(fault);
    }
    match answer.sink.into_reply() {
        Some(Reply::Value(value)) => Ok(value),
        Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Page(_)) | None => {
            Err(Error::new(Kind::Protocol, "an answer of another kind than the question")
                .with_applied(Applied::Unknown))
        }
    }
}

/// The name of a command that is not sent.
fn refused(arguments: &[Vec<u8>]) -> Option<String> {
    let text = |at: usize| {
        arguments.get(at).map_or_else(String::new, |word| String::from_utf8_lossy(word).to_ascii_uppercase())
    };
    let name = text(0);
    if name == "CLIENT" {
        let second = text(1);
        return REFUSED_CLIENT.contains(&second.as_str()).then(|| format!("CLIENT {second}"));
    }
    if name == "SCRIPT" {
        return (text(1) == "DEBUG").then(|| "SCRIPT DEBUG".to_owned());
    }
    if matches!(name.as_str(), "XREAD" | "XREADGROUP") {
        let blocks = arguments.iter().any(|word| word.eq_ignore_ascii_case(b"BLOCK"));
        return blocks.then(|| format!("{name} BLOCK"));
    }
    REFUSED.contains(&name.as_str()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_would_break_the_shared_connection_is_refused() {
        for text in [
            "select 1",
            "Client Reply OFF",
            "BLPOP a 0",
            "XREAD BLOCK 0 STREAMS s $",
            "subscribe c",
            "unsubscribe a b",
            "WAIT 1 0",
            "client tracking on",
            "CLIENT SETNAME x",
            "script debug yes",
        ] {
            assert!(refused(&words(text)).is_some(), "{text}");
        }
        for text in ["GET a", "CLIENT ID", "XREAD COUNT 1 STREAMS s 0", "LPOP a", ""] {
            assert!(refused(&words(text)).is_none(), "{text}");
        }
    }
}
