//! `docs/PROTOCOL.md`, `docs/vectors.json` and what is said about gates beside them are what the code does. Set `NEPTO_UPDATE_DOCS=1` to write what has changed.

mod gates;
mod page;
mod vectors;

use std::fs;
use std::path::{Path, PathBuf};

/// This package in the checkout that the tests run in, which may be another than the one they were built in.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("cargo runs this")
}

fn docs() -> PathBuf {
    package().join("../../docs")
}

/// Compares a file with what it should be, or writes it.
fn expect_file(path: &Path, wanted: &str) {
    if std::env::var_os("NEPTO_UPDATE_DOCS").is_some() {
        fs::write(path, wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "{} is out of step; run with NEPTO_UPDATE_DOCS=1", path.display());
}
