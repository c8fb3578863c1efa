//! The programs beside the Rust toolchain: found, or installed where that leaves the system as it was.
//!
//! Debian packages are installed only when missing, only by root, and none of them starts a service. NATS comes as a
//! single file into this user's cache, the chain with the packages of `contracts/`.

pub mod ansible;
mod apt;
pub mod debian;
pub mod docker;
pub mod foundry;
mod nats;
pub mod npm;
pub mod prometheus;
mod pypi;
mod redis;
pub mod wasm;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
pub use foundry::Foundry;

/// Programs that are there and of the right version.
#[derive(Debug)]
pub struct Tools {
    /// The program `nats-server`.
    pub nats: PathBuf,
    /// The program `redis-server`.
    pub redis: PathBuf,
    /// Version of the protobuf compiler.
    pub protoc: String,
    /// The chain, and compiled contracts.
    pub foundry: Foundry,
}

impl Tools {
    /// Finds each, or installs it.
    pub fn find_or_install(paths: &Paths) -> Result<Self> {
        Ok(Self {
            protoc: protoc()?,
            nats: nats::find_or_install(paths)?,
            redis: redis::find_or_install(paths)?,
            foundry: foundry::find_or_install(paths)?,
        })
    }

    /// Where tests and benches look for programs.
    pub fn environment(&self, paths: &Paths) -> [(&'static str, OsString); 5] {
        [
            ("NEPTO_NATS_SERVER", self.nats.clone().into()),
            ("NEPTO_REDIS_SERVER", self.redis.clone().into()),
            ("NEPTO_ANVIL", self.foundry.anvil.clone().into()),
            ("NEPTO_CONTRACTS", self.foundry.contracts.clone().into()),
            ("NEPTO_BIN_DIR", paths.binaries().into()),
        ]
    }
}

/// systemd's own tools, with which the units are checked.
pub fn systemd() -> Result<()> {
    match on_path("systemd-analyze").is_some() && on_path("systemd-socket-activate").is_some() {
        true => Ok(()),
        false => apt::install("systemd", "systemd"),
    }
}

/// A library by which a program sees another time than there is.
pub fn faketime() -> Result<()> {
    match apt::has("libfaketime") {
        true => Ok(()),
        false => apt::install("libfaketime", "libfaketime"),
    }
}

/// The protobuf compiler, which build scripts call. Needed before anything but this program is built.
pub fn protoc() -> Result<String> {
    let program = std::env::var_os("PROTOC").map_or_else(|| "protoc".into(), PathBuf::from);
    if let Some(version) = version(&program) {
        return Ok(version);
    }
    apt::install("protobuf-compiler", "the protobuf compiler `protoc`")?;
    version(&program).context("protobuf-compiler is installed, but `protoc` does not run")
}

/// When a file was changed last; `None` if it isn't there.
fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// The program of this name on the `PATH`.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// What a program says to `--version`; `None` if it does not run.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first version number in a text, major and minor.
fn version_number(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// Runs a command silently; its output is shown only if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("`{program}` can't be started"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?} failed with {}:\n{}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_are_found_in_what_programs_say() {
        for (text, number) in [
            ("nats-server: v2.15.1", Some((2, 15))),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", Some((7, 0))),
            ("Valkey server v=8.1.1", Some((8, 1))),
            ("libprotoc 3.21.12", Some((3, 21))),
            ("nightly", None),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
