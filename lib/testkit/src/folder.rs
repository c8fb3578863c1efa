//! Where servers under test keep their files.

use std::io;

use tempfile::TempDir;

/// A new folder, removed when it is dropped: among the temporary files, which `cargo xtask test` keeps in memory.
pub fn folder(prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).tempdir()
}
