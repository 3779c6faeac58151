use redis::IntoConnectionInfo;

use super::*;

#[test]
fn forms() {
    for (url, expected) in [
        ("redis://", "-:-@localhost:6379/0"),
        ("redis:///1", "-:-@localhost:6379/1"),
        ("redis://h", "-:-@h:6379/0"),
        ("REDIS://My_Host", "-:-@my_host:6379/0"),
        ("redis://h:", "-:-@h:6379/0"),
        ("redis://h:1/", "-:-@h:1/0"),
        ("redis://h/15/", "-:-@h:6379/15"),
        ("redis://h/007", "-:-@h:6379/7"),
        ("redis://h?db=3", "-:-@h:6379/3"),
        ("redis://h/3?db=3&family=6&protocol=resp2&name=a%20b", "-:-@h:6379/3"),
        ("redis://h?protocol=2&db=", "-:-@h:6379/0"),
        ("redis://h?tls=true", "-:-@h:6379/0+tls"),
        ("redis://h?ssl=0", "-:-@h:6379/0"),
        ("rediss://h?tls=1", "-:-@h:6379/0+tls"),
        ("redis://u@h", "u:-@h:6379/0"),
        ("redis://u:@h", "u:-@h:6379/0"),
        ("redis://:p@h", "-:p@h:6379/0"),
        ("redis://u:p@h:1/2", "u:p@h:1/2"),
        ("redis://us%65r:%70%40%2F%23%3F%25%C3%A9@h", "user:p@/#?%é@h:6379/0"),
        ("redis://:a+b@h", "-:a+b@h:6379/0"),
        ("redis://:50%off@h", "-:50%off@h:6379/0"),
        ("redis://:p%@h", "-:p%@h:6379/0"),
        ("redis://:p@s:t@h", "-:p@s:t@h:6379/0"),
        ("redis://:p s<é>[\\^|`{}\"'@h", "-:p s<é>[\\^|`{}\"'@h:6379/0"),
        ("redis://[::1]:7", "-:-@[::1]:7/0"),
        ("redis://u:p@[FE80::A]/1", "u:p@[fe80::a]:6379/1"),
        ("redis://127.0.0.1", "-:-@127.0.0.1:6379/0"),
        (" redis://h \n", "-:-@h:6379/0"),
        ("valkey://:p@h/1", "-:p@h:6379/1"),
        ("rediss://:p@h:1", "-:p@h:1/0+tls"),
        ("valkeys://h", "-:-@h:6379/0+tls"),
        ("rediss://h/#insecure", "-:-@h:6379/0+tls"),
        ("redis+unix:///tmp/a%20b.sock?db=2", "-:-@/tmp/a b.sock/2"),
        ("valkey+unix:///s?user=u&pass=a+b%26", "u:a+b&@/s/0"),
        ("unix:///s?pass=p", "-:p@/s/0"),
        ("unix://u:p@localhost/s", "u:p@/s/0"),
        ("unix:/s", "-:-@/s/0"),
        ("memory:", "-:-@the embedded store/0"),
        ("memory", "-:-@the embedded store/0"),
        ("MEMORY://", "-:-@the embedded store/0"),
        ("disabled", "-:-@disabled/0"),
        (" Disabled: ", "-:-@disabled/0"),
    ] {
        assert_eq!(brief(&config(json!({ "url": url }), json!({}))), expected, "{url}");
        assert_eq!(brief(&config(json!({}), json!({ "REDIS_URL": url }))), expected, "{url}");
    }
}

#[test]
fn bad_forms() {
    let scheme = "REDIS_URL must begin with redis://";
    let read = "REDIS_URL cannot be read: ";
    let escape = "special characters must be percent-encoded";
    for (url, part) in [
        ("nonsense", "REDIS_URL must be a URL, such as"),
        ("localhost:6379", "must have :// after"),
        ("user:pass@host:6379", "must have :// after"),
        ("tcp://h", scheme),
        ("memory://x", scheme),
        ("memory:x", "must have :// after"),
        ("http://h", "REDIS_URL is an HTTP address; Upstash's goes into"),
        ("https://h", "REDIS_URL is an HTTP address"),
        ("redis:h", "must have :// after"),
        ("redis:/h", "must have :// after"),
        ("\"redis://h\"", "REDIS_URL begins with a quotation mark"),
        ("redis://h\n:6379", "REDIS_URL has a control character in it"),
        ("redis://:p\tw@h", "REDIS_URL has a control character in it"),
        ("redis://:6379", read),
        ("redis://:p@", read),
        ("redis://:p@:6379/0", read),
        ("redis://h:70000", read),
        ("redis://h:0", "the port in REDIS_URL must be a whole number from 1 to 65535"),
        ("redis://h:x", read),
        ("redis://a b", read),
        ("redis://a,b", "the host in REDIS_URL must be a host name"),
        ("redis://r\u{e9}dis", "the host in REDIS_URL must be a host name"),
        ("redis://h%41", "the host in REDIS_URL must be a host name"),
        ("redis://0.0.0.0", "the host in REDIS_URL is a wildcard address"),
        ("redis://[::]:1", "the host in REDIS_URL is a wildcard address"),
        ("redis://[fe80::1%25eth0]", read),
        ("redis://h/x", "the database in REDIS_URL must be a whole number from 0 to"),
        ("redis://h/-1", "the database in REDIS_URL must be"),
        ("redis://h/+1", "the database in REDIS_URL must be"),
        ("redis://h//1", "the database in REDIS_URL must be"),
        ("redis://h/1/2", "the database in REDIS_URL must be"),
        ("redis://h/99999999999", "the database in REDIS_URL must be"),
        ("redis://h?db=x", "the database in REDIS_URL must be"),
        ("redis://h/1?db=2", "REDIS_URL has two databases"),
        ("redis://h?protocol=3", "the parameter protocol in REDIS_URL must be 2"),
        ("redis://h?tls=maybe", "the parameter tls in REDIS_URL must be true or false"),
        ("rediss://h?tls=false", "REDIS_URL asks for TLS and for tls=false"),
        ("redis://h#insecure", escape),
        ("rediss://h#x", escape),
        ("redis://:p/w@h", escape),
        ("redis://:p#w@h", escape),
        ("redis://:p?w@h", escape),
        ("redis://u:12/w@h", escape),
        ("redis://u:12#w@h", escape),
        ("redis://u:12?w@h", escape),
        ("redis://:%ff@h", escape),
        ("redis+unix:///tmp/a@b", escape),
        ("redis+unix://:p@/tmp/a", read),
        ("redis+unix://h/tmp/a", "REDIS_URL must have three slashes"),
        ("redis+unix://", "REDIS_URL must have the path of a socket file"),
        ("redis+unix:///", "REDIS_URL must have the path of a socket file"),
        ("unix:///a%00b", "REDIS_URL must have the path of a socket file"),
        ("unix:s", "must have :// after"),
        ("unix:///s?db=x", "the database in REDIS_URL must be"),
        ("unix:///s#x", escape),
    ] {
        let message = error(json!({}), json!({ "REDIS_URL": url }));
        assert!(message.contains(part), "{url}: {message}");
        assert!(message.contains("REDIS_URL"), "{url}: {message}");
        assert!(!message.contains(url), "{url}: {message}");
    }
}

/// Where both take a URL, they read the same.
#[test]
fn the_redis_crate_agrees() {
    for url in [
        "redis://h",
        "redis://u:p@h:1/2",
        "redis://:p%40@h",
        "redis://u:@h",
        "redis://[::1]:7/3/",
        "valkey://:p@s@h",
        "redis://:50%off@h",
        "redis+unix:///tmp/a%20b?db=2&user=u&pass=p",
        "unix:/s",
    ] {
        let theirs = url.into_connection_info().unwrap();
        let ours = config(json!({ "url": url }), json!({}));
        let address = theirs.addr().to_string();
        assert_eq!(ours.target.describe().replace(['[', ']'], ""), address, "{url}");
        assert_eq!(i64::from(ours.db), theirs.redis_settings().db(), "{url}");
        assert_eq!(ours.username.as_deref(), theirs.redis_settings().username(), "{url}");
        assert_eq!(
            ours.password.as_ref().map(|secret| secret.expose()),
            theirs.redis_settings().password(),
            "{url}"
        );
    }
}
