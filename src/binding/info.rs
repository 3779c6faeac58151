//! Health and metrics as JSON; neither is hot.

use crate::client::{Client, Session};
use crate::config::{Config, Target};
use crate::ops::{self, Cancel};
use crate::store::{Bounds, NodeState};
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// The contract's `Health`, within the connect timeout.
pub(super) async fn health(session: &Session) -> String {
    let client = session.client();
    let config = client.config();
    let memory = !config.target.is_remote();
    let disabled = config.target == Target::Disabled;
    let closed = !session.is_open();
    let measured = if disabled || closed {
        None
    } else {
        let call =
            session.call(Bounds::new(Some(Instant::now() + config.connect_timeout)), Cancel::default(), None);
        ops::health(&call).await.ok()
    };
    // It answers also where it is not the server.
    let fallback = client.serves_from_memory() && !closed;
    let measured = measured.filter(|_| !fallback);
    let up = measured.is_some();
    let (latency, server) = measured.unzip();
    let mut nodes = match config.target {
        Target::Memory | Target::Disabled => Vec::new(),
        Target::Cluster { .. } | Target::Sentinel { .. } if closed => Vec::new(),
        Target::Cluster { .. } | Target::Sentinel { .. } => {
            let bounds = Bounds::new(Some(Instant::now() + config.connect_timeout));
            client.store().nodes(&bounds).await
        }
        Target::Tcp { .. } | Target::Unix { .. } | Target::Upstash { .. } => {
            vec![NodeState::only(config.target.describe(), up)]
        }
    };
    if matches!(config.target, Target::Sentinel { .. }) {
        // What was just seen goes before what the sentinels have noticed so far.
        nodes.iter_mut().filter(|node| node.is_primary).for_each(|node| node.is_up = up);
    }
    // Some of the keys cannot be served.
    let degraded = nodes.iter().any(|node| node.is_needed && !node.is_up);
    let nodes: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let role = if node.is_primary { "primary" } else { "replica" };
            json!({"address": node.address, "role": role, "up": node.is_up})
        })
        .collect();
    let state = if closed {
        "closed"
    } else if memory && !disabled {
        "ready"
    } else {
        client.states().get().name()
    };
    json!({
        "status": if disabled {
            "disabled"
        } else if fallback {
            "degraded"
        } else if !up {
            "down"
        } else if degraded {
            "degraded"
        } else {
            "up"
        },
        "mode": mode(&config.target),
        "state": state,
        "latencyMs": latency.map(|latency| latency.as_secs_f64() * 1e3),
        "server": server.flatten().map(|server| json!({"version": server.version, "flavour": server.flavour})),
        "nodes": nodes,
        "breaker": client.breaker().name(),
        "servedFrom": if memory || fallback { "memory" } else { "redis" },
    })
    .to_string()
}

fn mode(target: &Target) -> &'static str {
    match target {
        Target::Memory | Target::Disabled => "memory",
        Target::Tcp { .. } | Target::Unix { .. } => "standalone",
        Target::Cluster { .. } => "cluster",
        Target::Sentinel { .. } => "sentinel",
        Target::Upstash { .. } => "upstash",
    }
}

/// The contract's `Metrics`.
pub(super) fn metrics(client: &Client) -> String {
    let (metrics, states) = (client.metrics(), client.states());
    let hits = metrics.hits.load(Ordering::Relaxed);
    let misses = metrics.misses.load(Ordering::Relaxed);
    let (sent, received) = metrics.bytes();
    let latencies = metrics.latencies();
    let latency: Map<String, Value> = latencies
        .iter()
        .map(|row| {
            let value = json!({
                "count": row.count,
                "sum": row.sum,
                "p50": row.p50,
                "p95": row.p95,
                "p99": row.p99,
                "max": row.max,
            });
            (row.operation.to_owned(), value)
        })
        .collect();
    let errors: Map<String, Value> =
        metrics.error_counts().into_iter().map(|(code, count)| (code, Value::from(count))).collect();
    json!({
        "commands": latencies.iter().map(|row| row.count).sum::<u64>(),
        "items": metrics.items.load(Ordering::Relaxed),
        "hits": hits,
        "misses": misses,
        "hitRatio": (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64),
        "errors": errors,
        "retries": metrics.retries().load(Ordering::Relaxed),
        "reconnects": states.reconnects(),
        "bytesSent": sent,
        "bytesReceived": received,
        "bufferedBytes": client.budget().used(),
        "inFlight": client.in_flight(),
        "latencyMs": latency,
    })
    .to_string()
}

/// Where a client's commands go, for tracing.
pub(super) fn target(config: &Config) -> String {
    let namespace = config.db.to_string();
    match &config.target {
        Target::Tcp { host, port } => json!({"address": host, "port": port, "namespace": namespace}),
        Target::Unix { path } => json!({"address": path.display().to_string(), "namespace": namespace}),
        // Whom of them a command reaches is decided later: the first one is where the others are asked for.
        Target::Cluster { nodes, .. } | Target::Sentinel { nodes, .. } => match nodes.first() {
            Some((host, port)) => json!({"address": host, "port": port, "namespace": namespace}),
            None => json!({}),
        },
        Target::Upstash { url, .. } => json!({"address": url}),
        Target::Memory => json!({"address": "memory"}),
        Target::Disabled => json!({}),
    }
    .to_string()
}
