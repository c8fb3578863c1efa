//! The compiler and the linker for browsers, and the tool that binds their modules to JavaScript.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{apt, run, version};
use crate::cargo;
use crate::paths::Paths;

/// Debian's packages: the compiler that its browsers are built with, cargo for it, the standard library's sources, a linker.
/// What they install is asked of the package manager: `rustc` may be another one.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];
/// Where they put the three programs. Beside a toolchain from rustup, whose folder comes first on the `PATH`.
const PROGRAMS: [&str; 3] = ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/bin/wasm-ld-22"];

/// What builds for wasm.
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// Cargo of the same version.
    pub cargo: PathBuf,
    /// The linker.
    pub linker: PathBuf,
}

impl Toolchain {
    /// Finds it, or installs what is missing of it.
    pub fn find_or_install() -> Result<Self> {
        for package in PACKAGES {
            if !apt::has(package) {
                apt::install(package, "a part of the compiler for browsers")?;
            }
        }
        let [rustc, cargo, linker] = PROGRAMS.map(PathBuf::from);
        Ok(Self { rustc, cargo, linker })
    }
}

/// `wasm-bindgen` of the version that `Cargo.lock` names: the two must be the same.
pub fn bindgen(paths: &Paths) -> Result<PathBuf> {
    let lock = std::fs::read_to_string(paths.root.join("Cargo.lock")).context("Cargo.lock can't be read")?;
    let wanted = locked(&lock, "wasm-bindgen").context("Cargo.lock names no wasm-bindgen")?;
    let folder = paths.tools.join(format!("wasm-bindgen-{wanted}"));
    let program = folder.join("bin/wasm-bindgen");
    if version(&program).is_some() {
        return Ok(program);
    }
    eprintln!("Building wasm-bindgen {wanted}");
    let mut install = cargo::command(paths);
    install.args(["install", "wasm-bindgen-cli", "--locked", "--bin", "wasm-bindgen", "--version", wanted]);
    run(install.arg("--root").arg(&folder).env("CARGO_TARGET_DIR", folder.join("target")))?;
    // it is one file, and what it was made of is a hundred times as large
    std::fs::remove_dir_all(folder.join("target")).context("the build of wasm-bindgen can't be removed")?;
    Ok(program)
}

/// The version of a package in a `Cargo.lock`.
fn locked<'l>(lock: &'l str, package: &str) -> Option<&'l str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::locked;

    #[test]
    fn a_version_is_that_of_the_package_and_of_no_other_one() {
        let lock =
            "[[package]]\nname = \"a-b\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.1\"\n";
        assert_eq!(locked(lock, "a"), Some("2.0.1"));
        assert_eq!(locked(lock, "a-b"), Some("1.0.0"));
        assert_eq!(locked(lock, "b"), None);
    }
}
