//! The one runtime of the process and its registry of clients.
//!
//! However often the JavaScript around it is loaded (worker threads, bundles, hot reload), the library is mapped
//! once, and so are these.

use crate::client::Client;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use once_cell::sync::OnceCell;
use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::runtime::{Builder, Handle};

static RUNTIME: OnceCell<Handle> = OnceCell::new();
static CLIENTS: Mutex<Option<HashMap<Config, Weak<Client>>>> = Mutex::new(None);

/// The runtime; its thread starts at the first call.
///
/// One thread drives everything: waking it is one write to an event descriptor, no task moves between threads, and
/// the work of one lane is in order by itself. It ends with the process, which it does not keep alive.
pub fn handle() -> Result<Handle> {
    RUNTIME.get_or_try_init(start).cloned()
}

fn start() -> Result<Handle> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::InvalidConfig, format!("the runtime's thread could not be started: {error}"))
            .with_cause(error)
    };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("redis-bulk".into())
        .spawn(move || runtime.block_on(pending::<()>()))
        .map_err(failed)?;
    Ok(handle)
}

/// The client of this configuration: the one there is, else a new one.
pub fn client(config: Config) -> Result<Arc<Client>> {
    let mut guard = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let clients = guard.get_or_insert_default();
    if let Some(client) = clients.get(&config).and_then(Weak::upgrade) {
        return Ok(client);
    }
    clients.retain(|_, client| client.strong_count() > 0);
    let client = Client::new(config.clone(), handle()?)?;
    clients.insert(config, Arc::downgrade(&client));
    Ok(client)
}
