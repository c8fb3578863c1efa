//! One `up` per data folder.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::paths::short;

/// Holds `<data>/up.lock`. The system lets go of it when this process ends, so it is never stale.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it, or says who holds it.
    pub fn take(data: &Path, url: &str) -> Result<Self> {
        let path = data.join("up.lock");
        let mut file = File::options().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                bail!("Nepto runs already with the data in {}: {}", short(data), holder.trim());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| short(&path)),
        }
        file.set_len(0)?;
        write!(file, "{url}, process {}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_about_the_first() {
        let data = tempfile::tempdir().unwrap();
        let first = Lock::take(data.path(), "http://localhost:1").unwrap();
        let refused = Lock::take(data.path(), "http://localhost:2").unwrap_err().to_string();
        assert!(refused.contains("http://localhost:1, process"), "{refused}");
        drop(first);
        Lock::take(data.path(), "http://localhost:2").unwrap();
    }
}
