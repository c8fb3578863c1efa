//! Settings of the environment: `NEPTO_<SECTION>__<FIELD>`.

use super::{Config, ConfigError};

/// Variables of other programs of ours, which are no settings of the server.
const OTHER_VARIABLES: [&str; 14] = [
    "NEPTO_CONFIG",
    "NEPTO_CRASH_AT",
    "NEPTO_PROFILE",
    "NEPTO_PASSPHRASE",
    "NEPTO_PASSPHRASE_FILE",
    "NEPTO_NATS_STORE",
    "NEPTO_NATS_PASSWORD",
    "NEPTO_NATS_SERVER",
    "NEPTO_REDIS_SERVER",
    "NEPTO_OPERATOR",
    "NEPTO_ANVIL",
    "NEPTO_CONTRACTS",
    "NEPTO_BIN_DIR",
    "NEPTO_UPDATE_DOCS",
];

/// Sets what the environment says over what the file says. Where both together make no sense, the variable since which they do
/// not is named, and the file only if it makes none by itself.
pub fn read(
    mut table: toml::Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut before = table.clone().try_into::<Config>().map(drop);
    // the variable since which it has not been valid
    let mut since = None;
    for (name, value) in environment {
        let Some(path) = name.strip_prefix("NEPTO_") else { continue };
        if OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let path = path.to_ascii_lowercase();
        let (section, field) = path.split_once("__").ok_or_else(|| ConfigError::Variable(name.clone()))?;
        let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
        let section = section.as_table_mut().ok_or_else(|| ConfigError::Variable(name.clone()))?;
        section.insert(field.to_owned(), literal(&value));
        let after = table.clone().try_into::<Config>().map(drop);
        match (&before, &after) {
            (Ok(()), Err(_)) => since = Some(name),
            (Err(_), Ok(())) => since = None,
            _ => {}
        }
        before = after;
    }
    table.try_into().map_err(|source| match since {
        Some(name) => ConfigError::Environment { name, source },
        None => ConfigError::Parse(source),
    })
}

/// A value from the environment: TOML where it reads as such, else text.
fn literal(value: &str) -> toml::Value {
    format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()))
}
