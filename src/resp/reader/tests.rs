use super::*;
use crate::resp::{Reply, Sink};
use proptest::prelude::*;
use redis::Value;

#[expect(clippy::wildcard_enum_match_arm, reason = "the generator makes no other kind")]
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.extend_from_slice(b"$-1\r\n"),
        Value::Int(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
        Value::BulkString(bytes) => {
            out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        Value::SimpleString(text) => out.extend_from_slice(format!("+{text}\r\n").as_bytes()),
        Value::Array(elements) => {
            out.extend_from_slice(format!("*{}\r\n", elements.len()).as_bytes());
            elements.iter().for_each(|element| encode(element, out));
        }
        _ => panic!("not generated: {value:?}"),
    }
}

fn any_reply() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::BulkString),
        "[a-zA-Z ]{0,8}".prop_map(Value::SimpleString),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Value::Array))
}

fn read_all(stream: &[u8], cuts: &[usize]) -> Result<Vec<Value>, ProtocolError> {
    let mut reader = Reader::new();
    let mut sink = Sink::any();
    let mut replies = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        let mut piece = &stream[pair[0]..pair[1]];
        while !piece.is_empty() {
            let (used, complete) = reader.read(piece, &mut sink)?;
            piece = &piece[used..];
            if complete {
                match std::mem::replace(&mut sink, Sink::any()).into_reply() {
                    Some(Reply::Value(value)) => replies.push(value),
                    other => panic!("one value, not {other:?}"),
                }
            }
        }
    }
    assert!(reader.is_idle());
    Ok(replies)
}

fn refused(stream: &[u8]) -> ProtocolError {
    let mut sink = Sink::any();
    let mut reader = Reader::new();
    let mut rest = stream;
    loop {
        match reader.read(rest, &mut sink) {
            Err(error) => return error,
            Ok((used, _)) if used < rest.len() => rest = &rest[used..],
            Ok(_) => panic!("accepted {:?}", String::from_utf8_lossy(stream)),
        }
    }
}

proptest! {
    #[test]
    fn any_fragmentation_reads_the_same(
        replies in prop::collection::vec(any_reply(), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut stream = Vec::new();
        replies.iter().for_each(|reply| encode(reply, &mut stream));
        let every_byte: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&read_all(&stream, &cuts).expect("replies"), &replies);
        prop_assert_eq!(&read_all(&stream, &every_byte).expect("replies"), &replies);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..200)) {
        let mut sink = Sink::any();
        let mut reader = Reader::new();
        let mut rest = &bytes[..];
        while let Ok((used, _)) = reader.read(rest, &mut sink) {
            rest = &rest[used..];
            if rest.is_empty() {
                break;
            }
            sink = Sink::any();
        }
    }

    #[test]
    fn numbers_round_trip(value in any::<i64>()) {
        prop_assert_eq!(number(value.to_string().as_bytes()), Ok(value));
    }
}

#[test]
fn refuses_what_is_not_a_reply() {
    for stream in [
        &b"?what\r\n"[..],
        b"$abc\r\n",
        b"$-2\r\n",
        b"$\r\n",
        b"*-7\r\n",
        b":1x\r\n",
        b":9223372036854775808\r\n",
        b"+no carriage return\n",
        b"\r\n",
        b"$3\r\nabcd\r\n",
        b"$9223372036854775807\r\n",
    ] {
        refused(stream);
    }
}

#[test]
fn depth_and_lines_are_bounded() {
    assert_eq!(refused("*1\r\n".repeat(200_000).as_bytes()), ProtocolError("arrays nested too deep"));
    assert_eq!(refused(&vec![b'+'; MAX_LINE + 1]), ProtocolError("a line without an end"));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut sink = Sink::values(3);
    let mut reader = Reader::new();
    let claim = b"*3\r\n$4294967000\r\nabc";
    assert_eq!(reader.read(claim, &mut sink), Ok((claim.len(), false)));
    match sink.into_reply() {
        Some(Reply::Values(values)) => assert_eq!(values.byte_len(), 3),
        other => panic!("values, not {other:?}"),
    }
}
