use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::super::{Breaker, Fallback, ReadFrom, Secret};
use super::*;

#[test]
fn defaults() {
    for text in ["{}", r#"{"options":null,"env":null}"#, r#"{"options":{},"env":{}}"#] {
        let config = Config::from_json(text).unwrap();
        assert_eq!(config, Config::new(tcp("localhost", 6379)), "{text}");
    }
    let config = config(json!({}), json!({}));
    assert_eq!(config.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.command_timeout, Duration::from_secs(5));
    assert_eq!(config.keep_alive, Duration::from_secs(30));
    assert_eq!(config.retry.attempts, 3);
    assert_eq!(config.retry.base_delay, Duration::from_millis(50));
    assert_eq!(config.retry.max_delay, Duration::from_secs(2));
    assert_eq!(config.max_buffered_bytes, 64 << 20);
    assert_eq!(config.fallback, None);
    assert_eq!(config.breaker, Some(Breaker { failures: 5, open: Duration::from_secs(10) }));
    assert_eq!(config.unsupported().map(|error| error.message().to_owned()), None);
}

#[test]
fn every_option() {
    let config = config(
        json!({
            "host": "Redis.Example.com", "port": 6380, "username": "u", "password": "p", "db": 3,
            "tls": { "ca": "-----BEGIN CERTIFICATE-----", "cert": "-----BEGIN CERTIFICATE-----",
                     "key": "-----BEGIN PRIVATE KEY-----", "servername": "tls.example.com", "rejectUnauthorized": false },
            "keyPrefix": "é\u{0}😀:", "clientName": "worker-1", "connectTimeoutMs": 1, "commandTimeoutMs": 2_147_483_647,
            "keepAliveMs": 1000, "retry": { "attempts": 100, "baseDelayMs": 10, "maxDelayMs": 10 },
            "maxBufferedBytes": 65536, "fallback": { "maxBytes": 70000, "maxEntries": 10 },
            "circuitBreaker": { "failures": 2, "openMs": 500 }, "envFile": ".env.production",
        }),
        json!({}),
    );
    assert_eq!(config.target, tcp("redis.example.com", 6380));
    assert_eq!(config.username.as_deref(), Some("u"));
    assert_eq!(config.password.as_ref().map(Secret::expose), Some("p"));
    assert_eq!(config.db, 3);
    let tls = config.tls.as_ref().unwrap();
    assert_eq!(tls.ca.as_deref(), Some("-----BEGIN CERTIFICATE-----"));
    assert_eq!(tls.cert.as_deref(), Some("-----BEGIN CERTIFICATE-----"));
    assert_eq!(tls.key.as_ref().map(Secret::expose), Some("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(tls.servername.as_deref(), Some("tls.example.com"));
    assert!(!tls.reject_unauthorized);
    assert_eq!(config.key_prefix, "é\u{0}😀:");
    assert_eq!(config.client_name.as_deref(), Some("worker-1"));
    assert_eq!(config.connect_timeout, Duration::from_millis(1));
    assert_eq!(config.command_timeout, Duration::from_millis(2_147_483_647));
    assert_eq!(config.keep_alive, Duration::from_secs(1));
    assert_eq!(config.retry.attempts, 100);
    assert_eq!(
        (config.retry.base_delay, config.retry.max_delay),
        (Duration::from_millis(10), Duration::from_millis(10))
    );
    assert_eq!(config.max_buffered_bytes, 65536);
    assert_eq!(config.fallback, Some(Fallback { max_bytes: 70000, max_entries: Some(10) }));
    assert_eq!(config.breaker, Some(Breaker { failures: 2, open: Duration::from_millis(500) }));
}

#[test]
fn switches() {
    for (options, expected) in [
        (json!({}), (false, true)),
        (json!({"fallback": true, "circuitBreaker": true}), (true, true)),
        (json!({"fallback": false, "circuitBreaker": false}), (false, false)),
        (json!({"fallback": {}, "circuitBreaker": {}}), (true, true)),
    ] {
        let config = config(options.clone(), json!({}));
        assert_eq!((config.fallback.is_some(), config.breaker.is_some()), expected, "{options}");
        assert!(config.fallback.is_none_or(|fallback| fallback == Fallback::default()));
        assert!(config.breaker.is_none_or(|breaker| breaker == Breaker::default()));
    }
}

#[test]
fn a_retry_delay_that_is_left_out_gives_way() {
    for (retry, base, max) in [
        (json!({"baseDelayMs": 5000}), 5000, 5000),
        (json!({"maxDelayMs": 10}), 10, 10),
        (json!({"maxDelayMs": 500}), 50, 500),
        (json!({"baseDelayMs": 10}), 10, 2000),
    ] {
        let config = config(json!({ "retry": retry }), json!({}));
        assert_eq!(config.retry.base_delay, Duration::from_millis(base));
        assert_eq!(config.retry.max_delay, Duration::from_millis(max));
    }
}

#[test]
fn wrong_options_are_named() {
    let key = "-----BEGIN PRIVATE KEY-----";
    for (options, start) in [
        (json!({"port": "6379"}), "port must be a whole number from 1 to 65535; it is a string"),
        (json!({"port": 0}), "port must be a whole number from 1 to 65535; it is 0"),
        (json!({"port": 65536}), "port must be"),
        (json!({"port": 1.5}), "port must be a whole number from 1 to 65535; it is 1.5"),
        (json!({"port": -1}), "port must be"),
        (json!({"port": null}), "port must be a whole number from 1 to 65535; it is null, NaN or infinite"),
        (json!({"host": 1}), "host must be a string; it is 1"),
        (json!({"host": ""}), "host must not be empty"),
        (json!({"host": "a b"}), "host must be a host name"),
        (json!({"host": "a:6379"}), "host must be a host name or an IP address, without a port"),
        (json!({"host": "redis://a"}), "host must be a host name, not a URL"),
        (json!({"host": "0.0.0.0"}), "host is a wildcard address"),
        (json!({"host": "[::]"}), "host is a wildcard address"),
        (json!({"host": "[a]"}), "host must be"),
        (json!({"url": ""}), "url must not be empty"),
        (json!({"url": 5}), "url must be a string"),
        (json!({"username": []}), "username must be a string; it is an array"),
        (json!({"password": 12345}), "password must be a string"),
        (json!({"password": {}}), "password must be a string; it is an object"),
        (json!({"db": -1}), "db must be a whole number from 0 to"),
        (json!({"db": 1e21}), "db must be"),
        (json!({"tls": "yes"}), "tls must be true, false or an object; it is a string"),
        (json!({"tls": {"ca": "/etc/ca.pem"}}), "tls.ca must be the text of a PEM file"),
        (json!({"tls": {"key": key}}), "tls.cert and tls.key must be given together"),
        (json!({"tls": {"rejectUnauthorized": 1}}), "tls.rejectUnauthorized must be true or false; it is 1"),
        (json!({"tls": {"servername": ""}}), "tls.servername must not be empty"),
        (json!({"cluster": true}), "cluster must be an object; it is a boolean"),
        (json!({"cluster": {}}), "cluster.nodes is missing"),
        (json!({"cluster": {"nodes": []}}), "cluster.nodes must be an array of at least one string"),
        (json!({"cluster": {"nodes": [1]}}), "cluster.nodes must be an array"),
        (
            json!({"cluster": {"nodes": ["a:b"]}}),
            "cluster.nodes: the port of each node must be a whole number",
        ),
        (
            json!({"cluster": {"nodes": ["u:p@a:1"]}}),
            "cluster.nodes: each node must be host:port; user name and",
        ),
        (json!({"cluster": {"nodes": ["rediss://a"]}}), "cluster.nodes: TLS is asked for with tls: true"),
        (
            json!({"cluster": {"nodes": ["a"], "readFrom": "any"}}),
            "cluster.readFrom must be 'primary' or 'replica'",
        ),
        (json!({"cluster": {"nodes": ["a"], "natMap": []}}), "cluster.natMap must be an object of strings"),
        (
            json!({"cluster": {"nodes": ["a"], "natMap": {"a:1": 1}}}),
            "cluster.natMap must be an object of strings",
        ),
        (
            json!({"cluster": {"nodes": ["a"], "natMap": {"a:x": "b:1"}}}),
            "cluster.natMap: the port of each node",
        ),
        (json!({"cluster": {"nodes": ["a"], "natMap": {"a:1": "redis://u@b"}}}), "cluster.natMap: each node"),
        (json!({"cluster": {"nodes": ["a"], "refreshIntervalMs": 0}}), "cluster.refreshIntervalMs must be"),
        (json!({"cluster": {"nodes": ["a"]}, "db": 1}), "db must be 0: a cluster has no other database"),
        (json!({"sentinel": {"nodes": ["a"]}}), "sentinel.master is missing"),
        (json!({"sentinel": {"nodes": ["a"], "master": " "}}), "sentinel.master must not be empty"),
        (json!({"sentinel": {"master": "m"}}), "sentinel.nodes is missing"),
        (json!({"upstash": {"url": "https://a"}}), "upstash.token is missing"),
        (json!({"upstash": {"token": "t"}}), "upstash.url is missing"),
        (json!({"upstash": {"url": "http://a", "token": "t"}}), "upstash.url must be an https:// address"),
        (
            json!({"upstash": {"url": "https://u:p@a", "token": "t"}}),
            "upstash.url must be an https:// address",
        ),
        (json!({"upstash": {"url": "https://a", "token": "a b"}}), "upstash.token must be visible ASCII"),
        (json!({"keyPrefix": 7}), "keyPrefix must be a string"),
        (json!({"clientName": "a b"}), "clientName must be visible ASCII"),
        (json!({"clientName": "a\n"}), "clientName must be visible ASCII"),
        (json!({"clientName": "é"}), "clientName must be visible ASCII"),
        (
            json!({"connectTimeoutMs": 0}),
            "connectTimeoutMs must be a whole number from 1 to 2147483647; it is 0",
        ),
        (json!({"commandTimeoutMs": 2_147_483_648_u64}), "commandTimeoutMs must be"),
        (json!({"keepAliveMs": 999}), "keepAliveMs must be a whole number from 1000 to 32767000"),
        (json!({"retry": 3}), "retry must be an object; it is 3"),
        (json!({"retry": {"attempts": 0}}), "retry.attempts must be a whole number from 1 to 100; it is 0"),
        (json!({"retry": {"attempts": 101}}), "retry.attempts must be"),
        (json!({"retry": {"baseDelayMs": 0}}), "retry.baseDelayMs must be"),
        (json!({"retry": {"baseDelayMs": 9, "maxDelayMs": 8}}), "retry.maxDelayMs must not be less than"),
        (json!({"maxBufferedBytes": 65535}), "maxBufferedBytes must be a whole number from 65536"),
        (json!({"maxBufferedBytes": 9_007_199_254_740_991_u64}), "maxBufferedBytes must be"),
        (json!({"fallback": 1}), "fallback must be true, false or an object; it is 1"),
        (json!({"fallback": {"maxBytes": 1}}), "fallback.maxBytes must be"),
        (json!({"fallback": {"maxEntries": 0}}), "fallback.maxEntries must be"),
        (json!({"circuitBreaker": {"failures": 0}}), "circuitBreaker.failures must be"),
        (json!({"circuitBreaker": {"openMs": 0}}), "circuitBreaker.openMs must be"),
        (json!({"envFile": 1}), "envFile must be a string"),
        (json!([]), "the options must be an object"),
    ] {
        let message = error(options.clone(), json!({}));
        assert!(message.starts_with(start), "{options}: {message}");
    }
}

#[test]
fn unknown_options_are_named() {
    for (options, expected) in [
        (json!({"hots": "a"}), "unknown option hots: did you mean host?"),
        (json!({"Port": 1}), "unknown option Port: did you mean port?"),
        (json!({"key_prefix": "a"}), "unknown option key_prefix: did you mean keyPrefix?"),
        (json!({"connectTimeout": 1}), "unknown option connectTimeout: did you mean connectTimeoutMs?"),
        (json!({"passwrod": "a"}), "unknown option passwrod: did you mean password?"),
        (json!({"retry": {"attemps": 1}}), "unknown option retry.attemps: did you mean retry.attempts?"),
        (json!({"circuitBreaker": {"x": 1}}), "unknown option circuitBreaker.x: known are failures, openMs"),
        (json!({"a\nb": 1}), "unknown option a\\nb: known are url, host, port,"),
        (json!({"x".repeat(5000): 1}), "unknown option xxx"),
    ] {
        let message = error(options.clone(), json!({}));
        assert!(message.starts_with(expected) && message.len() < 400, "{options}: {message}");
    }
}

#[test]
fn lone_surrogates_are_named() {
    for (text, name) in [
        (r#"{"options":{"keyPrefix":"a\ud800"}}"#, "keyPrefix"),
        (r#"{"options":{"host":"\ud83d\ude00","keyPrefix":"\udc00\ud83d\ude00"}}"#, "keyPrefix"),
        (r#"{"options":{"keyPrefix":"\\ud800\ud800\ud800"}}"#, "keyPrefix"),
        (r#"{"options":{"tls":{"servername":"\ud800x"}}}"#, "tls.servername"),
        (r#"{"options":{"cluster":{"nodes":["a","\ud800"]}}}"#, "cluster.nodes"),
        (r#"{"options":{"\ud800":1}}"#, "the name of an option"),
        (r#"{"env":{"REDIS_KEY_PREFIX":"\ud800"}}"#, "REDIS_KEY_PREFIX"),
    ] {
        let message = Config::from_json(text).unwrap_err().message().to_owned();
        assert_eq!(
            message,
            format!("{name} must be well-formed text: it has half of a surrogate pair"),
            "{text}"
        );
    }
    let config = Config::from_json(r#"{"options":{"keyPrefix":"\\ud800\ud83d\ude00"}}"#).unwrap();
    assert_eq!(config.key_prefix, "\\ud800😀");
}

#[test]
fn what_is_no_json_is_refused_without_quoting_it() {
    for text in ["", "[]", "{", "\\", "{\\é", "\"\\ud800\""] {
        let error = Config::from_json(text).unwrap_err();
        assert_eq!(error.message(), "the configuration is not JSON with options and env", "{text}");
    }
    assert_eq!(error(json!({}), json!({"REDIS_PASSWORD": 5})), "REDIS_PASSWORD must be a string");
    assert_eq!(error(json!({}), json!(["secret"])), "the env must be an object");
    let with_null = config(json!({}), json!({"REDIS_HOST": null, "PATH": "/bin"}));
    assert_eq!(with_null.target, tcp("localhost", 6379));
}

#[test]
fn what_is_not_built_says_so() {
    let cluster = json!({"cluster": {"nodes": ["a"]}, "fallback": true});
    let error = config(cluster, json!({})).unsupported().unwrap();
    assert_eq!(error.kind(), &Kind::InvalidConfig);
    assert!(error.message().contains("in front of a cluster"), "{error}");
    assert!(error.message().ends_with("is not supported"));
    let cluster = json!({"cluster": {"nodes": ["a"]}});
    assert!(config(cluster, json!({})).unsupported().is_none());
    for url in ["redis://a", "rediss://a", "memory:", "disabled"] {
        assert!(config(json!({"url": url}), json!({})).unsupported().is_none(), "{url}");
    }
    let socket = config(json!({"url": "redis+unix:///tmp/redis.sock"}), json!({"REDIS_TLS": "true"}));
    assert_eq!(socket.unsupported().is_none(), cfg!(unix));
}

#[test]
fn targets_of_the_options() {
    let nodes = vec![
        ("a".to_owned(), 6379),
        ("b.c".to_owned(), 7000),
        ("::1".to_owned(), 6379),
        ("::2".to_owned(), 1),
    ];
    let cluster = json!({
        "nodes": ["a", " B.c:7000/", "[::1]", "redis://[::2]:1"],
        "readFrom": "replica",
        "natMap": {"10.0.0.1:6379": "LOCALHOST:7001", "[fd00::1]": "b.c"},
        "refreshIntervalMs": 500,
    });
    let cluster = config(json!({"cluster": cluster}), json!({}));
    let address = |host: &str, port| (host.to_owned(), port);
    let nat_map = BTreeMap::from([
        (address("10.0.0.1", 6379), address("localhost", 7001)),
        (address("fd00::1", 6379), address("b.c", 6379)),
    ]);
    let refresh_interval = Duration::from_millis(500);
    assert_eq!(
        cluster.target,
        Target::Cluster { nodes, read_from: ReadFrom::Replica, nat_map, refresh_interval }
    );
    assert_eq!(cluster.target.describe(), "the cluster at a:6379, b.c:7000, [::1]:6379, [::2]:1");

    let sentinel = json!({"nodes": ["a", "b:7"], "master": "m", "username": "su", "password": "sp"});
    let sentinel = config(json!({"sentinel": sentinel, "password": "p", "db": 2}), json!({}));
    assert_eq!(brief(&sentinel), "-:p@the primary m of the sentinels at a:26379, b:7/2");
    let Target::Sentinel { username, password, .. } = &sentinel.target else { panic!("{sentinel:?}") };
    assert_eq!((username.as_deref(), password.as_ref().map(Secret::expose)), (Some("su"), Some("sp")));

    let upstash =
        config(json!({"upstash": {"url": "https://a.upstash.io/", "token": "t"}}), json!({"REDIS_DB": "x"}));
    assert_eq!(
        upstash.target,
        Target::Upstash { url: "https://a.upstash.io".to_owned(), token: Secret::new("t") }
    );
    let local = config(json!({"upstash": {"url": "http://127.0.0.1:8079", "token": "t"}}), json!({}));
    assert_eq!(local.target.describe(), "http://127.0.0.1:8079");

    let socket = config(json!({"url": "unix:/run/redis.sock"}), json!({}));
    assert_eq!(socket.target, Target::Unix { path: PathBuf::from("/run/redis.sock") });
    assert_eq!(
        config(json!({"host": "[FE80::1%eth0]", "port": 1}), json!({})).target,
        tcp("fe80::1%eth0", 1)
    );
}

#[test]
fn equal_configurations_are_one_registry_key() {
    let mut keys = HashSet::new();
    for (options, env) in [
        (json!({"host": "a", "port": 6379, "password": "p", "db": 1}), json!({})),
        (json!({"url": "redis://:p@A:6379/1"}), json!({})),
        (json!({"url": "valkey://:%70@a?db=1", "username": ""}), json!({"REDIS_DB": "9"})),
        (json!({}), json!({"REDIS_URL": "redis://a/1/", "REDIS_PASSWORD": "p"})),
        (
            json!({"envFile": ".env", "keyPrefix": "", "clientName": ""}),
            json!({"KV_URL": " redis://:p@a/1\n"}),
        ),
    ] {
        keys.insert(config(options, env));
        assert_eq!(keys.len(), 1);
    }
    for options in [
        json!({"url": "redis://:q@a/1"}),
        json!({"url": "redis://:p@a/2"}),
        json!({"url": "redis://u:p@a/1"}),
        json!({"url": "rediss://:p@a/1"}),
        json!({"url": "redis://:p@b/1"}),
        json!({"url": "redis://:p@a:1/1"}),
        json!({"url": "redis://:p@a/1", "keyPrefix": "k"}),
        json!({"url": "redis://:p@a/1", "clientName": "k"}),
        json!({"url": "redis://:p@a/1", "circuitBreaker": false}),
    ] {
        assert!(keys.insert(config(options.clone(), json!({}))), "{options}");
    }
}
