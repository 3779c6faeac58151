//! Why a command is refused, in the server's own words.

use redis::Value;

/// Bytes of a command's name, and of all its arguments together, that the server repeats in an error.
const ECHOED_BYTES: usize = 128;

/// A command that is answered with an error.
#[derive(Debug)]
pub(super) enum Refusal {
    UnknownCommand,
    WrongArity,
    Syntax,
    NotAnInteger,
    InvalidExpire,
    InvalidCursor,
    IncrementOverflow,
    DecrementOverflow,
    UnsupportedOption(Vec<u8>),
    GreaterAndLess,
    AbsentAndOther,
    OutOfMemory,
}

impl Refusal {
    /// The error reply to the command `name`, as a parsed reply of a server would be.
    pub(super) fn reply(self, name: &[u8], args: &[&[u8]]) -> Value {
        let lower = || String::from_utf8_lossy(&name.to_ascii_lowercase()).into_owned();
        let text = match self {
            Refusal::UnknownCommand => unknown_command(name, args),
            Refusal::WrongArity => format!("ERR wrong number of arguments for '{}' command", lower()),
            Refusal::Syntax => "ERR syntax error".into(),
            Refusal::NotAnInteger => "ERR value is not an integer or out of range".into(),
            Refusal::InvalidExpire => format!("ERR invalid expire time in '{}' command", lower()),
            Refusal::InvalidCursor => "ERR invalid cursor".into(),
            Refusal::IncrementOverflow => "ERR increment or decrement would overflow".into(),
            Refusal::DecrementOverflow => "ERR decrement would overflow".into(),
            Refusal::UnsupportedOption(option) => {
                format!("ERR Unsupported option {}", String::from_utf8_lossy(c_string(&option)))
            }
            Refusal::GreaterAndLess => "ERR GT and LT options at the same time are not compatible".into(),
            Refusal::AbsentAndOther => {
                "ERR NX and XX, GT or LT options at the same time are not compatible".into()
            }
            Refusal::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.".into(),
        };
        error(&text)
    }
}

/// The crate's error value has no constructor, so that it is parsed from the line that a server would send.
fn error(text: &str) -> Value {
    let line = format!("-{}\r\n", text.replace(['\r', '\n'], " "));
    redis::parse_redis_value(line.as_bytes()).unwrap_or(Value::SimpleString(line))
}

/// The server prints names and arguments as C strings, cut by bytes; the cut may fall into a character.
fn unknown_command(name: &[u8], args: &[&[u8]]) -> String {
    let mut echoed = Vec::new();
    for arg in args {
        let Some(room) = ECHOED_BYTES.checked_sub(echoed.len()).filter(|&room| room > 0) else { break };
        echoed.push(b'\'');
        echoed.extend_from_slice(cut(c_string(arg), room));
        echoed.extend_from_slice(b"' ");
    }
    format!(
        "ERR unknown command '{}', with args beginning with: {}",
        String::from_utf8_lossy(cut(c_string(name), ECHOED_BYTES)),
        String::from_utf8_lossy(&echoed)
    )
}

fn cut(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
}

fn c_string(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}
