//! What JavaScript passes: one JSON text with the options and the environment's variables.
//!
//! The options are read field by field and not into derived structs, whose errors would show the value (perhaps a
//! password) and not the name of the option.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::env::Env;
use super::fields::{ATTEMPTS, BYTES, DB, ENTRIES, FAILURES, Fields, KEEP_ALIVE_MS, MS, PORT, Switch};
use super::secret::Secret;
use super::tls::{Details, Wish};
use super::{Breaker, Fallback, ReadFrom, Target, host, invalid, surrogate, url};
use crate::error::Result;

const OPTIONS: &[&str] = &[
    "url",
    "host",
    "port",
    "username",
    "password",
    "db",
    "tls",
    "cluster",
    "sentinel",
    "upstash",
    "keyPrefix",
    "clientName",
    "connectTimeoutMs",
    "commandTimeoutMs",
    "keepAliveMs",
    "retry",
    "maxBufferedBytes",
    "fallback",
    "circuitBreaker",
    "envFile",
];

/// The JSON text.
pub(super) struct Input {
    pub(super) options: Options,
    pub(super) env: Env,
}

/// ClientOptions, each checked by itself; `None` where left out. No `Debug`: `url` may hold a password.
#[derive(Default)]
pub(super) struct Options {
    pub(super) url: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) db: Option<u32>,
    pub(super) tls: Option<Wish>,
    pub(super) cluster: Option<Target>,
    pub(super) sentinel: Option<Target>,
    pub(super) upstash: Option<Target>,
    pub(super) key_prefix: Option<String>,
    pub(super) client_name: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) command_timeout: Option<Duration>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) attempts: Option<u32>,
    pub(super) base_delay: Option<Duration>,
    pub(super) max_delay: Option<Duration>,
    pub(super) max_buffered_bytes: Option<usize>,
    /// `Some(None)`: switched off.
    pub(super) fallback: Option<Option<Fallback>>,
    /// `Some(None)`: switched off.
    pub(super) breaker: Option<Option<Breaker>>,
}

impl Input {
    pub(super) fn read(text: &str) -> Result<Self> {
        // serde_json's own message may quote the text.
        let mut parts: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| match surrogate::find(text) {
                Some(name) => {
                    invalid(format!("{name} must be well-formed text: it has half of a surrogate pair"))
                }
                None => invalid("the configuration is not JSON with options and env"),
            })?;
        let mut part = |name: &str| match parts.remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(invalid(format!("the {name} must be an object")))
            }
        };
        let options = Options::read(Fields::new("", part("options")?, OPTIONS)?)?;
        let mut env = HashMap::new();
        for (name, value) in part("env")? {
            match value {
                Value::Null => {}
                Value::String(value) => {
                    env.insert(name, value);
                }
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(invalid(format!("{name} must be a string")));
                }
            }
        }
        Ok(Self { options, env: Env(env) })
    }
}

impl Options {
    fn read(mut from: Fields) -> Result<Self> {
        let mut options = Self {
            url: from.filled_text("url")?,
            port: from.whole("port", PORT)?,
            username: from.text("username")?,
            password: from.text("password")?.map(Secret::new),
            db: from.whole("db", DB)?,
            tls: tls(&mut from)?,
            cluster: cluster(&mut from)?,
            sentinel: sentinel(&mut from)?,
            upstash: upstash(&mut from)?,
            key_prefix: from.text("keyPrefix")?,
            client_name: from.text("clientName")?,
            connect_timeout: from.whole("connectTimeoutMs", MS)?.map(Duration::from_millis),
            command_timeout: from.whole("commandTimeoutMs", MS)?.map(Duration::from_millis),
            keep_alive: from.whole("keepAliveMs", KEEP_ALIVE_MS)?.map(Duration::from_millis),
            max_buffered_bytes: from.whole("maxBufferedBytes", BYTES)?,
            fallback: fallback(&mut from)?,
            breaker: breaker(&mut from)?,
            ..Self::default()
        };
        if let Some(host) = from.filled_text("host")? {
            options.host = Some(host::check("host", &host)?);
        }
        // The server takes '!' to '~' in CLIENT SETNAME.
        if options.client_name.as_ref().is_some_and(|name| !name.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(invalid("clientName must be visible ASCII characters without spaces and line ends"));
        }
        if let Some(mut retry) = from.object("retry", &["attempts", "baseDelayMs", "maxDelayMs"])? {
            options.attempts = retry.whole("attempts", ATTEMPTS)?;
            options.base_delay = retry.whole("baseDelayMs", MS)?.map(Duration::from_millis);
            options.max_delay = retry.whole("maxDelayMs", MS)?.map(Duration::from_millis);
            if options.base_delay.zip(options.max_delay).is_some_and(|(base, max)| base > max) {
                return Err(invalid("retry.maxDelayMs must not be less than retry.baseDelayMs"));
            }
        }
        // JavaScript reads the file itself; here only its type is checked.
        from.filled_text("envFile")?;
        Ok(options)
    }
}

fn tls(from: &mut Fields) -> Result<Option<Wish>> {
    let known = &["ca", "cert", "key", "servername", "rejectUnauthorized"];
    let mut fields = match from.flag_or_object("tls", known)? {
        None => return Ok(None),
        Some(Switch::Flag(false)) => return Ok(Some(Wish::Off)),
        Some(Switch::Flag(true)) => return Ok(Some(Wish::On(Details::default()))),
        Some(Switch::Object(fields)) => fields,
    };
    let mut pem = |key: &str| match fields.text(key)? {
        Some(text) if !text.contains("-----BEGIN ") => {
            Err(invalid(format!("tls.{key} must be the text of a PEM file, not its path or another form")))
        }
        text => Ok(text),
    };
    let (ca, cert, key) = (pem("ca")?, pem("cert")?, pem("key")?.map(Secret::new));
    if cert.is_some() != key.is_some() {
        return Err(invalid("tls.cert and tls.key must be given together"));
    }
    let servername = fields.filled_text("servername")?;
    let servername = servername.map(|name| host::check("tls.servername", &name)).transpose()?;
    let reject_unauthorized = fields.flag("rejectUnauthorized")?;
    Ok(Some(Wish::On(Details { ca, cert, key, servername, reject_unauthorized })))
}

fn cluster(from: &mut Fields) -> Result<Option<Target>> {
    let known = &["nodes", "readFrom", "natMap", "refreshIntervalMs"];
    let Some(mut fields) = from.object("cluster", known)? else { return Ok(None) };
    let mut target = Target::cluster(nodes(&mut fields, "cluster.nodes", host::DEFAULT_PORT)?);
    let read_from = match fields.text("readFrom")?.as_deref() {
        None | Some("primary") => ReadFrom::Primary,
        Some("replica") => ReadFrom::Replica,
        Some(_) => return Err(invalid("cluster.readFrom must be 'primary' or 'replica'")),
    };
    let addresses = |(announced, reachable): (String, String)| {
        let node = |text| host::node("cluster.natMap", text, host::DEFAULT_PORT);
        Ok((node(&announced)?, node(&reachable)?))
    };
    let nat_map = fields.pairs("natMap")?.into_iter().map(addresses).collect::<Result<_>>()?;
    let interval = fields.whole("refreshIntervalMs", MS)?.map(Duration::from_millis);
    if let Target::Cluster { read_from: own, nat_map: map, refresh_interval, .. } = &mut target {
        (*own, *map) = (read_from, nat_map);
        *refresh_interval = interval.unwrap_or(*refresh_interval);
    }
    Ok(Some(target))
}

fn sentinel(from: &mut Fields) -> Result<Option<Target>> {
    let known = &["nodes", "master", "username", "password"];
    let Some(mut fields) = from.object("sentinel", known)? else { return Ok(None) };
    let nodes = nodes(&mut fields, "sentinel.nodes", host::DEFAULT_SENTINEL_PORT)?;
    let master = fields.filled_text("master")?;
    Ok(Some(Target::Sentinel {
        nodes,
        master: fields.required("master", master)?,
        username: fields.text("username")?.filter(|text| !text.is_empty()),
        password: fields.text("password")?.filter(|text| !text.is_empty()).map(Secret::new),
    }))
}

fn upstash(from: &mut Fields) -> Result<Option<Target>> {
    let Some(mut fields) = from.object("upstash", &["url", "token"])? else { return Ok(None) };
    let (address, token) = (fields.filled_text("url")?, fields.filled_text("token")?);
    let address = fields.required("url", address)?;
    let token = fields.required("token", token)?;
    Ok(Some(Target::Upstash {
        url: url::rest("upstash.url", &address)?,
        token: self::token("upstash.token", &token)?,
    }))
}

/// A bearer token: it goes into a header line.
pub(super) fn token(name: &str, text: &str) -> Result<Secret> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err(invalid(format!("{name} must be visible ASCII characters without spaces and line ends")))
    }
}

fn nodes(fields: &mut Fields, name: &str, default_port: u16) -> Result<Vec<(String, u16)>> {
    fields.texts("nodes")?.iter().map(|node| host::node(name, node, default_port)).collect()
}

fn fallback(from: &mut Fields) -> Result<Option<Option<Fallback>>> {
    let mut fallback = Fallback::default();
    Ok(match from.flag_or_object("fallback", &["maxBytes", "maxEntries"])? {
        None => None,
        Some(Switch::Flag(on)) => Some(on.then_some(fallback)),
        Some(Switch::Object(mut fields)) => {
            fallback.max_bytes = fields.whole("maxBytes", BYTES)?.unwrap_or(fallback.max_bytes);
            fallback.max_entries = fields.whole("maxEntries", ENTRIES)?;
            Some(Some(fallback))
        }
    })
}

fn breaker(from: &mut Fields) -> Result<Option<Option<Breaker>>> {
    let mut breaker = Breaker::default();
    Ok(match from.flag_or_object("circuitBreaker", &["failures", "openMs"])? {
        None => None,
        Some(Switch::Flag(on)) => Some(on.then_some(breaker)),
        Some(Switch::Object(mut fields)) => {
            breaker.failures = fields.whole("failures", FAILURES)?.unwrap_or(breaker.failures);
            breaker.open = fields.whole("openMs", MS)?.map_or(breaker.open, Duration::from_millis);
            Some(Some(breaker))
        }
    })
}
