//! The bulk operations of a session. The name keeps this file behind the class that it adds to, for the generator of types.

#![expect(clippy::too_many_arguments, reason = "flat numbers cross the boundary faster than an object")]

use super::arguments::{bounds, deadline, lookup_flags, nonzero, packed, text};
use super::completion::Outcome;
use super::js::{Js, Pieces};
use super::session::JsSession;
use super::ticket::LOOKUP;
use crate::batch::{Decoded, Entries, Expiry, Form, Keys, Packed, shape, split_array};
use crate::client::Lookup;
use crate::error::{Error, Kind};
use crate::ops::{
    self, Cancel, DeleteOptions, LookupOptions, Part, ScanOptions, Scanner, SetOptions, Strategy,
};
use crate::store::{Condition, EventLoop, ScanQuery, Spread};
use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, Result};
use napi_derive::napi;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A scan that goes on step by step.
#[napi(js_name = "Scan")]
pub struct JsScan {
    scanner: Arc<tokio::sync::Mutex<Scanner>>,
    ended: Arc<AtomicBool>,
}

#[napi]
impl JsScan {
    /// Below the key prefix of `session`. `count` is 0 where not given, `kind` is empty.
    #[napi(constructor)]
    pub fn new(session: &JsSession, pattern: String, count: f64, kind: String) -> Self {
        let prefix = &session.core.client().config().key_prefix;
        let query = ScanQuery::below(prefix, &pattern, (count > 0.0).then_some(count as u64), kind);
        let scanner = Arc::new(tokio::sync::Mutex::new(Scanner::new(query, prefix.len())));
        Self { scanner, ended: Arc::default() }
    }

    /// Whether the steps so far have found everything.
    #[napi(getter)]
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

#[napi]
impl JsSession {
    /// Reads keys. `codes` is text joined by NUL, whole or in an array of pieces, or bytes with `lengths`. False: a code
    /// contains the separator; call again with lengths. The look-up may serve several `calls` at once, or be a part of
    /// one with `total` codes.
    #[napi(catch_unwind)]
    pub fn lookup(
        &self,
        env: Env,
        id: u32,
        prefix: Unknown<'_>,
        prefix_units: u32,
        codes: Unknown<'_>,
        units: u32,
        count: u32,
        lengths: Unknown<'_>,
        flags: u32,
        batch_size: u32,
        timeout_ms: f64,
        calls: u32,
        total: u32,
    ) -> Result<bool> {
        let Some(names) = packed(&env, &codes, units, count, &lengths)? else { return Ok(false) };
        let keys = Arc::new(Keys::new(self.prefix(&env, &prefix, prefix_units)?, names));
        let form = match flags & (lookup_flags::JSON | lookup_flags::BUFFER) {
            lookup_flags::JSON if flags & lookup_flags::OBJECTS != 0 => Form::Objects,
            lookup_flags::JSON => Form::Json,
            lookup_flags::BUFFER => Form::Buffer,
            _ => Form::String,
        };
        let strategy = if flags & lookup_flags::SCRIPT == 0 { Strategy::Mget } else { Strategy::Script };
        let batch_size = nonzero(batch_size);
        // Where a server of many is lost, those calls fail whose keys it has.
        let spread_calls = calls > 1 && self.core.client().store().spread() != Spread::Whole;
        let partial = flags & lookup_flags::PARTIAL != 0 || spread_calls;
        let options = LookupOptions { form, strategy, batch_size, partial, total: total as usize };
        let limit = deadline(timeout_ms);
        self.items(count);
        let Some((ticket, running)) = self.begin_calls(&env, id, LOOKUP, calls) else { return Ok(true) };
        let held = self.entering.take().map(|admission| admission.hold(keys.byte_len()));
        let lookup = Lookup { keys, options, limit, cancel: self.cancel_of(id), held };
        let caller = self.watcher.as_deref().map(|watcher| watcher as &dyn EventLoop);
        self.core.lookup(running, lookup, caller, Arc::new(ticket));
        Ok(true)
    }

    /// Writes entries. Keys as in `lookup`; `values` likewise, or one JSON array, whole or in pieces that are arrays
    /// themselves, when `values_are_json`. `ttls` is milliseconds for all (0: none) or a Float64Array with 0 for none.
    /// Returns a bit for what must be called again with lengths: 1 the keys, 2 the values.
    #[napi(catch_unwind)]
    pub fn set(
        &self,
        env: Env,
        id: u32,
        keys: Unknown<'_>,
        key_units: u32,
        values: Unknown<'_>,
        value_units: u32,
        values_are_json: bool,
        count: u32,
        key_lengths: Unknown<'_>,
        value_lengths: Unknown<'_>,
        ttls: Unknown<'_>,
        condition: u32,
        batch_size: u32,
        timeout_ms: f64,
        calls: u32,
    ) -> Result<u32> {
        let js = Js::of(&env);
        let names = packed(&env, &keys, key_units, count, &key_lengths)?;
        let (array, packed_values) = if values_are_json {
            (text(&env, &values, value_units, Pieces::JsonArrays)?, None)
        } else {
            (None, packed(&env, &values, value_units, count, &value_lengths)?)
        };
        let again = u32::from(names.is_none()) | (u32::from(array.is_none() && packed_values.is_none()) << 1);
        let Some(names) = names.filter(|_| again == 0) else { return Ok(again) };
        let keys = Keys::new(self.core.client().config().key_prefix.clone().into_bytes(), names);
        let expiry = if js.is_undefined(ttls.raw())? {
            Expiry::Never
        } else {
            let all = js.float64s(ttls.raw())?;
            match all.as_slice() {
                [same] => Expiry::Same(*same as u64),
                _ => Expiry::Each(
                    all.into_iter().map(|millis| (millis > 0.0).then_some(millis as u64)).collect(),
                ),
            }
        };
        let condition = match condition {
            1 => Condition::IfAbsent,
            2 => Condition::IfPresent,
            _ => Condition::Always,
        };
        let options = SetOptions { condition, batch_size: nonzero(batch_size) };
        self.items(count);
        let Some((ticket, running)) = self.begin_calls(&env, id, "pipelineSet", calls) else { return Ok(0) };
        let call = self.core.call(bounds(timeout_ms), self.cancel_of(id), None);
        let bytes = keys.byte_len()
            + array.as_ref().map_or(0, Vec::len)
            + packed_values.as_ref().map_or(0, Packed::byte_len);
        self.run(ticket, running, bytes, call.bounds.limit(), async move {
            // Splitting the array is the work of this thread, not of JavaScript's.
            let values = match array {
                None => packed_values,
                Some(text) => split_array(text, count as usize),
            };
            let values = values.ok_or_else(|| {
                Error::new(Kind::InvalidData, "the serialised data is not an array of as many values")
            })?;
            let entries = Entries { keys, values, expiry };
            ops::set(&call, &entries, options).await.map(Outcome::Set)
        });
        Ok(0)
    }

    /// Deletes keys, given as in `lookup`. `flags`: 1 report each key, 2 report progress.
    #[napi(catch_unwind)]
    pub fn delete(
        &self,
        env: Env,
        id: u32,
        keys: Unknown<'_>,
        units: u32,
        count: u32,
        lengths: Unknown<'_>,
        flags: u32,
        batch_size: u32,
        timeout_ms: f64,
        calls: u32,
    ) -> Result<bool> {
        let Some(names) = packed(&env, &keys, units, count, &lengths)? else { return Ok(false) };
        let keys = Keys::new(self.core.client().config().key_prefix.clone().into_bytes(), names);
        let options = DeleteOptions { batch_size: nonzero(batch_size), report: flags & 1 != 0 };
        self.items(count);
        let Some((ticket, running)) = self.begin_calls(&env, id, "batchDelete", calls) else {
            return Ok(true);
        };
        let on_progress = self.on_progress(id, flags & 2 != 0);
        let call = self.core.call(bounds(timeout_ms), self.cancel_of(id), on_progress);
        self.run(ticket, running, keys.byte_len(), call.bounds.limit(), async move {
            ops::delete(&call, &keys, options).await.map(Outcome::Deleted)
        });
        Ok(true)
    }

    /// Finds keys. `count` and `limit` are 0 where not given, `kind` is empty.
    #[napi(catch_unwind)]
    pub fn scan(
        &self,
        env: Env,
        id: u32,
        pattern: String,
        count: f64,
        kind: String,
        limit: f64,
        progress: bool,
        timeout_ms: f64,
    ) -> Result<()> {
        let prefix = &self.core.client().config().key_prefix;
        let options = ScanOptions {
            query: ScanQuery::below(prefix, &pattern, (count > 0.0).then_some(count as u64), kind),
            limit: (limit > 0.0).then_some(limit as usize),
            prefix: prefix.len(),
        };
        let Some((ticket, running)) = self.begin(&env, id, "scanAll") else { return Ok(()) };
        let on_progress = self.on_progress(id, progress);
        let call = self.core.call(bounds(timeout_ms), self.cancel_of(id), on_progress);
        self.run(ticket, running, 0, call.bounds.limit(), async move {
            ops::scan(&call, &options).await.map(keys_found)
        });
        Ok(())
    }

    /// The next step of a scan: keys, each once among themselves.
    #[napi(catch_unwind)]
    pub fn scan_step(&self, env: Env, id: u32, scan: &JsScan, timeout_ms: f64) {
        let Some((ticket, running)) = self.begin(&env, id, "scanStep") else { return };
        let call = self.core.call(bounds(timeout_ms), Cancel::default(), None);
        let (scanner, ended) = (scan.scanner.clone(), scan.ended.clone());
        self.run(ticket, running, 0, call.bounds.limit(), async move {
            let mut scanner = scanner.lock().await;
            let keys = scanner.step(&call).await?;
            ended.store(scanner.is_ended(), Ordering::Release);
            Ok(keys_found(keys))
        });
    }

    /// A JSON text of the shape with this number: each scalar is 0, each list has one element.
    #[napi]
    pub fn describe_shape(number: u32) -> Option<String> {
        shape::describe(number as usize)
    }

    /// Sends any command; each argument as bytes.
    #[napi(catch_unwind)]
    pub fn command(&self, env: Env, id: u32, arguments: Vec<Unknown<'_>>, timeout_ms: f64) -> Result<()> {
        let js = Js::of(&env);
        let arguments: Result<Vec<Vec<u8>>> =
            arguments.iter().map(|argument| js.bytes(argument.raw())).collect();
        let arguments = arguments?;
        let Some((ticket, running)) = self.begin(&env, id, "sendCommand") else { return Ok(()) };
        let call = self.core.call(bounds(timeout_ms), Cancel::default(), None);
        let bytes = arguments.iter().map(Vec::len).sum();
        self.run(ticket, running, bytes, call.bounds.limit(), async move {
            ops::command(&call, &arguments).await.map(Outcome::Reply)
        });
        Ok(())
    }
}

fn keys_found(keys: Decoded) -> Outcome {
    Outcome::Values(Part { values: keys, ..Part::default() })
}
