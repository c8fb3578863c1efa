//! Sections of the configuration that domains declare.
//!
//! A section may have several readers: each declares the fields that are its own, and a field that none of them declares is
//! refused. So `[limits]` is one section of the file, and each limit belongs to the domain that enforces it.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::source::Source;
use super::{Config, ConfigError};

/// What one domain reads of a section: a struct with a default for every field, or a list for `[[section]]`.
pub trait Section: fmt::Debug + Default + DeserializeOwned + Send + Sync + 'static {
    /// `[NAME]` in the file.
    const NAME: &'static str;

    /// Refuses values that make no sense, alone or beside others.
    fn check(&self, _config: &Config) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// A [`Section`] in the list of its domain.
#[derive(Clone, Copy)]
pub struct Declared {
    read: fn(&mut Source) -> Result<Entry, ConfigError>,
    check: fn(&Config) -> Result<(), ConfigError>,
}

impl Declared {
    /// Declares that a domain reads this section, or some of its fields.
    pub const fn of<T: Section>() -> Self {
        Self {
            read: |source| Ok(Entry::new(source.read::<T>(T::NAME)?)),
            check: |config| config.section::<T>().check(config),
        }
    }

    pub(super) fn check(self, config: &Config) -> Result<(), ConfigError> {
        (self.check)(config)
    }
}

/// What the domains read, by its type.
#[derive(Clone, Default)]
pub(super) struct Sections(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    kind: TypeId,
    name: &'static str,
    value: Arc<dyn Value>,
}

trait Value: Any + fmt::Debug + Send + Sync {}

impl<T: Section> Value for T {}

impl Entry {
    fn new<T: Section>(section: T) -> Self {
        Self { kind: TypeId::of::<T>(), name: T::NAME, value: Arc::new(section) }
    }
}

impl Sections {
    pub(super) fn read(declared: &[Declared], source: &mut Source) -> Result<Self, ConfigError> {
        declared.iter().map(|section| (section.read)(source)).collect::<Result<_, _>>().map(Self)
    }

    /// One that nobody declared has its defaults: had the file anything of it, the file would have been refused.
    pub(super) fn get<T: Section>(&self) -> Arc<T> {
        let found = self.0.iter().find(|entry| entry.kind == TypeId::of::<T>());
        let value = found.map(|entry| -> Arc<dyn Any + Send + Sync> { entry.value.clone() });
        value.and_then(|value| value.downcast::<T>().ok()).unwrap_or_default()
    }

    pub(super) fn set<T: Section>(&mut self, section: T) {
        self.0.retain(|entry| entry.kind != TypeId::of::<T>());
        self.0.push(Entry::new(section));
    }
}

impl fmt::Debug for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|entry| (entry.name, &entry.value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Doors {
        open_max: u32,
    }

    impl Section for Doors {
        const NAME: &'static str = "house";

        fn check(&self, config: &Config) -> Result<(), ConfigError> {
            match self.open_max > config.section::<Rooms>().rooms {
                true => Err(ConfigError::value("house.open_max", "there are fewer rooms")),
                false => Ok(()),
            }
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Rooms {
        rooms: u32,
        name: String,
    }

    impl Default for Rooms {
        fn default() -> Self {
            Self { rooms: 3, name: String::new() }
        }
    }

    impl Section for Rooms {
        const NAME: &'static str = "house";
    }

    const HOUSE: [Declared; 2] = [Declared::of::<Doors>(), Declared::of::<Rooms>()];

    fn parsed(text: &str) -> Result<Config, String> {
        Config::parse(text, [], &HOUSE).map_err(|error| error.to_string())
    }

    #[test]
    fn two_readers_share_a_section_of_the_file() {
        let config = parsed("[house]\nrooms = 9\nopen_max = 4\n").unwrap();
        assert_eq!(*config.section::<Doors>(), Doors { open_max: 4 });
        assert_eq!(*config.section::<Rooms>(), Rooms { rooms: 9, name: String::new() });
        assert_eq!(*parsed("").unwrap().section::<Rooms>(), Rooms::default());
        let set = [("NEPTO_HOUSE__NAME".to_owned(), "home".to_owned())];
        assert_eq!(Config::parse("", set, &HOUSE).unwrap().section::<Rooms>().name, "home");
    }

    #[test]
    fn what_no_reader_declares_is_refused_with_what_there_is() {
        let error = parsed("[house]\nroms = 1\n").unwrap_err();
        assert!(error.contains("`roms` in [house]") && error.contains("name, open_max, rooms"), "{error}");
        let error = parsed("[hause]\n").unwrap_err();
        assert!(error.contains("[hause]") && error.contains("house"), "{error}");
        let error = Config::parse("[house]\n", [], &[]).unwrap_err().to_string();
        assert!(error.contains("[house]"), "nobody declares it: {error}");
    }

    #[test]
    fn errors_name_the_section_and_the_field() {
        for text in ["[house]\nrooms = true\n", "house = 3\n", "[[house]]\n"] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains("house"), "{text}: {error}");
        }
        let error = parsed("[house]\nrooms = true\n").unwrap_err();
        assert!(error.contains("house.rooms"), "{error}");
        let error = parsed("[house]\nopen_max = 4\n").unwrap_err();
        assert!(error.contains("house.open_max: there are fewer rooms"), "{error}");
    }
}
