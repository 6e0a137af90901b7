//! What the fuzzer found worth keeping, again: `fuzz/corpus` through the bodies of the fuzz targets.
//!
//! ```text
//! cargo install cargo-fuzz && cargo fuzz run -s none host        to find more
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "these are tests"
)]

#[path = "../fuzz/bodies/mod.rs"]
#[allow(clippy::all, clippy::pedantic, reason = "what the fuzzer draws is taken as it comes")]
mod bodies;

use std::{fs, path::Path};

fn replay(target: &str, body: impl Fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has inputs", dir.display());
    for file in files {
        println!("{}", file.display());
        body(&fs::read(&file).unwrap());
    }
}

#[test]
fn frames() {
    replay("frames", bodies::frames);
}

#[test]
fn host() {
    replay("host", bodies::host);
}

#[test]
fn member() {
    replay("member", bodies::member);
}

#[test]
fn classic() {
    replay("classic", bodies::classic);
}

#[test]
fn text() {
    replay("text", bodies::text);
}

#[test]
fn config() {
    replay("config", bodies::config);
}
