//! Commands in the Redis serialization protocol (RESP): arrays of bulk strings.

use itoa::Buffer;

/// Bytes that the frame of one argument adds at most: `$`, ten digits, two line ends.
pub const ARGUMENT_OVERHEAD: usize = 15;

/// Starts a command of `arguments` arguments, its name among them.
#[inline]
pub fn header(out: &mut Vec<u8>, arguments: usize) {
    line(out, b'*', arguments);
}

/// Adds one argument.
#[inline]
pub fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Adds one argument that is `prefix` and `rest` together.
#[inline]
pub fn joined(out: &mut Vec<u8>, prefix: &[u8], rest: &[u8]) {
    line(out, b'$', prefix.len() + rest.len());
    out.extend_from_slice(prefix);
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

/// Adds a number as an argument.
#[inline]
pub fn number(out: &mut Vec<u8>, value: i64) {
    argument(out, Buffer::new().format(value).as_bytes());
}

/// Writes a whole command.
pub fn command<A: AsRef<[u8]>>(out: &mut Vec<u8>, arguments: impl ExactSizeIterator<Item = A>) {
    header(out, arguments.len());
    for bytes in arguments {
        argument(out, bytes.as_ref());
    }
}

#[inline]
fn line(out: &mut Vec<u8>, kind: u8, count: usize) {
    let digit = |unit: usize| b'0' + (count / unit % 10) as u8;
    // Lengths of few digits, which most are, in one store each.
    match count {
        0..10 => out.extend_from_slice(&[kind, digit(1), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[kind, digit(10), digit(1), b'\r', b'\n']),
        100..1000 => out.extend_from_slice(&[kind, digit(100), digit(10), digit(1), b'\r', b'\n']),
        _ => {
            out.push(kind);
            out.extend_from_slice(Buffer::new().format(count).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn same_bytes_as_the_redis_crate(arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..10)) {
            let mut ours = Vec::new();
            command(&mut ours, arguments.iter());
            prop_assert_eq!(ours, redis::pack_command(&arguments));
        }

        #[test]
        fn lengths_of_all_sizes(count in prop_oneof![0usize..1100, any::<usize>()]) {
            let mut out = Vec::new();
            line(&mut out, b'$', count);
            prop_assert_eq!(out, format!("${count}\r\n").into_bytes());
        }

        #[test]
        fn a_joined_argument_is_one(prefix in prop::collection::vec(any::<u8>(), 0..9), rest in prop::collection::vec(any::<u8>(), 0..9)) {
            let (mut one, mut two) = (Vec::new(), Vec::new());
            joined(&mut one, &prefix, &rest);
            argument(&mut two, &[prefix, rest].concat());
            prop_assert_eq!(one, two);
        }
    }
}
