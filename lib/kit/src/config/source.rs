//! The file and the environment together, and what of them was read.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::value::Error as Unread;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

use super::{ConfigError, UnknownName};

/// Variables of other programs of ours, which are no settings of the server.
const OTHER_VARIABLES: [&str; 15] = [
    "NEPTO_CONFIG",
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

/// A setting of the environment.
struct Variable {
    name: String,
    section: String,
    field: String,
    value: Value,
}

impl Variable {
    /// `None`: it is for another program of ours.
    fn new(name: String, path: &str, value: &str) -> Result<Option<Self>, ConfigError> {
        if OTHER_VARIABLES.contains(&name.as_str()) {
            return Ok(None);
        }
        let path = path.to_ascii_lowercase();
        let (section, field) = path.split_once("__").ok_or_else(|| ConfigError::Variable(name.clone()))?;
        Ok(Some(Self { section: section.to_owned(), field: field.to_owned(), value: literal(value), name }))
    }

    fn set(&self, sections: &mut Table) -> Result<(), ConfigError> {
        let section = sections.entry(self.section.as_str()).or_insert_with(|| Table::new().into());
        let section = section.as_table_mut().ok_or_else(|| ConfigError::Variable(self.name.clone()))?;
        section.insert(self.field.clone(), self.value.clone());
        Ok(())
    }

    fn blamed_for(&self, problem: impl ToString) -> ConfigError {
        ConfigError::Environment { name: self.name.clone(), problem: problem.to_string() }
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
            Some(variable) => variable.blamed_for(error),
            None => error.into(),
        }
    }

    /// What was declared so far.
    pub(super) fn declared(self) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        self.declared
    }

    /// Refuses what nobody has read.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
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
            Some(variable) => variable.blamed_for(unknown),
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
