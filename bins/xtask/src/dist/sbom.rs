//! The bill of materials: every crate that goes into the programs, with its version, licence and checksum, in the form of CycloneDX.
//!
//! Of what cargo says of this build, so it has the features and the platform right. What a scanner finds in `Cargo.lock` is more:
//! everything that only tests, other platforms and browsers need.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{PROGRAMS, Release};
use crate::cargo;

/// Writes `nepto-<version>.cdx.json`.
pub fn write(release: &Release<'_>) -> Result<PathBuf> {
    let lock = fs::read_to_string(release.paths.root.join("Cargo.lock"))?;
    let checksums = checksums(&lock);
    let mut crates = BTreeMap::new();
    for program in PROGRAMS {
        let mut tree = cargo::command(release.paths);
        tree.args(["tree", "--quiet", "--locked", "--edges", "normal", "--prefix", "none", "--package", program]);
        let output = tree.args(["--format", "{p}|{l}"]).output()?;
        if !output.status.success() {
            bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        crates.extend(listed(&String::from_utf8(output.stdout)?));
    }
    let path = release.output.join(format!("nepto-{}.cdx.json", release.version));
    write_json(&path, &bill(&release.version, &crates, &checksums))?;
    Ok(path)
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{}\n", serde_json::to_string_pretty(value)?)).with_context(|| path.display().to_string())
}

/// Name and version.
type Crate = (String, String);

/// Crates with their licences, of the lines `name v1.2.3 (…)|licence`.
fn listed(tree: &str) -> impl Iterator<Item = (Crate, String)> {
    tree.lines().filter_map(|line| {
        let (package, licence) = line.split_once('|')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        // how a crate is marked whose own crates were listed above
        let licence = licence.trim_end_matches("(*)").trim();
        Some(((name.to_owned(), version.to_owned()), licence.to_owned()))
    })
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

fn bill(version: &str, crates: &BTreeMap<Crate, String>, checksums: &BTreeMap<Crate, String>) -> Value {
    let component = |(of, licence): (&Crate, &String)| {
        let (name, version) = of;
        let reference = format!("pkg:cargo/{name}@{version}");
        let mut component = json!({
            "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference,
        });
        if !licence.is_empty() {
            // an older way to write OR
            component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
        }
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
        "components": crates.iter().map(component).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_has_its_licence_and_its_checksum() {
        let tree = "nepto-server v0.1.0 (/x)|AGPL-3.0-only\nhex v0.4.3|MIT OR Apache-2.0\nhex v0.4.3|MIT OR Apache-2.0 (*)\n\
                    old v1.0.0|MIT/Apache-2.0\n";
        let lock = "[[package]]\nname = \"hex\"\nversion = \"0.4.3\"\nsource = \"registry+x\"\nchecksum = \"7f24\"\n";
        let crates: BTreeMap<Crate, String> = listed(tree).collect();
        assert_eq!(crates.len(), 3);
        let bill = bill("0.1.0", &crates, &checksums(lock));
        let of = |name: &str| {
            let components = bill["components"].as_array().unwrap();
            components.iter().find(|component| component["name"] == name).unwrap().clone()
        };
        assert_eq!(of("hex")["hashes"][0]["content"], "7f24");
        assert_eq!(of("hex")["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(of("old")["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(of("nepto-server").get("hashes"), None);
    }
}
