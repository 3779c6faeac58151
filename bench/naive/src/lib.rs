//! The addon that one writes first, to show what being written in Rust wins by itself: async functions over a
//! multiplexed redis-rs connection, strings converted one by one at the boundary. Nothing here is tuned.

use std::time::Duration;

use napi::bindgen_prelude::{Error, Result};
use napi_derive::napi;
use redis::aio::MultiplexedConnection;

fn failed(error: redis::RedisError) -> Error {
    Error::from_reason(error.to_string())
}

#[napi]
pub struct Naive {
    connection: MultiplexedConnection,
}

#[napi]
pub async fn connect(url: String) -> Result<Naive> {
    let client = redis::Client::open(url).map_err(failed)?;
    // The default of 500 ms for a response is too short for a hundred thousand values.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)?;
    Ok(Naive { connection })
}

#[napi]
impl Naive {
    #[napi]
    pub async fn mget(&self, keys: Vec<String>) -> Result<Vec<Option<String>>> {
        redis::cmd("MGET").arg(keys).query_async(&mut self.connection.clone()).await.map_err(failed)
    }

    /// A pipeline of SET, with EX where there is a time to live.
    #[napi]
    pub async fn set_all(&self, keys: Vec<String>, values: Vec<String>, ttl: Option<u32>) -> Result<()> {
        let mut pipeline = redis::pipe();
        for (key, value) in keys.iter().zip(&values) {
            let command = pipeline.cmd("SET").arg(key).arg(value);
            if let Some(seconds) = ttl {
                command.arg("EX").arg(seconds);
            }
            command.ignore();
        }
        pipeline.query_async(&mut self.connection.clone()).await.map_err(failed)
    }
}
