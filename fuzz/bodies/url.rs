//! URLs, from the option and from the variable: no panic, no part of an address in a message, no password in anything.
//!
//! Input: the URL. Where it says XYZZY, that is taken for the secret.

use redis_bulk::config::{Config, Target};
use serde_json::json;

const MARK: &str = "XYZZY";

pub(crate) fn run(data: &[u8]) {
    let Ok(url) = std::str::from_utf8(data) else { return };
    let texts = [
        json!({ "options": { "url": url } }),
        json!({ "env": { "REDIS_URL": url } }),
        json!({ "env": { "REDIS_URL": url, "REDIS_CLUSTER": "true" } }),
        json!({ "options": { "upstash": { "url": url, "token": "t" } } }),
        json!({ "options": { "cluster": { "nodes": [url] } } }),
    ];
    let configs = texts.map(|text| Config::from_json(&text.to_string()));
    for config in &configs {
        match config {
            Ok(config) => accepted(config),
            // An address may carry a password, so that none is shown.
            Err(error) => {
                assert!(!error.message().contains(MARK) && !format!("{error:?}").contains(MARK), "{error:?}")
            }
        }
    }
    // The option and the variable are read alike. An empty variable is none.
    if let [Ok(option), Ok(variable), ..] = &configs {
        assert!(url.is_empty() || option == variable, "{option:?} is not {variable:?}");
    }
}

fn accepted(config: &Config) {
    let place = config.target.describe();
    match &config.target {
        Target::Tcp { host, port } => assert!(!host.is_empty() && *port > 0),
        Target::Unix { path } => assert!(path.is_absolute()),
        Target::Cluster { nodes, .. } => assert!(!nodes.is_empty()),
        _ => {}
    }
    let name = config.username.as_deref().unwrap_or("");
    if !place.contains(MARK) && !name.contains(MARK) {
        assert!(!format!("{config:?}").contains(MARK), "{config:?}");
    }
}
