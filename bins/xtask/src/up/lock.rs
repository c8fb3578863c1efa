//! One `up` per data folder.

use std::fs::{self, File, TryLockError};
use std::io::{Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::paths::short;

/// Holds `<data>/up.lock`. The system lets go of it when this process ends, so it is never stale.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes it for what is to be at this address, or says who holds it, and how far that one is.
    pub fn take(data: &Path, url: &str) -> Result<Self> {
        let path = data.join("up.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                bail!("the data in {} is in use: Nepto {}", short(data), holder.trim());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| short(&path)),
        }
        let mut lock = Self { file };
        lock.say(&format!("for {url} is being built and started by process {}", std::process::id()))?;
        Ok(lock)
    }

    /// From now on it runs.
    pub fn runs(&mut self, url: &str) -> Result<()> {
        self.say(&format!("runs already: {url}, process {}", std::process::id()))
    }

    fn say(&mut self, state: &str) -> Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        Ok(self.file.write_all(state.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_about_the_first() {
        let data = tempfile::tempdir().unwrap();
        let mut first = Lock::take(data.path(), "http://localhost:1").unwrap();
        let refused = || Lock::take(data.path(), "http://localhost:2").unwrap_err().to_string();
        let me = std::process::id();
        let while_building = refused();
        let state = format!("Nepto for http://localhost:1 is being built and started by process {me}");
        assert!(while_building.ends_with(&state), "{while_building}");
        first.runs("http://localhost:1").unwrap();
        let while_running = refused();
        let state = format!("Nepto runs already: http://localhost:1, process {me}");
        assert!(while_running.ends_with(&state), "{while_running}");
        drop(first);
        Lock::take(data.path(), "http://localhost:2").unwrap();
    }
}
