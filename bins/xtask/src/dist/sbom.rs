//! The bill of materials: every crate that goes into the programs, with its version, licence and checksum, in the form of CycloneDX.
//!
//! Of what cargo says of this build, so it has the features and the platform right. What a scanner finds in `Cargo.lock` is more:
//! everything that only tests, other platforms and browsers need.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PROGRAMS, Release};
use crate::cargo;
use crate::paths::Paths;

/// Name and version.
pub type Crate = (String, String);

/// A crate that is in a program.
#[derive(Debug)]
pub struct Part {
    /// As SPDX writes it.
    pub licence: String,
    /// Its sources.
    pub folder: PathBuf,
    /// The file that its licence is in, if it says so.
    pub licence_file: Option<PathBuf>,
    /// Whether it belongs to this repository.
    pub is_ours: bool,
}

/// Everything that is in the programs.
pub fn parts(paths: &Paths) -> Result<BTreeMap<Crate, Part>> {
    let mut metadata = cargo::command(paths);
    metadata.args(["metadata", "--quiet", "--locked", "--format-version=1"]);
    let mut known = packages(&said(&mut metadata)?)?;
    let mut parts = BTreeMap::new();
    for program in PROGRAMS {
        let mut tree = cargo::command(paths);
        tree.args(["tree", "--quiet", "--locked", "--edges", "normal", "--prefix", "none", "--package", program]);
        for of in listed(&said(tree.args(["--format", "{p}"]))?) {
            if let Some(package) = known.remove(&of) {
                parts.insert(of, part(package)?);
            } else if !parts.contains_key(&of) {
                bail!("cargo knows no package {} {}", of.0, of.1);
            }
        }
    }
    Ok(parts)
}

fn said(cargo: &mut Command) -> Result<String> {
    let output = cargo.output().context("cargo can't be started")?;
    if !output.status.success() {
        bail!("{cargo:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Crates of the lines `name v1.2.3 (…)`.
fn listed(tree: &str) -> impl Iterator<Item = Crate> {
    tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    })
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<PathBuf>,
    manifest_path: PathBuf,
    /// Of a crate of this repository there is none.
    source: Option<String>,
}

fn packages(metadata: &str) -> Result<BTreeMap<Crate, Package>> {
    let metadata: Metadata = serde_json::from_str(metadata).context("what cargo says of its packages")?;
    Ok(metadata
        .packages
        .into_iter()
        .map(|package| ((package.name.clone(), package.version.clone()), package))
        .collect())
}

fn part(package: Package) -> Result<Part> {
    let folder = package.manifest_path.parent().context("a manifest has a folder")?.to_owned();
    let licence_file = package.license_file.map(|file| folder.join(file));
    let licence = match (package.license, &licence_file) {
        (Some(licence), _) => spdx(&licence),
        (None, Some(file)) => named(&fs::read_to_string(file).with_context(|| file.display().to_string())?)
            .with_context(|| {
                format!("{}: dist/sbom.rs knows no name of the licence in {}", package.name, file.display())
            })?
            .to_owned(),
        (None, None) => bail!("{} {} has no licence", package.name, package.version),
    };
    Ok(Part { licence, folder, licence_file, is_ours: package.source.is_none() })
}

/// `/` is an older way to write OR.
fn spdx(licence: &str) -> String {
    licence.replace('/', " OR ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name of a licence that a crate has as a file alone.
fn named(text: &str) -> Option<&'static str> {
    text.trim_start().starts_with("Business Source License 1.1").then_some("BUSL-1.1")
}

/// Writes `nepto-<version>.cdx.json`.
pub fn write(release: &Release<'_>) -> Result<PathBuf> {
    let lock = fs::read_to_string(release.paths.root.join("Cargo.lock"))?;
    let path = release.output.join(format!("nepto-{}.cdx.json", release.version));
    write_json(&path, &bill(&release.version, &release.parts, &checksums(&lock)))?;
    Ok(path)
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{}\n", serde_json::to_string_pretty(value)?)).with_context(|| path.display().to_string())
}

/// SHA-256 of what was downloaded, as the lock file has it; ours have none.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").skip(1);
    let read =
        |package: &str| Some(((field(package, "name")?, field(package, "version")?), field(package, "checksum")?));
    packages.filter_map(read).collect()
}

fn bill(version: &str, parts: &BTreeMap<Crate, Part>, checksums: &BTreeMap<Crate, String>) -> Value {
    let component = |(of, part): (&Crate, &Part)| {
        let (name, version) = of;
        // ours are in no registry
        let kind = if part.is_ours { "generic" } else { "cargo" };
        let reference = format!("pkg:{kind}/{name}@{version}");
        let mut component = json!({
            "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference,
            "licenses": [{ "expression": part.licence }],
        });
        if let Some(checksum) = checksums.get(of) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        component
    };
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "bom-ref": "nepto", "name": "nepto", "version": version } },
        "components": parts.iter().map(component).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(folder: &Path) -> String {
        let package = |name: &str, fields: Value| {
            let mut package = json!({
                "name": name, "version": "1.0.0", "license": null, "license_file": null, "source": "registry+x",
                "manifest_path": folder.join("Cargo.toml"),
            });
            package.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            package
        };
        json!({ "packages": [
            package("hex", json!({ "license": "MIT OR Apache-2.0" })),
            package("old", json!({ "license": "MIT/Apache-2.0" })),
            package("older", json!({ "license": "MIT / Apache-2.0" })),
            package("store", json!({ "license_file": "LICENSE" })),
            package("nepto-server", json!({ "license": "AGPL-3.0-only", "source": null })),
        ] })
        .to_string()
    }

    fn all_parts(metadata: &str) -> Result<BTreeMap<Crate, Part>> {
        packages(metadata).unwrap().into_iter().map(|(of, package)| Ok((of, part(package)?))).collect()
    }

    #[test]
    fn every_crate_has_its_licence_and_its_checksum() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LICENSE"), "Business Source License 1.1\n\nParameters\n").unwrap();
        let parts = all_parts(&metadata(folder.path())).unwrap();
        let lock = "[[package]]\nname = \"hex\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\nchecksum = \"7f24\"\n";
        let bill = bill("0.1.0", &parts, &checksums(lock));
        let of = |name: &str| {
            let components = bill["components"].as_array().unwrap();
            components.iter().find(|component| component["name"] == name).unwrap().clone()
        };
        assert_eq!(of("hex")["hashes"][0]["content"], "7f24");
        for (name, licence) in [
            ("hex", "MIT OR Apache-2.0"),
            ("old", "MIT OR Apache-2.0"),
            ("older", "MIT OR Apache-2.0"),
            ("store", "BUSL-1.1"),
            ("nepto-server", "AGPL-3.0-only"),
        ] {
            assert_eq!(of(name)["licenses"][0]["expression"], licence, "{name}");
        }
        assert_eq!(of("nepto-server").get("hashes"), None);
        assert_eq!(of("nepto-server")["purl"], "pkg:generic/nepto-server@1.0.0");
    }

    #[test]
    fn a_licence_without_a_name_is_no_licence() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LICENSE"), "All rights reserved.\n").unwrap();
        let refused = all_parts(&metadata(folder.path())).unwrap_err().to_string();
        assert!(refused.contains("store"), "{refused}");
    }

    #[test]
    fn what_is_listed_more_than_once_is_the_same_crate() {
        let tree = "nepto-server v0.1.0 (/x)\nhex v0.4.3\nhex v0.4.3 (*)\ncode v1.0.0 (proc-macro)\n";
        let names: Vec<String> = listed(tree).map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(names, ["nepto-server 0.1.0", "hex 0.4.3", "hex 0.4.3", "code 1.0.0"]);
    }
}
