//! What a migration may do while processes of the version before still run: see "Upgrades" in the operator's manual.

use nepto_kit::version::Version;

/// Migrations that remove something, and that no release is older than: domain and number.
const BEFORE_THE_FIRST_RELEASE: [(&str, i64); 4] = [("accounts", 4), ("assets", 3), ("assets", 4), ("assets", 5)];

/// The last version that was released, or will be first: that of the newest fixtures.
fn released() -> Version {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this");
    let fixtures = std::fs::read_dir(std::path::Path::new(&own).join("../testkit/fixtures")).expect("fixtures");
    let names = fixtures.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| {
        let numbers: Result<Vec<i64>, _> = name.split('.').map(str::parse).collect();
        Version::from_value(&numbers.ok()?)
    });
    versions.max().expect("the fixtures of a release")
}

/// Whether older code may miss what these statements take away or change.
fn may_break(statements: &str) -> bool {
    ["REMOVE ", "OVERWRITE ", "ALTER "].iter().any(|word| statements.contains(word))
}

#[test]
fn what_may_break_older_code_says_which() {
    let (released, mut found) = (released(), Vec::new());
    for domain in crate::all() {
        for migration in domain.schema {
            let name = (domain.name, migration.number);
            if let Some(oldest) = migration.compatible_from {
                assert!(
                    oldest <= released,
                    "{name:?}: {oldest} was not released, so nobody runs it beside this version"
                );
            } else if may_break(migration.statements) {
                found.push(name);
            }
        }
    }
    assert_eq!(found, BEFORE_THE_FIRST_RELEASE, "these need `compatible_from`, or are not there any more");
}

#[test]
fn what_is_released_is_not_newer_than_this() {
    let released = released();
    assert!(released <= Version::OWN, "{released} was released, and this is {}", Version::OWN);
    assert!(
        may_break("DEFINE FIELD OVERWRITE a ON b TYPE int") && !may_break("DEFINE TABLE IF NOT EXISTS b SCHEMAFULL")
    );
}
