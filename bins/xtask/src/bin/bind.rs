//! Writes the JavaScript around a wasm module: what the program `wasm-bindgen` does, without the rest of it. `Cargo.lock` names
//! the same version for both sides, as cargo takes no two of `wasm-bindgen-shared`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let paths = std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>();
    let [module, folder] = paths.as_slice() else { bail!("which module, and into which folder?") };
    Bindgen::new().web(true)?.input_path(module).generate(folder)
}
