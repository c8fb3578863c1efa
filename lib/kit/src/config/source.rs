//! The file and the environment together, and what of them was read.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::value::Error as Unread;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

use super::ConfigError;

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

/// A configuration as it was written. What nobody reads of it is refused in the end.
#[derive(Default)]
pub(super) struct Source {
    sections: Table,
    /// The fields that each section has. A list has none: it is read as a whole.
    declared: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl Source {
    /// A text, and over it the environment.
    pub(super) fn new(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut sections: Table = text.parse()?;
        for (name, value) in environment {
            let Some(path) = name.strip_prefix("NEPTO_") else { continue };
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let path = path.to_ascii_lowercase();
            let (section, field) = path.split_once("__").ok_or_else(|| ConfigError::Variable(name.clone()))?;
            let section = sections.entry(section).or_insert_with(|| Table::new().into());
            let section = section.as_table_mut().ok_or(ConfigError::Variable(name))?;
            section.insert(field.to_owned(), literal(&value));
        }
        Ok(Self { sections, declared: BTreeMap::new() })
    }

    /// What a reader takes of a section: the fields that it has.
    pub(super) fn read<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> Result<T, ConfigError> {
        let fields = fields_of::<T>();
        self.declared.entry(name).or_default().extend(fields);
        let Some(value) = self.sections.get(name) else { return Ok(T::default()) };
        let own = match value {
            Value::Table(table) => {
                let mut own = table.clone();
                own.retain(|field, _| fields.contains(&field));
                own.into()
            }
            other => other.clone(),
        };
        // in a table, so that errors name the section
        let mut read: BTreeMap<String, T> = Table::from_iter([(name.to_owned(), own)]).try_into()?;
        Ok(read.remove(name).unwrap_or_default())
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
                return Err(ConfigError::Section { section: section.clone(), known });
            };
            let mut named = value.as_table().into_iter().flat_map(Table::keys);
            if let Some(field) = named.find(|field| !fields.contains(field.as_str())) {
                let known = fields.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(ConfigError::Field { section: section.clone(), field: field.clone(), known });
            }
        }
        Ok(())
    }
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
