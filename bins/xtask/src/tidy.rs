//! What documents promise of the repository's shape, held against it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::cargo::{BUILD, Targets};
use crate::up::PROGRAMS;

fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this");
    Path::new(&own).join("../..").canonicalize().expect("the checkout")
}

/// Names of everything that goes into a package, itself included.
fn ingredients(package: &str) -> Vec<String> {
    let tree = ["tree", "--quiet", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.current_dir(root()).args(tree).args(["--package", package]).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Every library that a build consists of, with the features that it is compiled with.
fn libraries(targets: Targets<'_>) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    // what cargo would do is told by nightly cargo alone, or by one that takes itself for it
    cargo.env("RUSTC_BOOTSTRAP", "1").current_dir(root());
    cargo.args(BUILD).args(targets.arguments()).args(["--offline", "--unit-graph", "-Zunstable-options"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let units = graph["units"].as_array().expect("units").iter();
    let libraries = units.filter(|unit| unit["mode"] == "build" && unit["target"]["kind"] != json!(["bin"]));
    libraries.map(|unit| format!("{} {} {}", unit["pkg_id"], unit["target"]["kind"], unit["features"])).collect()
}

#[test]
fn programs_are_built_of_the_same_libraries_as_tests() {
    let of_programs = libraries(Targets::Programs(&PROGRAMS));
    let of_tests = libraries(Targets::All);
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
    for package in ["nepto-server", "nepto-domains", "nepto-kit", "nepto-chain"] {
        let found = ingredients(package);
        assert!(found.iter().any(|name| name == package) && found.len() > 10, "{package}: {found:?}");
        let forbidden = found.iter().find(|name| name.contains("libsignal") || name.starts_with("nepto-sdk"));
        assert_eq!(forbidden, None, "{package} must not depend on it");
    }
    assert!(
        ingredients("nepto-sdk-core").iter().any(|name| name.contains("libsignal")),
        "the test looks for the right name"
    );
}

#[test]
fn arrows_point_one_way() {
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
        let found = ingredients(package);
        let forbidden = found.iter().find(|name| others.contains(&name.as_str()));
        assert_eq!(forbidden, None, "{package} must not depend on it");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = root();
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "bench/README.md", "compose/README.md"].map(|page| root.join(page)).into();
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
fn every_metric_is_in_the_operators_book() {
    let root = root();
    let book = std::fs::read_to_string(root.join("docs/OPERATIONS.md")).expect("the book");
    let mut sources = Vec::new();
    for folder in ["lib/kit/src", "lib/domains/src", "bins/nepto-server/src"] {
        files(&root.join(folder), "rs", &mut sources);
    }
    let mut metrics = std::collections::BTreeSet::new();
    for source in sources {
        let text = std::fs::read_to_string(source).expect("a source");
        for kind in ["counter!(\"", "gauge!(\"", "histogram!(\""] {
            metrics.extend(text.split(kind).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    assert!(metrics.len() > 10, "{metrics:?}");
    let missing: Vec<_> = metrics.iter().filter(|metric| !book.contains(&format!("`{metric}"))).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md lacks {missing:?}");
}
