//! The configuration's JSON: whatever it says there is no panic, no message tells a secret, and reading it twice gives
//! one client.
//!
//! Input: the text.

use redis_bulk::config::Config;
use serde_json::{Map, Value};

/// Stands in every secret of the input; no message and no `Debug` may have it.
const MARK: &str = "XYZZY";

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(text);
    // The same with secrets in all places that are meant for them, and in no other.
    if let Ok(Value::Object(mut parts)) = serde_json::from_str(text)
        && !Value::Object(parts.clone()).to_string().contains(MARK)
    {
        mark(&mut parts);
        let marked = Value::Object(parts).to_string();
        match Config::from_json(&marked) {
            Ok(config) => {
                assert!(!format!("{config:?}").contains(MARK), "{config:?}");
                assert!(!config.target.describe().contains(MARK));
                let refusal = config.unsupported();
                assert!(refusal.is_none_or(|error| !error.message().contains(MARK)));
            }
            Err(error) => {
                assert!(!error.message().contains(MARK) && !format!("{error:?}").contains(MARK), "{error:?}")
            }
        }
    }
}

fn read(text: &str) {
    let Ok(config) = Config::from_json(text) else { return };
    assert!(Config::from_json(text).is_ok_and(|again| again == config), "two readings, two clients");
    assert!(config.retry.attempts >= 1 && config.retry.max_delay >= config.retry.base_delay);
}

fn mark(parts: &mut Map<String, Value>) {
    let secret = || Value::from(format!("p{MARK}w"));
    if let Some(Value::Object(options)) = parts.get_mut("options") {
        if options.contains_key("password") {
            options.insert("password".into(), secret());
        }
        for (name, field) in [("sentinel", "password"), ("upstash", "token")] {
            if let Some(Value::Object(inner)) = options.get_mut(name)
                && inner.contains_key(field)
            {
                inner.insert(field.into(), secret());
            }
        }
    }
    if let Some(Value::Object(env)) = parts.get_mut("env") {
        for name in ["REDIS_PASSWORD", "UPSTASH_REDIS_REST_TOKEN"] {
            if env.contains_key(name) {
                env.insert(name.into(), secret());
            }
        }
    }
}
