//! `cargo xtask dist`: what others install. Programs, an archive of them with everything that belongs to them, a Debian package, an
//! image for containers, a bill of materials, and the checksums of all of it.
//!
//! Whatever is made of the same programs is the same to the last byte, wherever and whenever: files are ordered, belong to nobody, and
//! have the time of the commit. The programs themselves: `docs/RELEASES.md`.

mod archive;
mod deb;
mod image;
mod licences;
mod sbom;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cargo::{self, checkout};
use crate::paths::{Paths, short};
use crate::tools;

pub use crate::up::PROGRAMS;

pub use image::{build as build_image, default_argument};

/// Of the Debian package: how often one version was packaged.
const REVISION: &str = "1";

/// What to make, and where.
#[derive(Debug, Args)]
pub struct Options {
    /// Profile of cargo; `dev` packages what `cargo xtask up` runs, to try packages without the hour that `dist` takes
    #[arg(long, default_value = "dist")]
    profile: String,
    /// Folder for what is made [default: dist in the folder of builds]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Nothing but the two programs, and the licences of what is in them
    #[arg(long)]
    binaries_only: bool,
    /// An image as well, as `docker load` takes it; needs Docker
    #[arg(long, conflicts_with = "binaries_only")]
    image: bool,
}

/// One release, as it is being made.
pub struct Release<'a> {
    paths: &'a Paths,
    /// The version of the workspace.
    pub version: String,
    /// Seconds since 1970: that of the commit, or SOURCE_DATE_EPOCH.
    epoch: String,
    /// Where the programs are.
    pub programs: PathBuf,
    /// Where everything goes.
    output: PathBuf,
    /// What the programs are made of.
    parts: BTreeMap<sbom::Crate, sbom::Part>,
}

impl<'a> Release<'a> {
    fn of(paths: &'a Paths, programs: PathBuf, output: PathBuf) -> Result<Self> {
        fs::create_dir_all(&output)?;
        let (version, epoch, parts) = (version(&paths.root)?, epoch(&paths.root)?, sbom::parts(paths)?);
        Ok(Self { paths, version, epoch, programs, output, parts })
    }
}

/// Makes everything that is asked for.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let output = match &options.output {
        Some(folder) => std::path::absolute(folder)?,
        None => paths.target.join("dist-files"),
    };
    let programs = build(paths, &options.profile, &epoch(&paths.root)?)?;
    if options.binaries_only {
        fs::create_dir_all(&output)?;
        for program in PROGRAMS {
            fs::copy(programs.join(program), output.join(program))?;
        }
        fs::write(output.join(licences::NAME), licences::text(&sbom::parts(paths)?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let release = Release::of(paths, programs, output)?;
    let mut made =
        vec![sbom::write(&release)?, archive::write(&release)?, deb::write(&release, REVISION, deb::Packed::Small)?];
    if options.image {
        made.push(image::write(&release)?);
    }
    made.push(checksums(&release.output, &made)?);
    for file in made {
        println!("{}", short(&file));
    }
    Ok(ExitCode::SUCCESS)
}

/// The Debian package alone, of programs that are built already, to be tried on this machine.
pub fn package(paths: &Paths, profile: &str, output: &Path, revision: &str) -> Result<PathBuf> {
    deb::write(&Release::of(paths, programs(paths, profile), output.to_owned())?, revision, deb::Packed::Quickly)
}

/// Where a profile's programs are.
fn programs(paths: &Paths, profile: &str) -> PathBuf {
    paths.target.join(if profile == "dev" { "debug" } else { profile })
}

/// Builds the programs, and returns the folder that they are in.
fn build(paths: &Paths, profile: &str, epoch: &str) -> Result<PathBuf> {
    tools::protoc()?;
    checkout::claim(&paths.root, &paths.target)?;
    let mut cargo = cargo::command(paths);
    cargo.args(cargo::BUILD).args(["--locked", "--profile", profile]);
    cargo.args(cargo::Targets::Programs(&PROGRAMS).arguments());
    // any other flag means that everything is compiled again, so the developers' build has none
    if profile != "dev" {
        let flags = nameless(paths);
        let rust: Vec<String> = flags.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect();
        let c: Vec<String> = flags.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}")).collect();
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\x1f"));
        cargo.env("CFLAGS", c.join(" ")).env("CXXFLAGS", c.join(" ")).env("SOURCE_DATE_EPOCH", epoch);
    }
    if !cargo.status().context("cargo can't be started")?.success() {
        bail!("the build failed");
    }
    Ok(programs(paths, profile))
}

/// Folders of this machine, and what the programs call them. The longest last: one may lie in another.
fn nameless(paths: &Paths) -> Vec<(String, &'static str)> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let mut folders: Vec<(String, &'static str)> =
        [(Some(paths.root.clone()), "/nepto"), (Some(paths.target.clone()), "/target"), (home, "/cargo")]
            .into_iter()
            .filter_map(|(folder, name)| Some((folder?.to_str()?.to_owned(), name)))
            .collect();
    // rustc applies the last that fits
    folders.sort_by_key(|(folder, _)| folder.len());
    folders
}

fn version(root: &Path) -> Result<String> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    Ok(line.and_then(|rest| rest.split('"').next()).context("Cargo.toml has no version")?.to_owned())
}

/// The time that every file gets.
fn epoch(root: &Path) -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut git = Command::new("git");
    let output = git.current_dir(root).args(["log", "-1", "--format=%ct"]).output();
    let said = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let epoch = said.and_then(|said| String::from_utf8(said).ok()).map(|said| said.trim().to_owned());
    epoch.filter(|epoch| !epoch.is_empty()).context(
        "the time of the commit is not known: this is no checkout of git. Set SOURCE_DATE_EPOCH to seconds since 1970.",
    )
}

/// `SHA256SUMS`, as `sha256sum --check` takes it.
fn checksums(output: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    let sums =
        Command::new("sha256sum").current_dir(output).args(names).output().context("sha256sum can't be started")?;
    if !sums.status.success() {
        bail!("sha256sum failed: {}", String::from_utf8_lossy(&sums.stderr));
    }
    let path = output.join("SHA256SUMS");
    fs::write(&path, sums.stdout)?;
    Ok(path)
}

/// An empty folder, whatever was there.
fn empty(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} can't be emptied", short(folder)))
        }
        _ => Ok(fs::create_dir_all(folder)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_that_names_the_version_has_the_same() {
        let root = Paths::find().unwrap().root;
        let version = version(&root).unwrap();
        for (file, line) in [
            ("packaging/deb/changelog", format!("nepto ({version}-1) ")),
            ("compose/compose.yaml", format!("nepto/nepto-server:{version}}}")),
            ("compose/Dockerfile", format!("nepto/nepto-server:{version} ")),
        ] {
            let text = fs::read_to_string(root.join(file)).unwrap();
            assert!(text.contains(&line), "{file} lacks {line:?}");
        }
    }

    #[test]
    fn the_folder_within_another_is_named_last() {
        let paths = Paths { root: "/home/x/nepto".into(), target: "/home/x/nepto/target".into(), tools: "/".into() };
        let folders = nameless(&paths);
        let at = |name| folders.iter().position(|(_, known)| *known == name).unwrap();
        assert!(at("/nepto") < at("/target"), "{folders:?}");
    }
}
