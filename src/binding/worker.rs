//! Compression on the event loop's worker threads.

use super::js::Js;
use super::session::JsSession;
use crate::compress::{Algorithm, compress, decompress};
use napi::bindgen_prelude::{AsyncTask, Buffer, Unknown};
use napi::{Env, JsValue, Result, Task};
use napi_derive::napi;

/// What is to be done with the values.
enum Way {
    Compress(Algorithm),
    Decompress,
}

/// Values on their way through a worker thread.
pub struct Repacking {
    values: Vec<Vec<u8>>,
    way: Way,
}

impl Task for Repacking {
    type Output = Vec<Option<Vec<u8>>>;
    type JsValue = Vec<Option<Buffer>>;

    fn compute(&mut self) -> Result<Self::Output> {
        let values = self.values.iter();
        Ok(match self.way {
            Way::Compress(algorithm) => values.map(|value| compress(value, algorithm)).collect(),
            Way::Decompress => values.map(|value| decompress(value)).collect(),
        })
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        Ok(output.into_iter().map(|value| value.map(Buffer::from)).collect())
    }
}

#[napi]
impl JsSession {
    /// The values compressed, each with its mark; null for one that is too long to be stored. `zstd`: Zstandard, else
    /// LZ4.
    #[napi(catch_unwind, ts_return_type = "Promise<Array<Buffer | null>>")]
    pub fn compress(
        env: Env,
        #[napi(ts_arg_type = "Array<Uint8Array>")] values: Vec<Unknown<'_>>,
        zstd: bool,
    ) -> Result<AsyncTask<Repacking>> {
        let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Lz4 };
        repack(env, &values, Way::Compress(algorithm))
    }

    /// What the values were before they were compressed; null for bytes that are damaged.
    #[napi(catch_unwind, ts_return_type = "Promise<Array<Buffer | null>>")]
    pub fn decompress(
        env: Env,
        #[napi(ts_arg_type = "Array<Uint8Array>")] values: Vec<Unknown<'_>>,
    ) -> Result<AsyncTask<Repacking>> {
        repack(env, &values, Way::Decompress)
    }
}

fn repack(env: Env, values: &[Unknown<'_>], way: Way) -> Result<AsyncTask<Repacking>> {
    let js = Js::of(&env);
    let values: Result<_> = values.iter().map(|value| js.bytes(value.raw())).collect();
    Ok(AsyncTask::new(Repacking { values: values?, way }))
}
