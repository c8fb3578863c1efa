//! How what stands in an expression is read, written and described. Each thing is declared once, and all three follow from it.

use serde_json::{Map, Value, json};

use super::error::{GateCode, GateError, Place};

/// Something that stands in an expression.
pub trait Field: Sized {
    /// Whether it may be left out.
    const IS_OPTIONAL: bool = false;
    /// How many of it a list has at most.
    const LIST_MAX: usize = 20;

    /// Reads it. Errors name the place.
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError>;

    /// What it is where it was left out.
    fn absent(at: &Place<'_>) -> Result<Self, GateError> {
        Err(at.error(GateCode::FieldMissing, MISSING))
    }

    /// In its one form; nothing if it is left out.
    fn write(&self) -> Option<Value>;

    /// Its JSON Schema.
    fn schema() -> Value;
}

const MISSING: &str = "this field is missing; add it";

/// Another kind of value belongs here.
pub fn wrong_type(at: &Place<'_>, wanted: &str) -> GateError {
    at.error(GateCode::WrongType, format!("{wanted} belongs here"))
}

/// A text, or an error that says what it should be.
pub fn text<'v>(value: &'v Value, at: &Place<'_>, wanted: &str) -> Result<&'v str, GateError> {
    value.as_str().ok_or_else(|| wrong_type(at, &format!("a text with {wanted}")))
}

/// A whole number of JSON within bounds.
pub fn number(value: &Value, at: &Place<'_>, bounds: std::ops::RangeInclusive<u32>) -> Result<u32, GateError> {
    let words = || format!("a whole number from {} to {}, without quotes", bounds.start(), bounds.end());
    if !value.is_number() {
        return Err(wrong_type(at, &words()));
    }
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| bounds.contains(number)).ok_or_else(|| at.error(GateCode::OutOfRange, words()))
}

/// The schema of such a number.
pub fn number_schema(bounds: &std::ops::RangeInclusive<u32>) -> Value {
    json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() })
}

impl<T: Field> Field for Option<T> {
    const IS_OPTIONAL: bool = true;

    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        T::read(value, at).map(Some)
    }

    fn absent(_: &Place<'_>) -> Result<Self, GateError> {
        Ok(None)
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(T::write)
    }

    fn schema() -> Value {
        T::schema()
    }
}

/// A list has at least one entry, and none twice.
impl<T: Field + PartialEq> Field for Vec<T> {
    fn read(value: &Value, at: &Place<'_>) -> Result<Self, GateError> {
        let entries = value.as_array().ok_or_else(|| wrong_type(at, "a list"))?;
        if entries.is_empty() {
            return Err(at.error(GateCode::ListEmpty, "this list is empty; it needs an entry"));
        }
        if entries.len() > T::LIST_MAX {
            let detail = format!("this list has {} entries, of at most {}", entries.len(), T::LIST_MAX);
            return Err(at.error(GateCode::ListTooLong, detail));
        }
        let mut list = Self::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let place = at.index(index);
            let entry = T::read(entry, &place)?;
            if list.contains(&entry) {
                return Err(place.error(GateCode::Repeated, "this stands in the list before; leave it out"));
            }
            list.push(entry);
        }
        Ok(list)
    }

    fn write(&self) -> Option<Value> {
        Some(self.iter().filter_map(T::write).collect())
    }

    fn schema() -> Value {
        json!({
            "type": "array", "items": T::schema(), "minItems": 1, "maxItems": T::LIST_MAX, "uniqueItems": true,
        })
    }
}

/// The fields of an object.
pub struct Fields<'v> {
    object: &'v Map<String, Value>,
    at: &'v Place<'v>,
}

impl<'v> Fields<'v> {
    /// Those of an object that has no others than these.
    pub fn of(value: &'v Value, at: &'v Place<'v>, names: &[&str]) -> Result<Self, GateError> {
        let object = value.as_object().ok_or_else(|| wrong_type(at, "an object"))?;
        if let Some(unknown) = object.keys().find(|name| !names.contains(&name.as_str())) {
            let detail = format!("there is no such field here; there are {}", names.join(", "));
            return Err(at.name(unknown).error(GateCode::FieldUnknown, detail));
        }
        Ok(Self { object, at })
    }

    /// What is behind a name that must be there.
    pub fn get(&self, name: &str) -> Result<&'v Value, GateError> {
        self.object.get(name).ok_or_else(|| self.at.name(name).error(GateCode::FieldMissing, MISSING))
    }

    /// One of them.
    pub fn read<T: Field>(&self, name: &str) -> Result<T, GateError> {
        let place = self.at.name(name);
        match self.object.get(name) {
            Some(value) => T::read(value, &place),
            None => T::absent(&place),
        }
    }
}

/// The schema of an object: name, words, schema and whether it may be left out, of each field.
pub fn object_schema(words: &str, fields: Vec<(&str, &str, Value, bool)>) -> Value {
    let required: Vec<&str> = fields.iter().filter(|field| !field.3).map(|field| field.0).collect();
    let mut properties = Map::new();
    for (name, words, schema, _) in fields {
        properties.insert(name.to_owned(), described(schema, words));
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    object["required"] = json!(required);
    described(object, words)
}

/// A schema with words for people, which go before those that it has.
pub fn described(mut schema: Value, words: &str) -> Value {
    if let Some(object) = schema.as_object_mut().filter(|_| !words.trim().is_empty()) {
        object.insert("description".to_owned(), words.trim().into());
    }
    schema
}

/// Declares objects of an expression: `Name { field: Type, … }`, each with its words.
macro_rules! records {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $field_doc:literal])+ $field:ident: $kind:ty,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $kind,)+ }

        impl $crate::gate::field::Field for $name {
            fn read(
                value: &serde_json::Value,
                at: &$crate::gate::error::Place<'_>,
            ) -> Result<Self, $crate::gate::error::GateError> {
                let fields = $crate::gate::field::Fields::of(value, at, &[$(stringify!($field)),+])?;
                Ok(Self { $($field: fields.read(stringify!($field))?,)+ })
            }

            fn write(&self) -> Option<serde_json::Value> {
                let mut written = serde_json::Map::new();
                $(if let Some(value) = $crate::gate::field::Field::write(&self.$field) {
                    written.insert(stringify!($field).to_owned(), value);
                })+
                Some(written.into())
            }

            fn schema() -> serde_json::Value {
                $crate::gate::field::object_schema(concat!($($doc),+), vec![$((
                    stringify!($field),
                    concat!($($field_doc),+),
                    <$kind as $crate::gate::field::Field>::schema(),
                    <$kind as $crate::gate::field::Field>::IS_OPTIONAL,
                )),+])
            }
        }
    )+};
}
pub(super) use records;
