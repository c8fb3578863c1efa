//! Columns and ids that stand for something. A row that has anything else in their place can't be read, and
//! [`DbError::Corrupt`](super::DbError::Corrupt) names it: it must not look like a row that is not there.

use std::fmt::{self, Display};
use std::str::FromStr;

use surrealdb::types::{Array, Bytes, Error, Kind, RecordId, RecordIdKey, SurrealValue, ToSql, Value};

/// Text that stands for an account, an address, a hash: whatever is written by `Display` and read by `FromStr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<T: FromStr + Display> SurrealValue for Text<T> {
    fn kind_of() -> Kind {
        String::kind_of()
    }

    fn into_value(self) -> Value {
        Value::String(self.0.to_string())
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let text = String::from_value(value)?;
        text.parse().map(Self).map_err(|_| not::<T>(&format!("{text:?}")))
    }
}

/// A number that stands for one of few: a device, a registration id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int<T>(pub T);

impl<T: TryFrom<u32> + Into<u32>> SurrealValue for Int<T> {
    fn kind_of() -> Kind {
        i64::kind_of()
    }

    fn into_value(self) -> Value {
        self.0.into().into_value()
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let number = u32::from_value(value)?;
        T::try_from(number).map(Self).map_err(|_| not::<T>(&number))
    }
}

/// A Protocol Buffers message.
#[derive(Debug, Clone, PartialEq)]
pub struct Body<T>(pub T);

impl<T: prost::Message + Default> SurrealValue for Body<T> {
    fn kind_of() -> Kind {
        Bytes::kind_of()
    }

    fn into_value(self) -> Value {
        Bytes::from(self.0.encode_to_vec()).into_value()
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let bytes = Bytes::from_value(value)?;
        T::decode(&bytes[..]).map(Self).map_err(|error| not::<T>(&error))
    }
}

/// Bytes that stand for something: an amount, what changed in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<T>(pub T);

/// What is kept as bytes of its own making.
pub trait Pack: Sized {
    /// As it is stored.
    fn pack(&self) -> Vec<u8>;
    /// Undoes it; `None` for bytes that nothing was packed into.
    fn unpack(bytes: &[u8]) -> Option<Self>;
}

impl<T: Pack> SurrealValue for Packed<T> {
    fn kind_of() -> Kind {
        Bytes::kind_of()
    }

    fn into_value(self) -> Value {
        Bytes::from(self.0.pack()).into_value()
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let bytes = Bytes::from_value(value)?;
        T::unpack(&bytes).map(Self).ok_or_else(|| not::<T>(&format!("what {} bytes hold", bytes.len())))
    }
}

/// Rows inside of an answer that has more than them. One that can't be read is named in the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<T>(pub Vec<T>);

impl<T: SurrealValue> SurrealValue for Rows<T> {
    fn kind_of() -> Kind {
        Vec::<T>::kind_of()
    }

    fn into_value(self) -> Value {
        self.0.into_value()
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let read = |row: Value| {
            let id = id_of(&row);
            T::from_value(row).map_err(|error| match id {
                Some(id) => Error::internal(format!("{}: {}", id.to_sql(), error.message())),
                None => error,
            })
        };
        Vec::from_value(value)?.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// The id of a row, for whoever can't read it.
pub(crate) fn id_of(row: &Value) -> Option<RecordId> {
    match row {
        Value::RecordId(id) => Some(id.clone()),
        Value::Object(fields) => match fields.get("id")? {
            Value::RecordId(id) => Some(id.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// What names the rows of a table.
pub trait Table {
    /// As SurrealQL has it.
    const NAME: &'static str;
    /// `[account]` or `[account, session]`.
    type Key: Key;
}

/// The part of a record's id behind its table.
pub trait Key: Sized {
    /// As it is stored.
    fn write(self) -> RecordIdKey;
    /// Fails for another kind of key.
    fn read(key: RecordIdKey) -> Result<Self, Error>;
}

impl Key for String {
    fn write(self) -> RecordIdKey {
        self.into()
    }

    fn read(key: RecordIdKey) -> Result<Self, Error> {
        Self::from_value(key.into_value())
    }
}

impl<T: FromStr + Display> Key for Text<T> {
    fn write(self) -> RecordIdKey {
        self.0.to_string().into()
    }

    fn read(key: RecordIdKey) -> Result<Self, Error> {
        Self::from_value(key.into_value())
    }
}

macro_rules! keys_of_parts {
    ($(($($part:ident $place:tt),+))+) => {$(
        impl<$($part: SurrealValue),+> Key for ($($part,)+) {
            fn write(self) -> RecordIdKey {
                RecordIdKey::Array(Array::from(vec![$(self.$place.into_value()),+]))
            }

            fn read(key: RecordIdKey) -> Result<Self, Error> {
                Self::from_value(key.into_value())
            }
        }
    )+};
}
keys_of_parts! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
}

/// The id of a row of a table.
pub struct Id<T: Table>(pub T::Key);

impl<T: Table> Id<T> {
    /// As a statement takes it.
    pub fn record(self) -> RecordId {
        RecordId::new(T::NAME, self.0.write())
    }
}

impl<T: Table> SurrealValue for Id<T> {
    fn kind_of() -> Kind {
        RecordId::kind_of()
    }

    fn into_value(self) -> Value {
        self.record().into_value()
    }

    fn from_value(value: Value) -> Result<Self, Error> {
        let id = RecordId::from_value(value)?;
        if id.table.as_str() != T::NAME {
            return Err(not::<T>(&id.table.as_str()));
        }
        T::Key::read(id.key).map(Self)
    }
}

impl<T: Table<Key: Clone>> Clone for Id<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Table<Key: Copy>> Copy for Id<T> {}

impl<T: Table<Key: PartialEq>> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Table<Key: Eq>> Eq for Id<T> {}

impl<T: Table<Key: fmt::Debug>> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", T::NAME, self.0)
    }
}

fn not<T>(what: &impl Display) -> Error {
    let name = std::any::type_name::<T>();
    Error::internal(format!("{what} is no {}", name.rsplit("::").next().unwrap_or(name)))
}
