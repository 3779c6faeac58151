//! Whether the server answers, and what it is.

use super::Call;
use crate::error::Result;
use redis::Value;
use std::time::Duration;
use tokio::time::Instant;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Such as `7.0.15`.
    pub version: String,
    /// `redis`, `valkey`, or what it calls itself.
    pub flavour: String,
}

/// The round trip of a PING, and what INFO says where it may be asked.
pub async fn health(call: &Call) -> Result<(Duration, Option<Server>)> {
    let started = Instant::now();
    super::command(call, &[b"PING".to_vec()]).await?;
    let latency = started.elapsed();
    let info = super::command(call, &[b"INFO".to_vec(), b"server".to_vec()]).await;
    let server = match info {
        Ok(Value::BulkString(text)) => parse(&String::from_utf8_lossy(&text)),
        // INFO is often forbidden, and the embedded store has none.
        Ok(_) | Err(_) => None,
    };
    Ok((latency, server))
}

fn parse(info: &str) -> Option<Server> {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    let valkey = field("valkey_version");
    let flavour =
        field("server_name").unwrap_or_else(|| (if valkey.is_some() { "valkey" } else { "redis" }).into());
    Some(Server { version: valkey.or_else(|| field("redis_version"))?, flavour })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_say() {
        let redis = parse("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n");
        assert_eq!(redis, Some(Server { version: "7.0.15".into(), flavour: "redis".into() }));
        let valkey = parse("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n");
        assert_eq!(valkey, Some(Server { version: "9.1.2".into(), flavour: "valkey".into() }));
        assert_eq!(parse("nothing"), None);
    }
}
