//! The core of the client for browsers: built for wasm32, bound to JavaScript, and tried in Node.
//!
//! A toolchain from rustup has no standard library for wasm unless it is fetched. Debian's compiler for browsers comes with the
//! sources instead, and builds it, once for each version of itself: also with unwinding, so that a panic in a cipher is an
//! error here as it is natively.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::cargo::{self, checkout};
use crate::paths::Paths;
use crate::tools::{self, npm, wasm};

const TARGET: &str = "wasm32-unknown-unknown";
/// The crate, and the name of what is built of it.
const CRATE: &str = "lib/sdk-wasm";
const NAME: &str = "nepto_sdk_wasm";
/// Its profile in the workspace's manifest.
const PROFILE: &str = "wasm";

/// Builds, binds, tries.
pub fn run(paths: &Paths) -> Result<ExitCode> {
    tools::protoc()?;
    let toolchain = wasm::Toolchain::find_or_install()?;
    let target = paths.target.join("wasm");
    checkout::claim(&paths.root, &target)?;
    let module = build(paths, &toolchain, &target)?;
    let bound = target.join("bound");
    // the tool of the version that `Cargo.lock` names; the two must be the same
    let bind = ["run", "--quiet", "--locked", "--package", "xtask", "--features", "bind", "--bin", "bind", "--"];
    tools::run(cargo::command(paths).args(bind).arg(&module).arg(&bound))?;
    // Node of Debian 12 takes a module of its own accord for the older kind
    fs::write(bound.join("package.json"), "{ \"type\": \"module\" }\n")?;
    let tests = paths.root.join(CRATE).join("test");
    npm::install(&tests)?;
    cargo::run(Command::new("node").args(["--test", "core.test.mjs"]).current_dir(tests).env("NEPTO_WASM", bound))
}

/// The module that cargo builds, in a folder of its own: nothing native is compiled again because of it.
fn build(paths: &Paths, toolchain: &wasm::Toolchain, target: &Path) -> Result<PathBuf> {
    let mut cargo = cargo::command_of(paths, &toolchain.cargo);
    cargo.current_dir(paths.root.join(CRATE)).env("CARGO_TARGET_DIR", target);
    cargo.env("RUSTC", &toolchain.rustc).env_remove("RUSTUP_TOOLCHAIN");
    // the unstable switch builds the standard library, and nothing else is unstable here
    cargo.env("RUSTC_BOOTSTRAP", "1").args(["rustc", "-Zbuild-std=std,panic_unwind"]);
    cargo.args(["--locked", "--profile", PROFILE, "--crate-type", "cdylib", "--target", TARGET]);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &toolchain.linker);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-Cpanic=unwind");
    if cargo::run(&mut cargo)? != ExitCode::SUCCESS {
        bail!("the core could not be built for {TARGET}");
    }
    Ok(target.join(TARGET).join(PROFILE).join(NAME).with_extension("wasm"))
}
