//! An incremental reader of RESP2 replies.
//!
//! It takes bytes in whatever pieces they arrive and hands payloads on at once; what a length claims is never
//! allocated. Anything that is not a reply is an error after which the connection cannot be used: there is no way to
//! find the start of the next reply by guessing.

use memchr::memchr;

/// Arrays inside arrays; the deepest reply that Redis itself gives (COMMAND DOCS) needs less than ten.
const MAX_DEPTH: usize = 64;
/// A line longer than this is no status, error or number.
const MAX_LINE: usize = 64 * 1024;
/// The longest bulk string read: what the table of lengths can say. Redis's own limit is 512 MiB by default.
const MAX_BULK: i64 = u32::MAX as i64 - 2;

/// Bytes that are not a reply, or not one to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub &'static str);

type Checked = Result<(), ProtocolError>;

/// Takes what a reply is made of. A bulk string comes as `bulk_begin`, any number of `bulk_part`, `bulk_end`.
pub trait Handler {
    /// A bulk string of `length` bytes starts. The length is a claim, not a size to allocate.
    fn bulk_begin(&mut self, length: usize) -> Checked;
    /// Bytes of the bulk string.
    fn bulk_part(&mut self, part: &[u8]) -> Checked;
    /// The bulk string is complete.
    fn bulk_end(&mut self) -> Checked;
    /// A bulk string that has arrived whole.
    fn bulk(&mut self, bytes: &[u8]) -> Checked {
        self.bulk_begin(bytes.len())?;
        if !bytes.is_empty() {
            self.bulk_part(bytes)?;
        }
        self.bulk_end()
    }
    /// A null bulk string or null array.
    fn null(&mut self) -> Checked;
    /// An integer.
    fn integer(&mut self, value: i64) -> Checked;
    /// A simple string.
    fn simple(&mut self, text: &[u8]) -> Checked;
    /// An error, without its leading `-`.
    fn error(&mut self, text: &[u8]) -> Checked;
    /// An array of `length` elements starts. The length is a claim, not a size to allocate.
    fn array_begin(&mut self, length: usize) -> Checked;
    /// The innermost array is complete.
    fn array_end(&mut self) -> Checked;
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At the start of a line or within one.
    Line,
    /// Within the bytes of a bulk string.
    Bulk { left: usize },
    /// Behind them: bytes of the line end seen so far.
    BulkEnd { seen: usize },
}

/// Where the reader stands in the stream.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// Elements still to come in each open array.
    open: Vec<usize>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { state: State::Line, line: Vec::new(), open: Vec::new() }
    }
}

impl Reader {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the reader stands between two replies.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.line.is_empty() && matches!(self.state, State::Line)
    }

    /// Reads up to the end of one reply. Returns how many bytes it took and whether the reply is complete; an
    /// incomplete one has taken them all.
    pub fn read(&mut self, input: &[u8], handler: &mut impl Handler) -> Result<(usize, bool), ProtocolError> {
        let mut rest = input;
        loop {
            match self.state {
                State::Line => {
                    // What most replies are made of, where it has arrived whole.
                    if self.line.is_empty()
                        && let Some((common, after)) = Common::at(rest)
                    {
                        rest = after;
                        match common {
                            Common::Bulk(bytes) => handler.bulk(bytes)?,
                            Common::Done => handler.simple(b"OK")?,
                        }
                        if self.element_done(handler)? {
                            return Ok((input.len() - rest.len(), true));
                        }
                        continue;
                    }
                    let Some(end) = memchr(b'\n', rest) else {
                        self.keep(rest)?;
                        return Ok((input.len(), false));
                    };
                    let (head, tail) = rest.split_at(end + 1);
                    rest = tail;
                    let complete = if self.line.is_empty() {
                        self.line_read(head, handler)?
                    } else {
                        self.keep(head)?;
                        let line = std::mem::take(&mut self.line);
                        self.line_read(&line, handler)?
                    };
                    if complete {
                        return Ok((input.len() - rest.len(), true));
                    }
                }
                State::Bulk { left } => {
                    let (part, tail) = rest.split_at(left.min(rest.len()));
                    rest = tail;
                    if !part.is_empty() {
                        handler.bulk_part(part)?;
                    }
                    if part.len() < left {
                        self.state = State::Bulk { left: left - part.len() };
                        return Ok((input.len(), false));
                    }
                    self.state = State::BulkEnd { seen: 0 };
                }
                State::BulkEnd { seen } => {
                    let wanted = b"\r\n".get(seen..).unwrap_or(&[]);
                    let (part, tail) = rest.split_at(wanted.len().min(rest.len()));
                    rest = tail;
                    if !wanted.starts_with(part) {
                        return Err(ProtocolError("a bulk string does not end where its length says"));
                    }
                    if part.len() < wanted.len() {
                        self.state = State::BulkEnd { seen: seen + part.len() };
                        return Ok((input.len(), false));
                    }
                    self.state = State::Line;
                    handler.bulk_end()?;
                    if self.element_done(handler)? {
                        return Ok((input.len() - rest.len(), true));
                    }
                }
            }
        }
    }

    fn keep(&mut self, part: &[u8]) -> Checked {
        if self.line.len() + part.len() > MAX_LINE {
            return Err(ProtocolError("a line without an end"));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Reads one line with its end; says whether it completed the reply.
    fn line_read(&mut self, line: &[u8], handler: &mut impl Handler) -> Result<bool, ProtocolError> {
        let Some((&kind, text)) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first) else {
            return Err(ProtocolError("a line without a type or a carriage return"));
        };
        match kind {
            b'$' => match number(text)? {
                -1 => handler.null()?,
                length @ 0..=MAX_BULK => {
                    handler.bulk_begin(length as usize)?;
                    self.state = State::Bulk { left: length as usize };
                    return Ok(false);
                }
                _ => return Err(ProtocolError("a bulk string of impossible length")),
            },
            b'*' => match number(text)? {
                -1 => handler.null()?,
                length => {
                    let length = usize::try_from(length)
                        .map_err(|_| ProtocolError("an array of impossible length"))?;
                    handler.array_begin(length)?;
                    if length > 0 {
                        if self.open.len() == MAX_DEPTH {
                            return Err(ProtocolError("arrays nested too deep"));
                        }
                        self.open.push(length);
                        return Ok(false);
                    }
                    handler.array_end()?;
                }
            },
            b':' => handler.integer(number(text)?)?,
            b'+' => handler.simple(text)?,
            b'-' => handler.error(text)?,
            _ => return Err(ProtocolError("an unknown type of reply")),
        }
        self.element_done(handler)
    }

    /// Counts a complete element; says whether it completed the reply.
    #[inline]
    fn element_done(&mut self, handler: &mut impl Handler) -> Result<bool, ProtocolError> {
        match self.open.last_mut() {
            None => Ok(true),
            Some(left) if *left > 1 => {
                *left -= 1;
                Ok(false)
            }
            Some(_) => self.array_done(handler),
        }
    }

    /// Counts the last element of an array; says whether it completed the reply.
    fn array_done(&mut self, handler: &mut impl Handler) -> Result<bool, ProtocolError> {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return Ok(false);
            }
            self.open.pop();
            handler.array_end()?;
        }
        Ok(true)
    }
}

/// What most replies are made of.
enum Common<'a> {
    Bulk(&'a [u8]),
    /// `OK`.
    Done,
}

impl<'a> Common<'a> {
    /// What stands at the start of `input`, and what follows it. `None` where it is something else, has not arrived
    /// whole, or is wrong: the long way finds out.
    #[inline]
    fn at(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        /// Longer ones come in several reads anyway, and so many digits cannot overflow.
        const MOST_DIGITS: usize = 6;
        let (kind, text) = input.split_first()?;
        match kind {
            b'$' => {}
            b'+' => {
                let (line, after) = text.split_first_chunk::<4>()?;
                return (line == b"OK\r\n").then_some((Self::Done, after));
            }
            _ => return None,
        }
        let mut length = 0usize;
        let mut digits = 0;
        while let Some(digit) =
            text.get(digits).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            length = length * 10 + usize::from(digit);
            digits += 1;
            if digits > MOST_DIGITS {
                return None;
            }
        }
        if digits == 0 {
            return None;
        }
        let (bytes, end) = after_line_end(text.get(digits..)?)?.split_at_checked(length)?;
        Some((Self::Bulk(bytes), after_line_end(end)?))
    }
}

#[inline]
fn after_line_end(input: &[u8]) -> Option<&[u8]> {
    // As one number of two bytes, which a comparison of slices is not.
    let (end, after) = input.split_first_chunk::<2>()?;
    (end == b"\r\n").then_some(after)
}

/// A decimal number as RESP writes it: an optional sign, at least one digit, nothing else.
fn number(text: &[u8]) -> Result<i64, ProtocolError> {
    const WRONG: ProtocolError = ProtocolError("a number that is none");
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return Err(WRONG);
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(WRONG);
        }
        // Counted downwards: the smallest number has no positive counterpart.
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(digit - b'0')))
            .ok_or(WRONG)?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(WRONG) }
}

#[cfg(test)]
mod tests;
