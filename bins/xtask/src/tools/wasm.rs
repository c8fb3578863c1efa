//! The compiler and the linker for browsers.

use std::path::PathBuf;

use anyhow::Result;

use super::apt;

/// Debian's packages: the compiler that its browsers are built with, cargo for it, the standard library's sources, a linker.
/// What they install is asked of the package manager: `rustc` may be another one.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];
/// Where they put the three programs. Beside a toolchain from rustup, whose folder comes first on the `PATH`.
const PROGRAMS: [&str; 3] = ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/bin/wasm-ld-22"];

/// What builds for wasm.
pub struct Toolchain {
    /// The path of the compiler.
    pub rustc: PathBuf,
    /// Cargo of the same version.
    pub cargo: PathBuf,
    /// The path of the linker, LLVM's `wasm-ld`.
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
