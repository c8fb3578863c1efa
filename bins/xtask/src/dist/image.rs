//! The image, by `compose/Dockerfile`, of programs that are built already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{PROGRAMS, Release, archive, empty, licences, sbom};
use crate::paths::Paths;

/// What the image is called in `compose.yaml`.
const NAME: &str = "nepto/nepto-server";

/// Writes `nepto-server-<version>-image.tar`, as `docker load` takes it.
pub fn write(release: &Release<'_>) -> Result<PathBuf> {
    let docker = || Command::new("docker");
    let tag = format!("{NAME}:{}", release.version);
    build(docker, release.paths, &release.programs, &release.output, &tag)?;
    let file = release.output.join(format!("nepto-server-{}-image.tar", release.version));
    if !docker().args(["save", "--output"]).arg(&file).arg(&tag).status()?.success() {
        bail!("the image could not be written to {}", file.display());
    }
    Ok(file)
}

/// Builds it with an engine that `docker` asks. `work` is a folder for what is sent to it.
pub fn build(docker: impl Fn() -> Command, paths: &Paths, programs: &Path, work: &Path, tag: &str) -> Result<()> {
    let context = work.join("image");
    empty(&context)?;
    fs::create_dir_all(context.join("programs"))?;
    for program in PROGRAMS {
        archive::strip(&programs.join(program), &context.join("programs").join(program))?;
    }
    fs::write(context.join("programs").join(licences::NAME), licences::text(&sbom::parts(paths)?)?)?;
    fs::copy(paths.root.join("LICENSE"), context.join("LICENSE"))?;
    let dockerfile = paths.root.join("compose/Dockerfile");
    fs::copy(&dockerfile, context.join("Dockerfile"))?;
    // nothing is compiled, so the stage that would do it needs no compiler
    let system = default_argument(&fs::read_to_string(&dockerfile)?, "DEBIAN_IMAGE")?;
    let built = docker()
        .args(["build", "--quiet", "--tag", tag, "--build-arg"])
        .arg(format!("RUST_IMAGE={system}"))
        .arg(&context)
        .output()
        .context("`docker` can't be started; is Docker installed?")?;
    fs::remove_dir_all(&context)?;
    if !built.status.success() {
        bail!("the image could not be built:\n{}", String::from_utf8_lossy(&built.stderr).trim());
    }
    Ok(())
}

/// What a Dockerfile says to `ARG <name>=`.
pub fn default_argument(dockerfile: &str, name: &str) -> Result<String> {
    let argument = format!("ARG {name}=");
    let value = dockerfile.lines().find_map(|line| line.strip_prefix(&argument));
    Ok(value.with_context(|| format!("compose/Dockerfile has no {argument}"))?.to_owned())
}
