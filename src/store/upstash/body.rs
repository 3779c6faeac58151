//! Commands as JSON and back: what Upstash's `/pipeline` takes and gives.
//!
//! A request is an array of commands, each an array of strings. JSON has no bytes, so that an argument which is not UTF-8
//! cannot be sent exactly; it is not sent at all. An answer is an array of `{"result": …}` and `{"error": …}`, whose
//! strings are base64 (but for the plain `OK`), because values may be any bytes.

use crate::error::{Error, Kind};
use crate::resp::encode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;
use serde::Deserialize;
use serde_json::Value;

/// A request's body, and the commands of the pipeline that are not in it.
pub(super) struct Body {
    pub(super) json: Vec<u8>,
    /// For each command why it is not sent, where it is not.
    pub(super) unsent: Vec<Option<Error>>,
}

impl Body {
    /// From commands as they would go to a server.
    pub(super) fn of(commands: &[u8]) -> Self {
        let mut body = Self { json: vec![b'['], unsent: Vec::new() };
        let mut rest = commands;
        while let Some(arguments) = number_after(b'*', &mut rest) {
            let start = body.json.len();
            let mut fault = None;
            body.json.extend_from_slice(if start == 1 { b"[" } else { b",[" });
            for at in 0..arguments {
                let Some(argument) = number_after(b'$', &mut rest).and_then(|size| take(size, &mut rest))
                else {
                    break;
                };
                match std::str::from_utf8(argument) {
                    Ok(text) => {
                        if at > 0 {
                            body.json.push(b',');
                        }
                        push_text(&mut body.json, text);
                    }
                    Err(error) => fault = Some(error),
                }
            }
            body.json.push(b']');
            body.unsent.push(fault.map(|error| {
                body.json.truncate(start);
                let text = "the data is not UTF-8, and Upstash's REST interface takes nothing else";
                Error::new(Kind::InvalidData, text).with_cause(error)
            }));
        }
        body.json.push(b']');
        body
    }

    /// Commands that are sent.
    pub(super) fn commands(&self) -> usize {
        self.unsent.iter().filter(|fault| fault.is_none()).count()
    }
}

/// A number in its line, after a sign.
fn number_after(sign: u8, rest: &mut &[u8]) -> Option<usize> {
    let line = rest.strip_prefix(&[sign])?;
    let end = memchr(b'\r', line)?;
    let number = std::str::from_utf8(line.get(..end)?).ok()?.parse().ok()?;
    *rest = line.get(end + 2..)?;
    Some(number)
}

fn take<'a>(size: usize, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = rest.get(..size)?;
    *rest = rest.get(size + 2..)?;
    Some(bytes)
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail, and a string is always JSON.
    let _ = serde_json::to_writer(out, text);
}

/// One command's answer.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<String>,
}

impl Entry {
    /// Why it was refused, if it was.
    pub(super) fn into_error(self) -> Option<String> {
        self.error
    }

    /// As a server would have answered.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match &self.error {
            Some(error) => put_error(out, error),
            None => put_value(out, &self.result),
        }
    }
}

/// An error reply; it is one line.
pub(super) fn put_error(out: &mut Vec<u8>, text: &str) {
    out.push(b'-');
    out.extend(text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"$-1\r\n"),
        Value::Number(number) if number.is_i64() => {
            out.extend_from_slice(format!(":{number}\r\n").as_bytes());
        }
        Value::String(text) if text == "OK" => out.extend_from_slice(b"+OK\r\n"),
        Value::String(text) => match STANDARD.decode(text) {
            Ok(bytes) => encode::argument(out, &bytes),
            Err(_) => encode::argument(out, text.as_bytes()),
        },
        Value::Array(items) => {
            encode::header(out, items.len());
            items.iter().for_each(|item| put_value(out, item));
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            encode::argument(out, value.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(list: &[&[&[u8]]]) -> Vec<u8> {
        let mut out = Vec::new();
        for command in list {
            encode::command(&mut out, command.iter());
        }
        out
    }

    #[test]
    fn commands_become_arrays_of_text() {
        let body = Body::of(&commands(&[&[b"SET", "ключ\n\"".as_bytes(), b"a\0\r\n$1"], &[b"GET", b""]]));
        let json = String::from_utf8(body.json.clone()).unwrap();
        assert_eq!(json, r#"[["SET","ключ\n\"","a\u0000\r\n$1"],["GET",""]]"#);
        assert_eq!(body.commands(), 2);
        assert_eq!(String::from_utf8(Body::of(b"").json).unwrap(), "[]");
    }

    #[test]
    fn what_is_not_text_is_left_out_by_itself() {
        for (bad, expected) in [(0, r#"[["b"],["c"]]"#), (1, r#"[["a"],["c"]]"#), (2, r#"[["a"],["b"]]"#)] {
            let mut list: Vec<Vec<&[u8]>> = vec![vec![b"a"], vec![b"b"], vec![b"c"]];
            list[bad] = vec![b"SET", b"k", b"\xff\xfe"];
            let list: Vec<&[&[u8]]> = list.iter().map(Vec::as_slice).collect();
            let body = Body::of(&commands(&list));
            assert_eq!(String::from_utf8(body.json.clone()).unwrap(), expected);
            assert_eq!(body.commands(), 2);
            let fault = body.unsent[bad].as_ref().unwrap();
            assert_eq!(fault.kind(), &Kind::InvalidData);
        }
    }

    #[test]
    fn answers_become_replies() {
        for (json, expected) in [
            (r#"{"result":"OK"}"#, &b"+OK\r\n"[..]),
            (r#"{"result":"T0s="}"#, b"$2\r\nOK\r\n"),
            (r#"{"result":"/wA="}"#, b"$2\r\n\xff\0\r\n"),
            (r#"{"result":""}"#, b"$0\r\n\r\n"),
            (r#"{"result":null}"#, b"$-1\r\n"),
            (r#"{"result":-7}"#, b":-7\r\n"),
            (r#"{"result":1.5}"#, b"$3\r\n1.5\r\n"),
            (r#"{"result":["MA==",["YQ==",null]]}"#, b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$-1\r\n"),
            (r#"{"error":"ERR no\r\nsuch"}"#, b"-ERR no  such\r\n"),
        ] {
            let entry: Entry = serde_json::from_str(json).unwrap();
            let mut out = Vec::new();
            entry.put(&mut out);
            assert_eq!(out, expected, "{json}");
        }
    }
}
