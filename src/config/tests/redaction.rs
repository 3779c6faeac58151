use proptest::prelude::*;

use super::super::Secret;
use super::*;

const MARKER: &str = "hunter2";

/// Nothing that is shown has the marker, in whatever case.
fn shows_nothing(options: &Value, env: &Value) {
    let shown = match from(options.clone(), env.clone()) {
        Ok(config) => {
            format!("{config:?} {:#?} {} {:?}", config, config.target.describe(), config.unsupported())
        }
        Err(error) => format!("{error} {error:?} {:?}", error.cause()),
    };
    assert!(!shown.to_ascii_lowercase().contains(MARKER), "{options} {env}: {shown}");
}

#[test]
fn every_secret() {
    let key = format!("-----BEGIN PRIVATE KEY-----{MARKER}");
    let secret = Secret::new(MARKER);
    assert_eq!(format!("{secret:?} {secret:#?}"), "*** ***");
    assert_eq!(secret.expose(), MARKER);
    for options in [
        json!({"password": MARKER}),
        json!({"url": format!("redis://:{MARKER}@h")}),
        json!({"url": format!("unix:///s?pass={MARKER}")}),
        json!({"tls": {"cert": "-----BEGIN CERTIFICATE-----", "key": key}}),
        json!({"tls": {"key": MARKER}}),
        json!({"sentinel": {"nodes": ["a"], "master": "m", "password": MARKER}}),
        json!({"upstash": {"url": "https://a", "token": MARKER}}),
        json!({"upstash": {"url": "https://a", "token": format!("{MARKER} x")}}),
        json!({"upstash": {"url": format!("https://:{MARKER}@a"), "token": "t"}}),
        json!({"upstash": {"url": format!("https://a?token={MARKER}"), "token": "t"}}),
        json!({"password": [MARKER]}),
        json!({"password": {"a": MARKER}}),
        json!({"port": MARKER, "password": MARKER}),
        json!({"host": format!("redis://:{MARKER}@h")}),
        json!({"host": format!(":{MARKER}@h")}),
        json!({"cluster": {"nodes": [format!(":{MARKER}@h:1")]}}),
        json!({"cluster": {"nodes": [format!("redis://:{MARKER}@h:1")]}}),
        json!(MARKER),
        json!([MARKER]),
    ] {
        shows_nothing(&options, &json!({}));
    }
    for env in [
        json!({"REDIS_PASSWORD": MARKER}),
        json!({"REDIS_PASSWORD": MARKER, "REDIS_PORT": "x"}),
        json!({"REDIS_URL": MARKER}),
        json!({"KV_URL": MARKER}),
        json!({"REDIS_PORT": format!("redis://:{MARKER}@h")}),
        json!({"REDIS_TLS": format!("redis://:{MARKER}@h")}),
        json!({"UPSTASH_REDIS_REST_URL": MARKER, "UPSTASH_REDIS_REST_TOKEN": MARKER}),
        json!({"UPSTASH_REDIS_REST_URL": "https://a", "UPSTASH_REDIS_REST_TOKEN": MARKER}),
        json!({"UPSTASH_REDIS_REST_TOKEN": MARKER}),
        json!(MARKER),
        json!({"REDIS_PASSWORD": [MARKER]}),
    ] {
        shows_nothing(&json!({}), &env);
    }
}

/// Pieces that a password may have around the marker: everything that means something in a URL.
fn rough() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9:/?#@%&=+\\[\\]\\\\. ,;!$'\"<>|^{}~_-]{0,8}",
        1 => "[0-9]{1,5}[:/?#@]?",
        1 => "\\PC{0,3}",
        1 => "[\n\t\r\0]",
        1 => Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_url_shows_its_password(
        scheme in "(rediss?|valkeys?|unix|redis\\+unix)://|(rediss?|unix|memory|disabled|http|x)?:?/{0,3}",
        user in "[a-z]{0,3}",
        before in rough(),
        after in rough(),
        host in "(h|localhost|\\[::1\\]|127.0.0.1|a b|)",
        tail in "(:[0-9]{0,6})?(/[0-9x]{0,2})?(\\?(db|tls|pass)=[0-9a-z]{0,2})?(#(insecure|x))?",
    ) {
        let url = format!("{scheme}{user}:{before}{MARKER}{after}@{host}{tail}");
        shows_nothing(&json!({ "url": url }), &json!({}));
        shows_nothing(&json!({ "host": url }), &json!({}));
        shows_nothing(&json!({ "cluster": { "nodes": ["a", url] } }), &json!({}));
        shows_nothing(&json!({ "upstash": { "url": url, "token": "t" } }), &json!({}));
        for name in ["REDIS_URL", "KV_URL", "REDIS_CLUSTER_NODES", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_TLS"] {
            shows_nothing(&json!({}), &json!({ name: url }));
        }
        shows_nothing(&json!({}), &json!({ "REDIS_URL": url, "REDIS_CLUSTER": "true" }));
        shows_nothing(&json!({}), &json!({ "REDIS_SENTINELS": url, "REDIS_SENTINEL_MASTER": "m" }));
        shows_nothing(&json!({}), &json!({ "UPSTASH_REDIS_REST_URL": url, "UPSTASH_REDIS_REST_TOKEN": "t" }));
    }

    /// A password that is percent-encoded as the message says is read back as it was.
    #[test]
    fn an_encoded_password_survives(password in "\\PC{1,12}", user in "\\PC{0,5}") {
        let encode = |text: &str| text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02x}"));
        let url = format!("redis://{}:{}@h", encode(&user), encode(&password));
        let config = config(json!({ "url": url }), json!({}));
        prop_assert_eq!(config.password.as_ref().map(Secret::expose), Some(password.as_str()));
        prop_assert_eq!(config.username.as_deref().unwrap_or(""), user.as_str());
    }

    /// Arbitrary text and JSON never panic.
    #[test]
    fn any_text_is_answered(text in "\\PC{0,40}", escapes in "(\\\\u[dD][89abcdefABCDEF][0-9]{2}|\\\\.|a|é){0,6}") {
        let _ = Config::from_json(&text);
        let _ = Config::from_json(&format!("{{\"options\":{{\"keyPrefix\":\"{escapes}\"}}}}"));
        let _ = from(json!({ "url": text, "clientName": text }), json!({ "REDIS_DB": text }));
        let _ = from(json!({ "host": text }), json!({}));
    }
}
