//! The file and the environment together, and what of them was read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::value::Error as Unread;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

use super::{ConfigError, UnknownName};

/// Variables of other programs of ours and of the units in `systemd/`, which are no settings of the server.
const OTHER_VARIABLES: [&str; 16] = [
    "NEPTO_CONFIG",
    "NEPTO_ARGUMENTS",
    "NEPTO_CRASH_AT",
    "NEPTO_REFUSE_UNDECLARED",
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

/// A configuration as it was written. What nobody reads of it is refused in the end.
#[derive(Default)]
pub(super) struct Source {
    /// As the file has them.
    file: Table,
    /// What the environment sets over it.
    variables: Vec<Variable>,
    /// Both together: what the environment sets replaces what the file has.
    sections: Table,
    /// The fields that each section has. A list has none: it is read as a whole.
    declared: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// What ends the name of a variable that names a file with the value, so that a secret stands in no environment.
const OF_FILE: &str = "__file";

/// A setting of the environment.
struct Variable {
    name: String,
    section: String,
    field: String,
    value: Value,
    /// The value is that of a file, and is told nobody.
    is_secret: bool,
}

impl Variable {
    /// `None`: it is for another program of ours, or empty, as Compose has what nobody set.
    fn new(name: String, path: &str, value: &str) -> Result<Option<Self>, ConfigError> {
        if OTHER_VARIABLES.contains(&name.as_str()) {
            return Ok(None);
        }
        let path = path.to_ascii_lowercase();
        let (section, field) = path.split_once("__").ok_or_else(|| ConfigError::Variable(name.clone()))?;
        if value.is_empty() {
            return Ok(None);
        }
        let (field, value, is_secret) = match field.strip_suffix(OF_FILE) {
            None => (field, literal(value), false),
            Some(field) => (field, secret(&name, Path::new(value))?, true),
        };
        Ok(Some(Self { section: section.to_owned(), field: field.to_owned(), value, is_secret, name }))
    }

    fn set(&self, sections: &mut Table) -> Result<(), ConfigError> {
        let section = sections.entry(self.section.as_str()).or_insert_with(|| Table::new().into());
        let section = section.as_table_mut().ok_or_else(|| ConfigError::Variable(self.name.clone()))?;
        section.insert(self.field.clone(), self.value.clone());
        Ok(())
    }

    /// A name that does not exist.
    fn is_unknown(&self, unknown: &UnknownName) -> ConfigError {
        ConfigError::Environment { name: self.name.clone(), problem: unknown.to_string() }
    }

    /// A value that does not fit.
    fn does_not_fit(&self, error: &toml::de::Error) -> ConfigError {
        let problem = match self.is_secret {
            false => error.to_string(),
            // the error shows the value
            true => "what the file holds does not fit the setting".to_owned(),
        };
        ConfigError::Environment { name: self.name.clone(), problem }
    }
}

impl Source {
    /// A text, and over it the environment.
    pub(super) fn new(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let file: Table = text.parse()?;
        let (mut sections, mut variables) = (file.clone(), Vec::new());
        for (name, value) in environment {
            let Some(path) = name.strip_prefix("NEPTO_").map(str::to_owned) else { continue };
            let Some(variable) = Variable::new(name, &path, &value)? else { continue };
            variable.set(&mut sections)?;
            variables.push(variable);
        }
        Ok(Self { file, variables, sections, declared: BTreeMap::new() })
    }

    /// What a reader takes of a section: the fields that it has.
    pub(super) fn read<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> Result<T, ConfigError> {
        self.declared.entry(name).or_default().extend(fields_of::<T>());
        part::<T>(&self.sections, name).map_err(|error| self.blame::<T>(name, error))
    }

    /// Names the variable since which a section can't be read; if there is none, it is the file's mistake.
    fn blame<T: DeserializeOwned + Default>(&self, name: &'static str, error: toml::de::Error) -> ConfigError {
        let mut sections = self.file.clone();
        let (mut since, mut is_read) = (None, part::<T>(&sections, name).is_ok());
        for variable in self.variables.iter().filter(|variable| variable.section == name) {
            if let Err(error) = variable.set(&mut sections) {
                return error;
            }
            let was_read = std::mem::replace(&mut is_read, part::<T>(&sections, name).is_ok());
            match (was_read, is_read) {
                (true, false) => since = Some(variable),
                (false, true) => since = None,
                _ => {}
            }
        }
        match since {
            Some(variable) => variable.does_not_fit(&error),
            None => error.into(),
        }
    }

    /// What was declared so far.
    pub(super) fn declared(self) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        self.declared
    }

    /// A value that makes no sense, blamed on the variable that sets it, if one does.
    pub(super) fn blame_value(&self, error: ConfigError) -> ConfigError {
        let (field, problem) = match error {
            ConfigError::Value { field, problem } => (field, problem),
            error => return error,
        };
        let mut parts = field.split('.');
        let (section, name) = (parts.next(), parts.next());
        let sets = |set: &&Variable| Some(set.section.as_str()) == section && Some(set.field.as_str()) == name;
        // of several the last one won
        match self.variables.iter().rev().find(sets) {
            Some(variable) => ConfigError::Environment { name: variable.name.clone(), problem },
            None => ConfigError::Value { field, problem },
        }
    }

    /// Refuses what nobody has read.
    pub(super) fn finish(&self) -> Result<(), ConfigError> {
        for (section, value) in &self.sections {
            let Some(fields) = self.declared.get(section.as_str()) else {
                let known = self.declared.keys().copied().collect::<Vec<_>>().join(", ");
                let unknown = UnknownName::Section { section: section.clone(), known };
                return Err(self.refused(unknown, |variable| variable.section == *section, self.file.get(section)));
            };
            let mut named = value.as_table().into_iter().flat_map(Table::keys);
            if let Some(field) = named.find(|field| !fields.contains(field.as_str())) {
                let known = fields.iter().copied().collect::<Vec<_>>().join(", ");
                let unknown = UnknownName::Field { section: section.clone(), field: field.clone(), known };
                let in_file = self.file.get(section).and_then(|section| section.get(field));
                return Err(self.refused(unknown, |set| set.section == *section && set.field == *field, in_file));
            }
        }
        Ok(())
    }

    /// A name that does not exist is blamed on the file, if it stands there, or else on the variable that sets it.
    fn refused(&self, unknown: UnknownName, sets: impl Fn(&Variable) -> bool, in_file: Option<&Value>) -> ConfigError {
        match self.variables.iter().find(|variable| in_file.is_none() && sets(variable)) {
            Some(variable) => variable.is_unknown(&unknown),
            None => unknown.into(),
        }
    }
}

/// What a reader takes of a section. In a table of its own, so that errors name the section.
fn part<T: DeserializeOwned + Default>(sections: &Table, name: &'static str) -> Result<T, toml::de::Error> {
    let fields = fields_of::<T>();
    let Some(value) = sections.get(name) else { return Ok(T::default()) };
    let own = match value {
        Value::Table(table) => {
            let mut own = table.clone();
            own.retain(|field, _| fields.contains(&field));
            own.into()
        }
        other => other.clone(),
    };
    let mut read: BTreeMap<String, T> = Table::from_iter([(name.to_owned(), own)]).try_into()?;
    Ok(read.remove(name).unwrap_or_default())
}

/// A value from the environment: TOML where it reads as such, else text.
fn literal(value: &str) -> Value {
    format!("value = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

/// The text that a file holds, always as text.
fn secret(name: &str, file: &Path) -> Result<Value, ConfigError> {
    let refused = |problem| ConfigError::Environment { name: name.to_owned(), problem };
    let text = std::fs::read_to_string(file)
        .map_err(|error| refused(format!("the file {} can't be read: {error}", file.display())))?;
    match text.trim() {
        "" => Err(refused(format!("the file {} is empty", file.display()))),
        text => Ok(Value::String(text.to_owned())),
    }
}

/// The fields of a struct as they are called in a file: serde names them to the deserializer that it asks for a struct.
pub fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // there is nothing to read, so this fails once it has asked
    drop(T::deserialize(Asked(&mut fields)));
    fields
}

struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unread> {
        Err(Unread::custom("nothing is read here"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Store {
        url: String,
        replicas: u8,
    }

    fn read(variables: &[(&str, &str)]) -> Result<Store, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut source = Source::new("[store]\nurl = \"of the file\"\n", variables)?;
        let store = source.read("store")?;
        source.finish()?;
        Ok(store)
    }

    #[test]
    fn a_secret_stands_in_a_file_and_in_no_error() {
        let file = std::env::temp_dir().join(format!("nepto-secret-{}", std::process::id()));
        let path = file.to_str().unwrap();
        // of digits alone, it would be a number in an environment
        std::fs::write(&file, "4711\n").unwrap();
        assert_eq!(read(&[("NEPTO_STORE__URL__FILE", path)]).unwrap().url, "4711");
        let wrong = read(&[("NEPTO_STORE__REPLICAS__FILE", path)]).unwrap_err().to_string();
        assert!(wrong.contains("NEPTO_STORE__REPLICAS__FILE") && !wrong.contains("4711"), "{wrong}");
        let unknown = read(&[("NEPTO_STORE__URLL__FILE", path)]).unwrap_err().to_string();
        assert!(unknown.contains("no field `urll`"), "{unknown}");
        std::fs::write(&file, "\n").unwrap();
        assert!(read(&[("NEPTO_STORE__URL__FILE", path)]).unwrap_err().to_string().contains("is empty"));
        std::fs::remove_file(&file).unwrap();
        let missing = read(&[("NEPTO_STORE__URL__FILE", path)]).unwrap_err().to_string();
        assert!(missing.contains("can't be read") && missing.contains(path), "{missing}");
    }

    #[test]
    fn what_units_have_in_their_environment_is_no_unknown_setting() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd");
        let mut found = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // that one is SurrealDB's program, and reads none of our settings
            if !path.is_file() || path.ends_with("nepto-database.service") {
                continue;
            }
            let unit = std::fs::read_to_string(path).unwrap();
            let words = unit.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            for name in words.filter(|word| word.starts_with("NEPTO_") && !word.contains("__")) {
                assert!(OTHER_VARIABLES.contains(&name), "a unit sets {name}, which a process would refuse");
                found += 1;
            }
        }
        assert!(found >= 10, "{found}");
    }

    #[test]
    fn an_empty_variable_sets_nothing() {
        let store = read(&[("NEPTO_STORE__URL", ""), ("NEPTO_STORE__REPLICAS", "")]).unwrap();
        assert_eq!((store.url.as_str(), store.replicas), ("of the file", 0));
        assert_eq!(read(&[("NEPTO_STORE__URL", "\"\"")]).unwrap().url, "");
    }
}
