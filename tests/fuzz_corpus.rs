//! What the fuzz targets have learnt: their corpus once more, by the same code, on every change.
//!
//! `fuzz/README.md` says how to search for more.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking, outside its own function too"
)]
#![expect(clippy::wildcard_enum_match_arm, reason = "enums may grow")]

use std::path::Path;

#[path = "../fuzz/bodies/config.rs"]
mod config;
#[path = "../fuzz/bodies/glob.rs"]
mod glob;
#[path = "../fuzz/bodies/pack.rs"]
mod pack;
#[path = "../fuzz/bodies/reader.rs"]
mod reader;
#[path = "../fuzz/bodies/shape.rs"]
mod shape;
#[path = "../fuzz/bodies/url.rs"]
mod url;

/// Runs `body` on every file of the target's corpus; a failure names the file.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{} has {} files", folder.display(), files.len());
    for file in files {
        let data = std::fs::read(&file).expect("a file");
        let outcome = std::panic::catch_unwind(|| body(&data));
        assert!(outcome.is_ok(), "{}", file.display());
    }
}

#[test]
fn reader_corpus() {
    replay("reader", reader::run);
}

#[test]
fn pack_corpus() {
    replay("pack", pack::run);
}

#[test]
fn glob_corpus() {
    replay("glob", glob::run);
}

#[test]
fn config_corpus() {
    replay("config", config::run);
}

#[test]
fn shape_corpus() {
    replay("shape", shape::run);
}

#[test]
fn url_corpus() {
    replay("url", url::run);
}
