use std::time::Duration;

use super::super::Fallback;
use super::*;

/// The address of every source in one environment, so that each test takes away what stands above.
const LADDER: [(&str, &str); 10] = [
    ("REDIS_URL", "redis://url"),
    ("KV_URL", "redis://kv"),
    ("REDIS_CLUSTER_NODES", "c1:1, c2:2,"),
    ("REDIS_SENTINELS", "s1, s2:2"),
    ("REDIS_SENTINEL_MASTER", "main"),
    ("UPSTASH_REDIS_REST_URL", "https://up"),
    ("UPSTASH_REDIS_REST_TOKEN", "token"),
    ("REDIS_HOST", "host"),
    ("REDIS_PORT", "7"),
    ("REDIS_DB", "0"),
];

#[test]
fn order_of_the_variables() {
    for (skip, expected) in [
        (0, "url:6379"),
        (1, "kv:6379"),
        (2, "the cluster at c1:1, c2:2"),
        (3, "the primary main of the sentinels at s1:26379, s2:2"),
        (5, "https://up"),
        (7, "host:7"),
        (8, "localhost:7"),
        (9, "localhost:6379"),
    ] {
        let env: serde_json::Map<String, Value> = LADDER
            .iter()
            .enumerate()
            // An empty variable counts as not set.
            .map(|(at, (name, value))| ((*name).to_owned(), json!(if at < skip { "" } else { value })))
            .collect();
        assert_eq!(config(json!({}), Value::Object(env)).target.describe(), expected);
    }
}

#[test]
fn addresses_and_logins() {
    let login = json!({"REDIS_USERNAME": "eu", "REDIS_PASSWORD": "ep", "REDIS_DB": "5", "REDIS_TLS": "true",
        "REDIS_HOST": "eh", "REDIS_PORT": "55"});
    let with = |more: Value| {
        let mut env = login.clone();
        env.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        env
    };
    let url = |url: &str| with(json!({ "REDIS_URL": url }));
    let own = json!({"username": "ou", "password": "op", "db": 4, "tls": true});
    let merged = |more: Value| {
        let mut options = own.clone();
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    };
    for (options, env, expected) in [
        // A URL in the options: nothing of the environment, the options fill what it leaves out.
        (json!({"url": "redis://a"}), url("redis://b"), "-:-@a:6379/0"),
        (json!({"url": "redis://a"}), with(json!({"REDIS_CLUSTER": "true"})), "-:-@a:6379/0"),
        (merged(json!({"url": "redis://a"})), url("redis://b"), "ou:op@a:6379/4+tls"),
        (merged(json!({"url": "redis://u:p@a:1/2"})), json!({}), "u:p@a:1/2+tls"),
        (merged(json!({"url": "redis://u:p@a/0"})), json!({}), "u:p@a:6379/0+tls"),
        (merged(json!({"url": "redis://:p@a"})), json!({}), "ou:p@a:6379/4+tls"),
        (json!({"url": "rediss://a", "tls": false}), json!({}), "-:-@a:6379/0+tls"),
        (json!({"url": "redis://a", "host": "b", "port": 9}), json!({}), "-:-@a:6379/0"),
        (merged(json!({"url": "memory:"})), login.clone(), "-:-@the embedded store/0"),
        (merged(json!({"url": "disabled"})), login.clone(), "-:-@disabled/0"),
        (json!({"url": "unix:///s", "db": 3, "tls": true}), login.clone(), "-:-@/s/3"),
        // Another address in the options: the four variables fill, URL and others are not looked at.
        (json!({"host": "a"}), url("redis://b"), "eu:ep@a:55/5+tls"),
        (json!({"port": 1}), url("redis://b"), "eu:ep@eh:1/5+tls"),
        (json!({"port": 1}), json!({"REDIS_URL": "redis://b", "REDIS_CLUSTER": "bad"}), "-:-@localhost:1/0"),
        (merged(json!({"host": "a", "port": 1})), url("redis://b"), "ou:op@a:1/4+tls"),
        (
            json!({"host": "a", "port": 1, "username": "", "password": "", "db": 0, "tls": false}),
            login.clone(),
            "-:-@a:1/0",
        ),
        (json!({"host": "a", "username": "ou"}), json!({"REDIS_PASSWORD": "ep"}), "ou:ep@a:6379/0"),
        (
            json!({"cluster": {"nodes": ["a"]}, "db": 0}),
            url("redis://b"),
            "eu:ep@the cluster at a:6379/0+tls",
        ),
        (json!({"upstash": {"url": "https://a", "token": "t"}}), url("redis://b"), "-:-@https://a/0"),
        // No address in the options: they stand above the URL of the environment, its variables below.
        (json!({}), url("redis://b"), "eu:ep@b:6379/5+tls"),
        (json!({}), url("redis://u:p@b:2/3"), "u:p@b:2/3+tls"),
        (own.clone(), url("redis://u:p@b/3"), "ou:op@b:6379/4+tls"),
        (json!({"password": "op"}), json!({"REDIS_URL": "redis://u:p@b/3"}), "u:op@b:6379/3"),
        (json!({"tls": false}), json!({"REDIS_URL": "rediss://b"}), "-:-@b:6379/0"),
        (json!({}), json!({"REDIS_URL": "rediss://b", "REDIS_TLS": "false"}), "-:-@b:6379/0+tls"),
        (own.clone(), url("memory:"), "-:-@the embedded store/0"),
        (
            json!({}),
            json!({"REDIS_URL": "Disabled", "REDIS_CLUSTER": "true", "REDIS_DB": "x"}),
            "-:-@disabled/0",
        ),
        (json!({}), json!({"KV_URL": "redis://b", "REDIS_PASSWORD": "ep"}), "-:ep@b:6379/0"),
        (own.clone(), login.clone(), "ou:op@eh:55/4+tls"),
        (json!({}), login.clone(), "eu:ep@eh:55/5+tls"),
        (
            json!({}),
            with(json!({"UPSTASH_REDIS_REST_URL": "https://a", "UPSTASH_REDIS_REST_TOKEN": "t"})),
            "-:-@https://a/0",
        ),
        (
            json!({}),
            with(json!({"REDIS_SENTINELS": "s", "REDIS_SENTINEL_MASTER": "m"})),
            "eu:ep@the primary m of the sentinels at s:26379/5+tls",
        ),
        // Clusters of the environment.
        (
            json!({}),
            json!({"REDIS_URL": "rediss://u:p@b:2", "REDIS_CLUSTER": "true", "REDIS_CLUSTER_NODES": "c"}),
            "u:p@the cluster at b:2/0+tls",
        ),
        (json!({}), json!({"REDIS_URL": "redis://b", "REDIS_CLUSTER_NODES": "c"}), "-:-@b:6379/0"),
        (json!({}), json!({"KV_URL": "redis://b", "REDIS_CLUSTER": "ON"}), "-:-@the cluster at b:6379/0"),
        (
            json!({}),
            json!({"REDIS_CLUSTER_NODES": "c:1", "REDIS_CLUSTER": "true", "REDIS_PASSWORD": "p"}),
            "-:p@the cluster at c:1/0",
        ),
        (json!({}), json!({"REDIS_CLUSTER_NODES": "c:1", "REDIS_CLUSTER": "no"}), "-:-@localhost:6379/0"),
        (
            json!({}),
            json!({"REDIS_HOST": "h", "REDIS_PORT": "9", "REDIS_CLUSTER": "1"}),
            "-:-@the cluster at h:9/0",
        ),
    ] {
        assert_eq!(brief(&config(options.clone(), env.clone())), expected, "{options} {env}");
    }
}

#[test]
fn details_of_tls_come_together() {
    let ca = "-----BEGIN CERTIFICATE-----";
    let of = |options: Value, env: Value| config(options, env).tls.unwrap();
    for (options, env) in [
        (json!({"url": "rediss://a", "tls": {"ca": ca}}), json!({})),
        (json!({"url": "redis://a", "tls": {"ca": ca}}), json!({})),
        (json!({"tls": {"ca": ca}}), json!({"REDIS_URL": "rediss://a"})),
        (json!({"tls": {"ca": ca, "rejectUnauthorized": true}}), json!({"REDIS_URL": "rediss://a#insecure"})),
        (json!({"url": "rediss://a#insecure", "tls": {"ca": ca, "rejectUnauthorized": true}}), json!({})),
    ] {
        let tls = of(options.clone(), env);
        assert_eq!((tls.ca.as_deref(), tls.reject_unauthorized), (Some(ca), true), "{options}");
    }
    assert!(!of(json!({"url": "rediss://a#insecure"}), json!({})).reject_unauthorized);
    assert!(!of(json!({"url": "rediss://a#insecure", "tls": true}), json!({})).reject_unauthorized);
}

#[test]
fn everything_else_is_option_then_variable() {
    let env = json!({"REDIS_CONNECTION_TIMEOUT_MS": "11", "REDIS_COMMAND_TIMEOUT_MS": "12",
        "REDIS_RETRY_ATTEMPTS": "13", "REDIS_KEY_PREFIX": "env:", "REDIS_ENABLE_FALLBACK": "yes"});
    for options in [json!({}), json!({"url": "redis://a"}), json!({"url": "memory:"}), json!({"host": "a"})] {
        let config = config(options, env.clone());
        assert_eq!(config.connect_timeout, Duration::from_millis(11));
        assert_eq!(config.command_timeout, Duration::from_millis(12));
        assert_eq!(config.retry.attempts, 13);
        assert_eq!(config.key_prefix, "env:");
        assert_eq!(config.fallback, Some(Fallback::default()));
    }
    let options = json!({"connectTimeoutMs": 1, "commandTimeoutMs": 2, "retry": {"attempts": 3}, "keyPrefix": "",
        "fallback": false});
    // Variables that an option stands above are not looked at, and so may be anything.
    let bad = json!({"REDIS_CONNECTION_TIMEOUT_MS": "x", "REDIS_COMMAND_TIMEOUT_MS": "x", "REDIS_RETRY_ATTEMPTS": "x",
        "REDIS_KEY_PREFIX": "env:", "REDIS_ENABLE_FALLBACK": "x"});
    for env in [env, bad] {
        let config = config(options.clone(), env);
        assert_eq!(config.connect_timeout, Duration::from_millis(1));
        assert_eq!(config.command_timeout, Duration::from_millis(2));
        assert_eq!(config.retry.attempts, 3);
        assert_eq!(config.key_prefix, "");
        assert_eq!(config.fallback, None);
    }
}

#[test]
fn switches_of_the_environment() {
    for (text, expected) in [
        ("true", true),
        ("TRUE", true),
        ("1", true),
        ("Yes", true),
        ("on", true),
        ("false", false),
        ("0", false),
        ("No", false),
        ("OFF", false),
        ("", false),
    ] {
        assert_eq!(config(json!({}), json!({"REDIS_TLS": text})).tls.is_some(), expected, "{text}");
        assert_eq!(
            config(json!({}), json!({"REDIS_ENABLE_FALLBACK": text})).fallback.is_some(),
            expected,
            "{text}"
        );
        let target = config(json!({}), json!({"REDIS_CLUSTER": text})).target;
        assert_eq!(matches!(target, Target::Cluster { .. }), expected, "{text}");
    }
}

#[test]
fn wrong_variables_are_named() {
    for (env, start) in [
        (json!({"REDIS_PORT": "abc"}), "REDIS_PORT must be a whole number from 1 to 65535; it is \"abc\""),
        (json!({"REDIS_PORT": "0"}), "REDIS_PORT must be"),
        (json!({"REDIS_PORT": "65536"}), "REDIS_PORT must be"),
        (
            json!({"REDIS_PORT": " 6379"}),
            "REDIS_PORT must be a whole number from 1 to 65535; it is \" 6379\"",
        ),
        (json!({"REDIS_PORT": "+6379"}), "REDIS_PORT must be"),
        (json!({"REDIS_PORT": "6379.0"}), "REDIS_PORT must be"),
        (json!({"REDIS_PORT": "0x10"}), "REDIS_PORT must be"),
        (json!({"REDIS_PORT": "1e3"}), "REDIS_PORT must be"),
        (json!({"REDIS_PORT": "٣"}), "REDIS_PORT must be"),
        (json!({"REDIS_PORT": "99999999999999999999999"}), "REDIS_PORT must be"),
        (json!({"REDIS_PORT": "a".repeat(5000)}), "REDIS_PORT must be"),
        (
            json!({"REDIS_PORT": "tcp://10.0.0.1:6379"}),
            "REDIS_PORT must be a whole number from 1 to 65535; it is \"tcp://10.0.0.1:6379\" (Kubernetes sets it so",
        ),
        (
            json!({"REDIS_PORT": "redis://:p@h"}),
            "REDIS_PORT must be a whole number from 1 to 65535; it is something",
        ),
        (json!({"REDIS_HOST": "a b"}), "REDIS_HOST must be a host name"),
        (json!({"REDIS_HOST": "redis://:p@h"}), "REDIS_HOST must be a host name, not a URL"),
        (json!({"REDIS_HOST": ":p@h"}), "REDIS_HOST must be a host name or an IP address, without a port"),
        (json!({"REDIS_DB": "x"}), "REDIS_DB must be a whole number from 0 to 2147483647; it is \"x\""),
        (json!({"REDIS_DB": "-1"}), "REDIS_DB must be"),
        (json!({"REDIS_TLS": "maybe"}), "REDIS_TLS must be true or false; it is \"maybe\""),
        (json!({"REDIS_ENABLE_FALLBACK": "2"}), "REDIS_ENABLE_FALLBACK must be true or false; it is \"2\""),
        (json!({"REDIS_CONNECTION_TIMEOUT_MS": "0"}), "REDIS_CONNECTION_TIMEOUT_MS must be"),
        (json!({"REDIS_COMMAND_TIMEOUT_MS": "5s"}), "REDIS_COMMAND_TIMEOUT_MS must be"),
        (json!({"REDIS_RETRY_ATTEMPTS": "0"}), "REDIS_RETRY_ATTEMPTS must be a whole number from 1 to 100"),
        (json!({"REDIS_CLUSTER": "maybe"}), "REDIS_CLUSTER must be true or false"),
        (json!({"REDIS_CLUSTER": "maybe", "REDIS_URL": "redis://a"}), "REDIS_CLUSTER must be true or false"),
        (
            json!({"REDIS_CLUSTER": "1", "REDIS_URL": "unix:///s"}),
            "REDIS_URL must be a TCP address where REDIS_CLUSTER",
        ),
        (
            json!({"REDIS_CLUSTER": "1", "REDIS_URL": "redis://a/3"}),
            "the database in REDIS_URL must be 0: a cluster",
        ),
        (json!({"REDIS_CLUSTER": "1", "REDIS_DB": "3"}), "REDIS_DB must be 0: a cluster"),
        (json!({"REDIS_CLUSTER_NODES": ","}), "REDIS_CLUSTER_NODES must have at least one host:port"),
        (json!({"REDIS_CLUSTER_NODES": "a:x"}), "REDIS_CLUSTER_NODES: the port of each node must be"),
        (json!({"REDIS_CLUSTER_NODES": "a;b"}), "a node of REDIS_CLUSTER_NODES must be a host name"),
        (json!({"REDIS_SENTINELS": "a"}), "REDIS_SENTINELS is set but REDIS_SENTINEL_MASTER is not"),
        (json!({"REDIS_SENTINEL_MASTER": "a"}), "REDIS_SENTINEL_MASTER is set but REDIS_SENTINELS is not"),
        (
            json!({"UPSTASH_REDIS_REST_URL": "https://a"}),
            "UPSTASH_REDIS_REST_URL is set but UPSTASH_REDIS_REST_TOKEN",
        ),
        (
            json!({"UPSTASH_REDIS_REST_TOKEN": "a"}),
            "UPSTASH_REDIS_REST_TOKEN is set but UPSTASH_REDIS_REST_URL is not",
        ),
        (
            json!({"UPSTASH_REDIS_REST_URL": "a", "UPSTASH_REDIS_REST_TOKEN": "a"}),
            "UPSTASH_REDIS_REST_URL must be an",
        ),
        (json!({"REDIS_URL": "nonsense"}), "REDIS_URL must be a URL, such as redis://localhost:6379"),
        (json!({"KV_URL": "redis://:p/w@h"}), "KV_URL cannot be read: "),
    ] {
        let message = error(json!({}), env.clone());
        assert!(message.starts_with(start) && message.len() < 300, "{env}: {message}");
    }
}

#[test]
fn two_addresses_in_the_options() {
    let cluster = json!({"nodes": ["a"]});
    for (options, expected) in [
        (json!({"url": "redis://a", "cluster": cluster}), "url and cluster are two addresses"),
        (json!({"host": "a", "cluster": cluster}), "cluster and host or port are two addresses"),
        (
            json!({"upstash": {"url": "https://a", "token": "t"}, "cluster": cluster}),
            "cluster and upstash are two",
        ),
    ] {
        assert!(error(options.clone(), json!({})).starts_with(expected), "{options}");
    }
}
