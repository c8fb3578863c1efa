//! Networks of this machine: namespaces, which are gone when they are dropped.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::engine::said;

/// A namespace of this name.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// An empty one: only `lo` is up in it. One that another run left is removed.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let namespace = Self { name: name.into() };
        namespace.remove();
        ip(&["netns", "add", &namespace.name])?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it.
    pub fn ip(&self, line: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.name], line].concat())
    }

    /// Writes a program to `path` that runs these words of a shell in it, and its own arguments behind them.
    pub fn write_script(&self, path: &Path, words: &str) -> Result<()> {
        let script = format!("#!/bin/sh\nexec ip netns exec {} {words} \"$@\"\n", self.name);
        fs::write(path, script).with_context(|| path.display().to_string())?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o700))?)
    }

    /// Links go with it. That there is none of this name is no failure.
    fn remove(&self) {
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Runs `ip`.
pub fn ip(line: &[&str]) -> Result<String> {
    said(Command::new("ip").args(line))
}

/// A program in the namespace of this name.
pub fn within(name: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name]).arg(program);
    command
}
