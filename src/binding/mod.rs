//! The Node-API boundary: convert in, call, convert out. No policy lives here.

mod arguments;
mod changes;
mod completion;
mod external;
#[cfg(feature = "test-hooks")]
mod hooks;
mod info;
mod js;
mod password;
mod port;
mod session;
mod session_operations;
mod ticket;
#[cfg_attr(not(unix), path = "uv_absent.rs")]
mod uv;
mod worker;
