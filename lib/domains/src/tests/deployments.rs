//! Settings that units and Compose make, by the names of their variables.

use std::path::Path;

use nepto_kit::config::Config;

/// The variables of settings in a text, as section and field.
fn settings(text: &str) -> Vec<(String, String)> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let variables = words.filter_map(|word| word.strip_prefix("NEPTO_")?.split_once("__"));
    // NEPTO_SECTION__FIELD__FILE names a file with the value
    let named = variables.map(|(section, field)| (section, field.strip_suffix("__FILE").unwrap_or(field)));
    named.map(|(section, field)| (section.to_ascii_lowercase(), field.to_ascii_lowercase())).collect()
}

#[test]
fn units_and_compose_set_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let known = Config::every_field(&crate::sections());
    let mut files = vec![root.join("compose/compose.yaml")];
    let units = std::fs::read_dir(root.join("systemd")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(units.filter(|path| path.extension().is_some_and(|ending| ending == "service")));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let settings = settings(&text);
        assert!(!settings.is_empty() || !text.contains("nepto.toml"), "{}", file.display());
        for (section, field) in settings {
            let is_known = known.get(section.as_str()).is_some_and(|fields| fields.contains(field.as_str()));
            assert!(is_known, "{}: there is no {section}.{field}", file.display());
        }
    }
}
