//! What documents promise of the repository's shape, held against it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cargo::{BUILD, Targets};
use crate::up::PROGRAMS;

fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this");
    Path::new(&own).join("../..").canonicalize().expect("the checkout")
}

/// What a build consists of: every unit that is compiled, with the places of those that it needs.
struct Units(Vec<Value>);

impl Units {
    fn of(targets: Targets<'_>) -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        // what cargo would do is told by nightly cargo alone, or by one that takes itself for it
        cargo.env("RUSTC_BOOTSTRAP", "1").current_dir(root());
        cargo.args(BUILD).args(targets.arguments()).args(["--offline", "--unit-graph", "-Zunstable-options"]);
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut graph: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let units: Vec<Value> = serde_json::from_value(graph["units"].take()).expect("units");
        assert!(units.len() > 100, "{} units", units.len());
        Self(units)
    }

    /// Every library, with the features that it is compiled with.
    fn libraries(&self) -> BTreeSet<String> {
        let libraries =
            self.0.iter().filter(|unit| unit["mode"] == "build" && unit["target"]["kind"] != json!(["bin"]));
        libraries.map(|unit| format!("{} {} {}", unit["pkg_id"], unit["target"]["kind"], unit["features"])).collect()
    }

    /// Names of everything that goes into a package, itself included; not what only its tests need.
    fn ingredients(&self, package: &str) -> BTreeSet<&str> {
        let is_own = |unit: &Value| unit["mode"] == "build" && name(unit) == package;
        let mut found: BTreeSet<usize> = (0..self.0.len()).filter(|place| is_own(&self.0[*place])).collect();
        let mut open: Vec<usize> = found.iter().copied().collect();
        while let Some(place) = open.pop() {
            for needed in self.0[place]["dependencies"].as_array().expect("dependencies") {
                let needed = needed["index"].as_u64().expect("a place") as usize;
                if found.insert(needed) {
                    open.push(needed);
                }
            }
        }
        found.into_iter().map(|place| name(&self.0[place])).collect()
    }
}

/// The package of a unit. Its id ends with `#name@version`, or with `/name#version` where its folder has its name.
fn name(unit: &Value) -> &str {
    let id = unit["pkg_id"].as_str().expect("an id");
    let (source, rest) = id.rsplit_once('#').expect("a version");
    match rest.split_once('@') {
        Some((name, _)) => name,
        None => source.rsplit('/').next().expect("a folder"),
    }
}

#[test]
fn programs_are_built_of_the_same_libraries_as_tests() {
    let of_programs = Units::of(Targets::Programs(&PROGRAMS)).libraries();
    let of_tests = Units::of(Targets::All).libraries();
    let others: Vec<&String> = of_programs.difference(&of_tests).collect();
    assert!(of_programs.len() > 100);
    assert!(
        others.is_empty(),
        "a dev-dependency asks for more features of these, so `cargo xtask up` and `test` would each compile them, and all \
         that depends on them, for themselves; ask for the features in [workspace.dependencies]: {others:#?}"
    );
}

#[test]
fn the_server_cannot_decrypt() {
    let units = Units::of(Targets::All);
    for package in ["nepto-server", "nepto-domains", "nepto-kit", "nepto-chain"] {
        let found = units.ingredients(package);
        assert!(found.contains(package) && found.len() > 10, "{package}: {found:?}");
        let forbidden = found.iter().find(|name| name.contains("libsignal") || name.starts_with("nepto-sdk"));
        assert_eq!(forbidden, None, "{package} must not depend on it");
    }
    assert!(
        units.ingredients("nepto-sdk-core").iter().any(|name| name.contains("libsignal")),
        "the test looks for the right name"
    );
}

#[test]
fn arrows_point_one_way() {
    let units = Units::of(Targets::All);
    for (package, others) in [
        ("nepto-proto", &["nepto-kit", "nepto-chain", "nepto-sdk-core", "nepto-sdk", "nepto-domains"][..]),
        ("nepto-kit", &["nepto-domains", "nepto-chain"]),
        ("nepto-chain", &["nepto-domains", "nepto-kit"]),
        // what a browser can't have: sockets, tasks, files, and a runtime for them
        (
            "nepto-sdk-core",
            &["nepto-sdk", "nepto-chain", "nepto-files", "tokio", "reqwest", "rustls", "redb", "tungstenite"],
        ),
        ("nepto-sdk", &["nepto-kit", "nepto-domains"]),
        ("nepto", &["nepto-kit", "nepto-domains"]),
    ] {
        let found = units.ingredients(package);
        assert!(found.contains(package), "{package}: {found:?}");
        let forbidden = found.iter().find(|name| others.contains(*name));
        assert_eq!(forbidden, None, "{package} must not depend on it");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = root();
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md", "compose/README.md"]
            .map(|page| root.join(page))
            .into();
    for folder in ["docs", "docs/adr"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder");
        pages.extend(
            entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension() == Some("md".as_ref())),
        );
    }
    let mut links = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().expect("a folder").join(target);
            assert!(path.exists(), "{} links to {target}, which is not there", page.display());
            links += 1;
        }
    }
    assert!(links > 0, "the test finds links");
}

/// Every file below a folder with this ending.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

#[test]
fn the_gateway_knows_no_domain() {
    let mut sources = Vec::new();
    files(&root().join("lib/domains/src/gateway"), "rs", &mut sources);
    assert!(sources.len() > 5, "{sources:?}");
    for source in sources {
        let text = std::fs::read_to_string(&source).expect("a source");
        let foreign = ["crate::", "nepto_chain", "nepto_domains"].into_iter().find(|name| text.contains(name));
        assert_eq!(foreign, None, "{}: the gateway imports the kit and the wire only", source.display());
    }
}

#[test]
fn the_change_log_has_this_version() {
    let log = std::fs::read_to_string(root().join("CHANGELOG.md")).expect("a change log");
    let sections: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("## [")).collect();
    assert!(sections.first().is_some_and(|first| first.starts_with("Unreleased]")), "{sections:?}");
    let own = format!("{}] - ", env!("CARGO_PKG_VERSION"));
    assert!(sections.iter().any(|section| section.starts_with(&own)), "no section [{own}date");
}
