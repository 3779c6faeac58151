//! The core without Node, on a real server and on the embedded store: every operation, connections that are cut, clients
//! that come and go. `scripts/leak-check.mjs` runs it under valgrind.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking, outside its own function too"
)]

#[path = "support/mod.rs"]
mod support;

use redis_bulk::batch::{Entries, Expiry, Form, Keys, Packed};
use redis_bulk::client::{Client, Session};
use redis_bulk::config::Config;
use redis_bulk::ops::{
    self, Cancel, DeleteOptions, LookupOptions, ScanOptions, SetOptions, Strategy as LookupStrategy,
};
use redis_bulk::store::{Bounds, Condition, ScanQuery};
use support::Server;
use tokio::runtime::{Builder, Runtime};

const KEYS: usize = 2_500;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn session(runtime: &Runtime, url: &str) -> std::sync::Arc<Session> {
    let text = serde_json::json!({ "options": {
        "url": url, "clientName": "core", "commandTimeoutMs": 60_000, "connectTimeoutMs": 60_000,
        "retry": { "attempts": 5, "baseDelayMs": 1, "maxDelayMs": 20 },
    } });
    let config = Config::from_json(&text.to_string()).expect("a configuration");
    Session::new(Client::new(config, runtime.handle().clone()).expect("a client"))
}

fn packed(items: impl Iterator<Item = String>) -> Packed {
    let items: Vec<String> = items.collect();
    let lengths: Vec<u32> = items.iter().map(|item| item.len() as u32).collect();
    Packed::from_lengths(items.concat().into_bytes(), &lengths).expect("the lengths are theirs")
}

fn keys() -> Keys {
    Keys::new(b"k:".to_vec(), packed((0..KEYS).map(|index| index.to_string())))
}

/// Every operation once; what it says is checked.
async fn work(session: &Session) {
    let call = || session.call(Bounds::new(None), Cancel::default(), None);
    let values = || packed((0..KEYS).map(|index| format!("{{\"of\":{index},\"text\":\"ü€\"}}")));
    for expiry in [Expiry::Never, Expiry::Same(3_600_000)] {
        let entries = Entries { keys: keys(), values: values(), expiry };
        let options = SetOptions { condition: Condition::Always, batch_size: None };
        let outcome = ops::set(&call(), &entries, options).await.expect("written");
        assert_eq!((outcome.written, outcome.failures.len()), (KEYS, 0));
    }
    for strategy in [LookupStrategy::Mget, LookupStrategy::Script] {
        for form in [Form::String, Form::Json, Form::Objects, Form::Buffer] {
            let options =
                LookupOptions { form, strategy, batch_size: Some(700), partial: false, total: KEYS };
            let mut hits = 0;
            let last = ops::lookup(&call(), &keys(), options, |part| hits += part.values.hits as usize)
                .await
                .expect("found");
            assert_eq!(hits + last.values.hits as usize, KEYS);
        }
    }
    let options =
        ScanOptions { query: ScanQuery::below("", "k:*", Some(500), String::new()), limit: None, prefix: 2 };
    assert_eq!(ops::scan(&call(), &options).await.expect("found").hits as usize, KEYS);
    let refused = ops::command(&call(), &[b"NOSUCHCOMMAND".to_vec()]).await;
    assert_eq!(refused.err().map(|error| error.code().to_owned()).as_deref(), Some("ERR"));
    for (report, deleted) in [(true, KEYS), (false, 0)] {
        let options = DeleteOptions { batch_size: None, report };
        assert_eq!(ops::delete(&call(), &keys(), options).await.expect("deleted").deleted, deleted);
    }
}

#[test]
fn on_a_server_through_cut_connections() {
    let server = Server::start();
    let runtime = runtime();
    runtime.block_on(async {
        let client = session(&runtime, &server.url());
        work(&client).await;
        // Looks at all connections; its own does not count.
        for _ in 0..3 {
            let mut other = server.connect();
            let cut: i64 = redis::cmd("CLIENT")
                .arg("KILL")
                .arg("TYPE")
                .arg("normal")
                .arg("SKIPME")
                .arg("yes")
                .query(&mut other)
                .expect("cut");
            assert!(cut >= 1);
            work(&client).await;
        }
        client.close().await;
        client.connect().await.expect("connected again");
        work(&client).await;
    });
}

#[test]
fn clients_come_and_go() {
    let server = Server::start();
    let runtime = runtime();
    for _ in 0..5 {
        runtime.block_on(async {
            let client = session(&runtime, &server.url());
            client.connect().await.expect("connected");
            work(&client).await;
            client.close().await;
        });
    }
}

#[test]
fn without_a_server() {
    let runtime = runtime();
    runtime.block_on(async {
        let call_of = |session: &Session| session.call(Bounds::new(None), Cancel::default(), None);
        // Nobody listens on port 1.
        let client = session(&runtime, "redis://127.0.0.1:1");
        let outcome = ops::command(&call_of(&client), &[b"PING".to_vec()]).await;
        assert_eq!(outcome.err().map(|error| error.code().to_owned()).as_deref(), Some("CONNECTION_REFUSED"));
        work(&session(&runtime, "memory:")).await;
    });
}
