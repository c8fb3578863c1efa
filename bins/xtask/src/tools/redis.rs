//! A Redis server, without the service that comes with Debian's package of that name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{apt, on_path, version, version_number};
use crate::paths::Paths;

/// What Nepto's Redis commands need.
const MINIMUM: (u32, u32) = (6, 2);

/// The one of `NEPTO_REDIS_SERVER`, of the `PATH`, of the cache; else a new one.
///
/// Debian ships the server inside the package `redis-tools`, under the name of another tool that is the same
/// executable; the package `redis-server` adds a link to it, and a service that starts at once. The link is all we want.
pub fn find_or_install(paths: &Paths) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("NEPTO_REDIS_SERVER").map(PathBuf::from) {
        return if fits(&named) { Ok(named) } else { bail!("NEPTO_REDIS_SERVER is not a Redis server ≥ 6.2") };
    }
    let installed = ["redis-server", "valkey-server"].into_iter().filter_map(on_path);
    let linked = paths.tools.join("redis-server");
    if let Some(found) = installed.chain([linked.clone()]).find(|program| fits(program)) {
        return Ok(found);
    }
    if on_path("redis-check-rdb").is_none() {
        apt::install("redis-tools", "Redis")?;
    }
    let executable = on_path("redis-check-rdb").context("redis-tools is installed, but has no redis-check-rdb")?;
    fs::create_dir_all(&paths.tools)?;
    let _ = fs::remove_file(&linked);
    symlink(executable, &linked)?;
    if !fits(&linked) {
        bail!("no Redis server ≥ 6.2 was found. Install one and name it in NEPTO_REDIS_SERVER.");
    }
    Ok(linked)
}

fn fits(program: &Path) -> bool {
    version(program).and_then(|said| version_number(&said)).is_some_and(|number| number >= MINIMUM)
}
