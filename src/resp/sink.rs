//! Where replies go: each kind of bulk work has the sink that keeps just what it needs.

use super::reader::{Handler, ProtocolError};
use crate::batch::Values;
use crate::error::{Applied, Error};
use redis::Value;

type Checked = Result<(), ProtocolError>;
const UNEXPECTED: ProtocolError = ProtocolError("a reply of another kind than the command has");

/// What one command of a pipeline was answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// `OK`.
    Done,
    /// Null: a condition was not met.
    NotMet,
    /// A number.
    Count(i64),
    /// An error reply.
    Refused(Error),
    /// None, where others of the same request have one: a part of it went to another server.
    Missing {
        /// Why.
        error: Error,
        /// False when the server cannot have seen the command.
        sent: bool,
    },
}

impl Status {
    /// Says of a refusal that it is not known whether the command was carried out: an earlier attempt may have been.
    pub fn doubt(&mut self) {
        match self {
            Self::Refused(error) => *error = error.clone().with_applied(Applied::Unknown),
            Self::Missing { sent, .. } => *sent = true,
            Self::Done | Self::NotMet | Self::Count(_) => {}
        }
    }
}

/// One page of SCAN.
#[derive(Debug, Default)]
pub struct Page {
    /// Where to go on; 0 at the end. Opaque: servers use all 64 bits.
    pub cursor: u64,
    /// The keys of the page.
    pub keys: Values,
}

/// What a sink holds in the end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Of [`Sink::values`].
    Values(Values),
    /// Of [`Sink::statuses`]; shorter than asked for where the connection broke.
    Statuses(Vec<Status>),
    /// Of [`Sink::page`].
    Page(Page),
    /// Of [`Sink::any`].
    Value(Value),
}

/// An error reply to the whole command.
pub type Fault = Error;

/// Takes the replies to one request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Sink {
    /// Arrays of values.
    Values(ValuesSink),
    /// One status for each reply.
    Statuses(Vec<Status>),
    /// A page of SCAN.
    Page(PageSink),
    /// Whatever comes.
    Any(AnySink),
    /// Nobody waits any more: the replies are counted and dropped.
    Skip,
}

/// State of [`Sink::Values`].
#[derive(Debug)]
pub struct ValuesSink {
    values: Values,
    /// Elements in each reply's array; where `runs` says nothing else.
    width: usize,
    /// Elements in the array of each reply in turn.
    runs: Vec<u32>,
    /// Replies so far.
    replies: usize,
    depth: usize,
    /// Whether an error reply is the answer to the items of its command rather than to all.
    isolated: bool,
    /// Items that failed with others, because their command was refused.
    together: Vec<u32>,
    fault: Option<Fault>,
}

/// State of [`Sink::Page`].
#[derive(Debug, Default)]
pub struct PageSink {
    page: Page,
    cursor: Vec<u8>,
    depth: usize,
    in_cursor: bool,
    fault: Option<Fault>,
}

/// State of [`Sink::Any`].
#[derive(Debug, Default)]
pub struct AnySink {
    open: Vec<Vec<Value>>,
    bulk: Vec<u8>,
    done: Option<Value>,
    fault: Option<Fault>,
}

impl Sink {
    /// One array of `count` values.
    pub fn values(count: usize) -> Self {
        Self::values_sink(count, count, false)
    }

    /// `count` arrays of one value each; an error reply is the failure of that one.
    pub fn isolated_values(count: usize) -> Self {
        Self::values_sink(count, 1, true)
    }

    /// An array of values for each of `runs`, with so many elements; an error reply is the failure of those.
    pub fn runs_of_values(runs: &[u32]) -> Self {
        let count = runs.iter().map(|width| *width as usize).sum();
        let mut sink = ValuesSink::new(Values::with_capacity(count), 1, true);
        sink.runs = runs.to_vec();
        Self::Values(sink)
    }

    fn values_sink(count: usize, width: usize, isolated: bool) -> Self {
        Self::Values(ValuesSink::new(Values::with_capacity(count), width, isolated))
    }

    /// Already filled with values; those that `together` lists failed with others of their command.
    pub fn from_values(values: Values, together: Vec<u32>) -> Self {
        let mut sink = ValuesSink::new(values, 1, true);
        sink.together = together;
        Self::Values(sink)
    }

    /// `count` statuses or numbers.
    pub fn statuses(count: usize) -> Self {
        Self::Statuses(Vec::with_capacity(count))
    }

    /// One page of SCAN.
    pub fn page() -> Self {
        Self::Page(PageSink::default())
    }

    /// One reply of any kind.
    pub fn any() -> Self {
        Self::Any(AnySink::default())
    }

    /// Already filled with a page.
    pub fn from_page(page: Page) -> Self {
        Self::Page(PageSink { page, ..PageSink::default() })
    }

    /// Already filled with a value.
    pub fn from_value(value: Value) -> Self {
        Self::Any(AnySink { done: Some(value), ..AnySink::default() })
    }

    /// Takes an error in the place of the next reply.
    pub fn refuse(&mut self, error: Error) {
        match self {
            Self::Values(sink) => sink.refused(error),
            Self::Statuses(statuses) => statuses.push(Status::Refused(error)),
            Self::Page(sink) => sink.fault = Some(error),
            Self::Any(sink) => sink.fault = Some(error),
            Self::Skip => {}
        }
    }

    /// The error reply to the whole request, if there was one.
    pub fn take_fault(&mut self) -> Option<Fault> {
        match self {
            Self::Values(sink) => sink.fault.take(),
            Self::Page(sink) => sink.fault.take(),
            Self::Any(sink) => sink.fault.take(),
            Self::Statuses(_) | Self::Skip => None,
        }
    }

    /// The same, left in place.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Values(sink) => sink.fault.as_ref(),
            Self::Page(sink) => sink.fault.as_ref(),
            Self::Any(sink) => sink.fault.as_ref(),
            Self::Statuses(_) | Self::Skip => None,
        }
    }

    /// Says of every refusal that it is not known whether the command was carried out: an earlier attempt may have been.
    pub fn doubt(&mut self) {
        let doubtful = |error: &mut Error| *error = error.clone().with_applied(Applied::Unknown);
        match self {
            Self::Statuses(statuses) => statuses.iter_mut().for_each(Status::doubt),
            Self::Any(sink) => sink.fault.iter_mut().for_each(doubtful),
            // Reading changes nothing.
            Self::Values(_) | Self::Page(_) | Self::Skip => {}
        }
    }

    /// What has arrived; `None` where nothing is kept.
    pub fn into_reply(self) -> Option<Reply> {
        match self {
            Self::Values(sink) => Some(Reply::Values(sink.values)),
            Self::Statuses(statuses) => Some(Reply::Statuses(statuses)),
            Self::Page(sink) => Some(Reply::Page(sink.page)),
            Self::Any(sink) => sink.done.map(Reply::Value),
            Self::Skip => None,
        }
    }
}

impl ValuesSink {
    fn new(values: Values, width: usize, isolated: bool) -> Self {
        let (runs, together) = (Vec::new(), Vec::new());
        Self { values, width, runs, replies: 0, depth: 0, isolated, together, fault: None }
    }

    /// The table, for who has the values without a wire.
    pub fn values_mut(&mut self) -> &mut Values {
        &mut self.values
    }

    /// The table.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The error reply to the whole request, if there was one.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Items that failed with others, because their command was refused: alone they may not.
    pub fn together(&self) -> &[u32] {
        &self.together
    }

    /// Elements of the reply that is due.
    fn due(&self) -> usize {
        self.runs.get(self.replies).map_or(self.width, |width| *width as usize)
    }

    /// An error in the place of a reply.
    fn refused(&mut self, error: Error) {
        if !self.isolated {
            self.fault = Some(error);
            return;
        }
        let width = self.due();
        for _ in 0..width {
            if width > 1 {
                self.together.push(self.values.len() as u32);
            }
            self.values.push_failed(error.clone());
        }
        self.replies += 1;
    }

    /// A value stands in an array, never alone.
    fn item(&self) -> Checked {
        if self.depth == 1 { Ok(()) } else { Err(UNEXPECTED) }
    }
}

impl PageSink {
    fn item(&self) -> Checked {
        if self.depth == 2 || (self.depth == 1 && self.cursor.is_empty()) { Ok(()) } else { Err(UNEXPECTED) }
    }
}

impl AnySink {
    /// The reply, for who changes it on its way.
    pub fn done_mut(&mut self) -> Option<&mut Value> {
        self.done.as_mut()
    }

    fn element(&mut self, value: Value) {
        match self.open.last_mut() {
            Some(array) => array.push(value),
            None => self.done = Some(value),
        }
    }
}

impl Handler for Sink {
    #[inline]
    fn bulk_begin(&mut self, length: usize) -> Checked {
        match self {
            Self::Values(sink) => {
                sink.item()?;
                sink.values.begin(length);
            }
            Self::Page(sink) => {
                sink.item()?;
                sink.in_cursor = sink.depth == 1;
                if !sink.in_cursor {
                    sink.page.keys.begin(length);
                }
            }
            Self::Any(sink) => sink.bulk.clear(),
            Self::Statuses(_) => return Err(UNEXPECTED),
            Self::Skip => {}
        }
        Ok(())
    }

    #[inline]
    fn bulk_part(&mut self, part: &[u8]) -> Checked {
        match self {
            Self::Values(sink) => sink.values.append(part),
            Self::Page(sink) if sink.in_cursor => {
                // Twenty digits are the longest 64-bit number.
                if sink.cursor.len() + part.len() > 20 {
                    return Err(UNEXPECTED);
                }
                sink.cursor.extend_from_slice(part);
            }
            Self::Page(sink) => sink.page.keys.append(part),
            Self::Any(sink) => sink.bulk.extend_from_slice(part),
            Self::Statuses(_) => return Err(UNEXPECTED),
            Self::Skip => {}
        }
        Ok(())
    }

    #[inline]
    fn bulk_end(&mut self) -> Checked {
        match self {
            Self::Values(sink) => sink.values.end(),
            Self::Page(sink) if sink.in_cursor => {
                sink.in_cursor = false;
                let text = std::str::from_utf8(&sink.cursor).map_err(|_| UNEXPECTED)?;
                sink.page.cursor = text.parse().map_err(|_| UNEXPECTED)?;
            }
            Self::Page(sink) => sink.page.keys.end(),
            Self::Any(sink) => {
                let bulk = std::mem::take(&mut sink.bulk);
                sink.element(Value::BulkString(bulk));
            }
            Self::Statuses(_) => return Err(UNEXPECTED),
            Self::Skip => {}
        }
        Ok(())
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) -> Checked {
        match self {
            Self::Values(sink) => {
                sink.item()?;
                sink.values.push(bytes);
                Ok(())
            }
            Self::Statuses(_) => Err(UNEXPECTED),
            Self::Page(_) | Self::Any(_) | Self::Skip => {
                self.bulk_begin(bytes.len())?;
                self.bulk_part(bytes)?;
                self.bulk_end()
            }
        }
    }

    fn null(&mut self) -> Checked {
        match self {
            Self::Values(sink) => {
                sink.item()?;
                sink.values.push_null();
            }
            Self::Statuses(statuses) => statuses.push(Status::NotMet),
            Self::Any(sink) => sink.element(Value::Nil),
            Self::Page(_) => return Err(UNEXPECTED),
            Self::Skip => {}
        }
        Ok(())
    }

    fn integer(&mut self, value: i64) -> Checked {
        match self {
            Self::Statuses(statuses) => statuses.push(Status::Count(value)),
            Self::Any(sink) => sink.element(Value::Int(value)),
            Self::Values(_) | Self::Page(_) => return Err(UNEXPECTED),
            Self::Skip => {}
        }
        Ok(())
    }

    fn simple(&mut self, text: &[u8]) -> Checked {
        match self {
            Self::Statuses(statuses) if text == b"OK" => statuses.push(Status::Done),
            Self::Any(sink) => {
                sink.element(Value::SimpleString(String::from_utf8_lossy(text).into_owned()));
            }
            Self::Values(_) | Self::Statuses(_) | Self::Page(_) => return Err(UNEXPECTED),
            Self::Skip => {}
        }
        Ok(())
    }

    fn error(&mut self, text: &[u8]) -> Checked {
        match self {
            Self::Values(sink) if sink.depth == 1 => sink.values.push_failed(Error::from_reply(text)),
            Self::Any(sink) if !sink.open.is_empty() => {
                // The crate's own parser is the one way to its error value.
                let line = format!("-{}\r\n", String::from_utf8_lossy(text));
                sink.element(redis::parse_redis_value(line.as_bytes()).unwrap_or(Value::Nil));
            }
            Self::Page(sink) if sink.depth > 0 => return Err(UNEXPECTED),
            Self::Values(_) | Self::Statuses(_) | Self::Page(_) | Self::Any(_) | Self::Skip => {
                self.refuse(Error::from_reply(text));
            }
        }
        Ok(())
    }

    fn array_begin(&mut self, length: usize) -> Checked {
        match self {
            Self::Values(sink) => {
                if sink.depth > 0 || length != sink.due() {
                    return Err(UNEXPECTED);
                }
                sink.depth = 1;
            }
            Self::Page(sink) => {
                if sink.depth > 1 || (sink.depth == 0 && length != 2) {
                    return Err(UNEXPECTED);
                }
                sink.depth += 1;
            }
            // Grows with what arrives: the length is only a claim.
            Self::Any(sink) => sink.open.push(Vec::new()),
            Self::Statuses(_) => return Err(UNEXPECTED),
            Self::Skip => {}
        }
        Ok(())
    }

    fn array_end(&mut self) -> Checked {
        match self {
            Self::Values(sink) => {
                sink.depth = 0;
                sink.replies += 1;
            }
            Self::Page(sink) => sink.depth -= 1,
            Self::Any(sink) => {
                let array = sink.open.pop().unwrap_or_default();
                sink.element(Value::Array(array));
            }
            Self::Statuses(_) | Self::Skip => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    fn read(mut sink: Sink, stream: &[u8], replies: usize) -> Result<Sink, ProtocolError> {
        let mut reader = Reader::new();
        let mut rest = stream;
        for _ in 0..replies {
            let (used, complete) = reader.read(rest, &mut sink)?;
            assert!(complete);
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
        Ok(sink)
    }

    #[test]
    fn a_page_of_scan() {
        let stream = b"*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$2\r\nbc\r\n";
        match read(Sink::page(), stream, 1).map(Sink::into_reply) {
            Ok(Some(Reply::Page(page))) => {
                assert_eq!(page.cursor, 17);
                assert_eq!(page.keys.iter().collect::<Vec<_>>(), [Some(&b"a"[..]), Some(b"bc")]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_inside_an_array_belongs_to_its_item() {
        let stream = b"*3\r\n$1\r\na\r\n-WRONGTYPE no\r\n$-1\r\n";
        let mut sink = read(Sink::values(3), stream, 1).expect("values");
        assert!(sink.take_fault().is_none());
        match sink.into_reply() {
            Some(Reply::Values(values)) => {
                let decoded = values.decode(crate::batch::Form::String);
                assert_eq!(decoded.lengths, [1, -1, -1]);
                assert_eq!(decoded.failures[0].index, 1);
                assert_eq!(decoded.failures[0].error.code(), "WRONGTYPE");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_instead_of_the_array_belongs_to_all() {
        let mut sink = read(Sink::values(3), b"-NOPERM no\r\n", 1).expect("an error reply");
        assert_eq!(sink.take_fault().as_ref().map(Error::code), Some("NOPERM"));
        let stream = b"*1\r\n$1\r\na\r\n-NOPERM no\r\n";
        let mut sink = read(Sink::isolated_values(2), stream, 2).expect("one and one error");
        assert!(sink.take_fault().is_none());
    }

    #[test]
    fn an_error_instead_of_one_array_of_many_belongs_to_its_items() {
        let stream = b"*2\r\n$1\r\na\r\n$-1\r\n-MOVED 1 h:1\r\n-NOPERM no\r\n*1\r\n$1\r\nb\r\n";
        let sink = read(Sink::runs_of_values(&[2, 1, 2, 1]), stream, 4).expect("four replies");
        let Sink::Values(values) = sink else { panic!("{sink:?}") };
        assert_eq!(values.together(), [3, 4]);
        let items: Vec<_> = values.values().iter().map(|item| item.map(<[u8]>::to_vec)).collect();
        assert_eq!(items, [Some(b"a".to_vec()), None, None, None, None, Some(b"b".to_vec())]);
        let failed: Vec<_> =
            values.values().failures().iter().map(|failure| (failure.index, failure.error.code())).collect();
        assert_eq!(failed, [(2, "MOVED"), (3, "NOPERM"), (4, "NOPERM")]);
        assert!(read(Sink::runs_of_values(&[2, 1]), b"*1\r\n$1\r\na\r\n", 1).is_err());
    }

    #[test]
    fn a_reply_of_another_shape_is_refused() {
        assert!(read(Sink::values(2), b"*1\r\n$1\r\na\r\n", 1).is_err());
        assert!(read(Sink::values(1), b":1\r\n", 1).is_err());
        assert!(read(Sink::values(1), b"$1\r\na\r\n", 1).is_err());
        assert!(read(Sink::statuses(1), b"$2\r\nOK\r\n", 1).is_err());
        assert!(read(Sink::statuses(1), b"+QUEUED\r\n", 1).is_err());
        assert!(read(Sink::page(), b"*2\r\n$1\r\nx\r\n*0\r\n", 1).is_err());
        assert!(read(Sink::page(), b"*2\r\n$1\r\n0\r\n:3\r\n", 1).is_err());
    }
}
