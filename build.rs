//! Link arguments of the Node-API library; nothing when the `binding` feature is off.

fn main() {
    #[cfg(feature = "binding")]
    {
        napi_build::setup();
        // A worker that alone loaded the addon takes it out of memory when it ends, while the shared runtime's
        // thread still runs its code. `nodelete` keeps the library mapped for the life of the process.
        if matches!(std::env::var("CARGO_CFG_TARGET_OS").as_deref(), Ok("linux" | "android" | "freebsd")) {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        }
    }
}
