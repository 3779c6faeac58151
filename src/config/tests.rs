//! Tests of the configuration.

mod options;
mod precedence;
mod redaction;
mod urls;

use serde_json::{Value, json};

use super::{Config, Target};
use crate::error::Kind;

fn from(options: Value, env: Value) -> crate::error::Result<Config> {
    Config::from_json(&json!({ "options": options, "env": env }).to_string())
}

#[track_caller]
fn config(options: Value, env: Value) -> Config {
    from(options.clone(), env.clone()).unwrap_or_else(|error| panic!("{options} {env}: {error}"))
}

#[track_caller]
fn error(options: Value, env: Value) -> String {
    match from(options.clone(), env.clone()) {
        Ok(config) => panic!("{options} {env}: no error but {config:?}"),
        Err(error) => {
            assert_eq!(error.kind(), &Kind::InvalidConfig);
            assert!(error.cause().is_none());
            error.message().to_owned()
        }
    }
}

/// `user:password@address/db`, with `+tls`: everything that precedence decides, on one line.
fn brief(config: &Config) -> String {
    let user = config.username.as_deref().unwrap_or("-");
    let password = config.password.as_ref().map_or("-", |secret| secret.expose());
    let tls = if config.tls.is_some() { "+tls" } else { "" };
    format!("{user}:{password}@{}/{}{tls}", config.target.describe(), config.db)
}

fn tcp(host: &str, port: u16) -> Target {
    Target::Tcp { host: host.to_owned(), port }
}
