//! Reads the fields of an options object, each error with the name of the field.

use std::fmt;

use serde_json::{Map, Value};

use super::invalid;
use crate::error::Result;

/// Inclusive limits of a whole number; prints as the end of "… must be".
#[derive(Clone, Copy)]
pub(super) struct Whole {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Whole {
    pub(super) fn has(self, number: u64) -> bool {
        (self.min..=self.max).contains(&number)
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.min, self.max)
    }
}

/// The largest delay of a JavaScript timer, in milliseconds.
const MAX_MS: u64 = (1 << 31) - 1;
/// 1 TiB, or what an allocation may have on a 32-bit system.
const MAX_BYTES: u64 = if cfg!(target_pointer_width = "64") { 1 << 40 } else { (1 << 31) - 1 };

pub(super) const PORT: Whole = Whole { min: 1, max: 65_535 };
/// `databases` in redis.conf is a C int.
pub(super) const DB: Whole = Whole { min: 0, max: (1 << 31) - 1 };
pub(super) const MS: Whole = Whole { min: 1, max: MAX_MS };
/// Systems count keep-alive in whole seconds; Linux takes up to 32,767 of them.
pub(super) const KEEP_ALIVE_MS: Whole = Whole { min: 1_000, max: 32_767_000 };
pub(super) const ATTEMPTS: Whole = Whole { min: 1, max: 100 };
pub(super) const FAILURES: Whole = Whole { min: 1, max: 1_000_000 };
/// Less than 64 KiB would not hold one chunk.
pub(super) const BYTES: Whole = Whole { min: 64 * 1024, max: MAX_BYTES };
pub(super) const ENTRIES: Whole = Whole { min: 1, max: (1 << 31) - 1 };

/// The fields of one object, taken out one by one.
pub(super) struct Fields {
    /// Name of the object in messages, with a dot; empty for the options themselves.
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// `path` is empty for the options themselves. A field that is not in `known` is an error.
    pub(super) fn new(path: &str, map: Map<String, Value>, known: &[&str]) -> Result<Self> {
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
            let shown: String = key.chars().take(60).flat_map(char::escape_debug).collect();
            let hint = match nearest(key, known) {
                Some(near) => format!("did you mean {path}{near}?"),
                None => format!("known are {}", known.join(", ")),
            };
            return Err(invalid(format!("unknown option {path}{shown}: {hint}")));
        }
        Ok(Self { path, map })
    }

    /// Name of a field in messages.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    fn wrong<T>(&self, key: &str, must: impl fmt::Display, value: &Value) -> Result<T> {
        let name = self.name(key);
        // A value is not shown, because it may be a password in the wrong place; a number is none.
        let is = match value {
            Value::Null => "null, NaN or infinite".to_owned(),
            Value::Bool(_) => "a boolean".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::String(_) => "a string".to_owned(),
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        Err(invalid(format!("{name} must be {must}; it is {is}")))
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(
                value
                @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => self.wrong(key, "a string", &value),
        }
    }

    pub(super) fn filled_text(&mut self, key: &str) -> Result<Option<String>> {
        let text = self.text(key)?;
        match text.as_deref().map(str::trim) {
            Some("") => Err(invalid(format!("{} must not be empty", self.name(key)))),
            Some(_) | None => Ok(text),
        }
    }

    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| invalid(format!("{} is missing", self.name(key))))
    }

    pub(super) fn whole<T: TryFrom<u64>>(&mut self, key: &str, limits: Whole) -> Result<Option<T>> {
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        let number = value.as_u64().filter(|number| limits.has(*number));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => self.wrong(key, limits, &value),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        match value.as_bool() {
            Some(flag) => Ok(Some(flag)),
            None => self.wrong(key, "true or false", &value),
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        let name = self.name(key);
        let must = || invalid(format!("{name} must be an array of at least one string"));
        let value = self.required(key, self.map.get(key))?;
        let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(must)?;
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(must)).collect()
    }

    /// An object from strings to strings.
    pub(super) fn pairs(&mut self, key: &str) -> Result<Vec<(String, String)>> {
        let Some(value) = self.map.remove(key) else { return Ok(Vec::new()) };
        let pair = |(from, to): (&String, &Value)| Some((from.clone(), to.as_str()?.to_owned()));
        match value.as_object().and_then(|map| map.iter().map(pair).collect()) {
            Some(pairs) => Ok(pairs),
            None => self.wrong(key, "an object of strings", &value),
        }
    }

    /// An object in this one.
    pub(super) fn object(&mut self, key: &str, known: &[&str]) -> Result<Option<Fields>> {
        match self.switch(key, known, "an object")? {
            None => Ok(None),
            Some(Switch::Object(fields)) => Ok(Some(fields)),
            Some(Switch::Flag(flag)) => self.wrong(key, "an object", &Value::Bool(flag)),
        }
    }

    /// A field that is true, false or an object.
    pub(super) fn flag_or_object(&mut self, key: &str, known: &[&str]) -> Result<Option<Switch>> {
        self.switch(key, known, "true, false or an object")
    }

    fn switch(&mut self, key: &str, known: &[&str], must: &str) -> Result<Option<Switch>> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(Switch::Flag(flag))),
            Some(Value::Object(map)) => Ok(Some(Switch::Object(Fields::new(&self.name(key), map, known)?))),
            Some(value @ (Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_))) => {
                self.wrong(key, must, &value)
            }
        }
    }
}

/// `true`, `false` or an object.
pub(super) enum Switch {
    Flag(bool),
    Object(Fields),
}

/// The known name that was probably meant.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| -> Vec<u8> {
        name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    let key = plain(key);
    // Longer names differ from every option by more than a slip; this also bounds the work below.
    if key.is_empty() || key.len() > 40 {
        return None;
    }
    let near = |name: &&&str| {
        let name = plain(name);
        let (short, long) = if key.len() < name.len() { (&key, &name) } else { (&name, &key) };
        let slips = match short.len() {
            0..=2 => 0,
            3..=4 => 1,
            5.. => 2,
        };
        let sorted = |mut name: Vec<u8>| {
            name.sort_unstable();
            name
        };
        (short.len() > 2 && long.starts_with(short))
            || distance(&key, &name) <= slips
            || sorted(key.clone()) == sorted(name)
    };
    known.iter().filter(near).min_by_key(|name| distance(&key, &plain(name))).copied()
}

/// Letters to insert, delete or replace.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for ((y, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let replaced = pair.first().copied().unwrap_or(0) + usize::from(x != y);
            let deleted = pair.last().copied().unwrap_or(0) + 1;
            let inserted = next.get::<usize>(left).copied().unwrap_or(0) + 1;
            next.push(replaced.min(deleted).min(inserted));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
