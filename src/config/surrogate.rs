//! Names the place of a lone surrogate, which a JavaScript string may have and UTF-8 may not.

use serde_json::{Map, Value};

/// Where a text that is JSON for JavaScript but not for UTF-8 has its lone surrogate.
pub(super) fn find(text: &str) -> Option<String> {
    // A noncharacter marks the place; that a text has it for its own sake is taken into the bargain.
    const MARK: char = '\u{FFFF}';
    fn within(path: String, value: &Value) -> Option<String> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
            Value::String(text) => text.contains(MARK).then_some(path),
            Value::Array(items) => items.iter().find_map(|item| within(path.clone(), item)),
            Value::Object(map) => map.iter().find_map(|(key, value)| {
                if key.contains(MARK) {
                    return Some("the name of an option".to_owned());
                }
                within(if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value)
            }),
        }
    }
    let marked: Map<String, Value> = serde_json::from_str(&mark_lone_surrogates(text)).ok()?;
    ["options", "env"].iter().find_map(|part| within(String::new(), marked.get(*part)?))
}

/// The JSON text with `\uFFFF` for every escape of a surrogate without its partner.
fn mark_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut marked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\\') {
        marked.push_str(&rest[..start]);
        let at = text.len() - rest.len() + start;
        let (replacement, length) = match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (None, 12),
            (Some(0xD800..=0xDFFF), Some(_) | None) => (Some("\\uFFFF"), 6),
            (Some(_) | None, Some(_) | None) => (None, 2),
        };
        let end = (start + length).min(rest.len());
        // An escape is followed by an ASCII character in what JSON.stringify writes; anything else is no JSON.
        let Some(escape) = rest.get(start..end) else { return String::new() };
        marked.push_str(replacement.unwrap_or(escape));
        rest = &rest[end..];
    }
    marked.push_str(rest);
    marked
}
