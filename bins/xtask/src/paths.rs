//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders that every task works with.
#[derive(Debug)]
pub struct Paths {
    /// The root of the checkout.
    pub root: PathBuf,
    /// What cargo builds into; the same for every checkout of this user.
    pub target: PathBuf,
    /// Where downloaded tools are kept.
    pub tools: PathBuf,
}

impl Paths {
    /// The checkout that `cargo xtask` was called in, and this user's cache.
    pub fn find() -> Result<Self> {
        let root = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(own) => Path::new(&own).ancestors().nth(2).map(Path::to_owned),
            None => env::current_dir()?.ancestors().find(|folder| folder.join("bins/xtask").is_dir()).map(Into::into),
        };
        let cache = absolute_variable("XDG_CACHE_HOME")
            .or_else(|| env::home_dir().map(|home| home.join(".cache")))
            .context("no cache folder: neither XDG_CACHE_HOME nor HOME is set")?
            .join("nepto");
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty()) {
            Some(target) => std::path::absolute(target)?,
            None => cache.join("target"),
        };
        Ok(Self { root: root.context("this is not a checkout of Nepto")?, target, tools: cache.join("tools") })
    }

    /// Where the built programs stand.
    pub fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }
}

fn absolute_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// A path as a person would type it: relative to where they are, if it lies there.
pub fn short(path: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
