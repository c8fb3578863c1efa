//! JSON whose objects are objects: what serde derives for a struct takes an array of its fields as well, in the order in which
//! they happen to stand in the source. Nobody wrote such a body on purpose, and no description of the API has it.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// Reads JSON, at every depth with objects where structs are.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(json).map(|Objects(value)| value)
}

/// A value that was read that way, by any deserializer.
pub struct Objects<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(Strict(deserializer)).map(Self)
    }
}

/// Stands before each part of serde's conversation, and asks for a map where a struct is asked for.
struct Strict<T>(T);

macro_rules! ask {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Strict(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Strict(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, Strict(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Strict(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, length, Strict(visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Strict(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(length, Strict(visitor))
    }

    ask! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! forward {
    ($($method:ident($what:ty))*) => {$(
        fn $method<E: serde::de::Error>(self, value: $what) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    forward! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128) visit_u8(u8) visit_u16(u16)
        visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64) visit_char(char) visit_str(&str)
        visit_borrowed_str(&'de str) visit_string(String) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Strict(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Strict(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Strict<A> {
    type Error = A::Error;
    type Variant = Strict<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        self.0.variant_seed(Strict(seed)).map(|(name, variant)| (name, Strict(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Strict(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(length, Strict(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Strict(visitor))
    }
}

#[cfg(test)]
mod tests {
    use nepto_proto::api::accounts::UpdateProfile;
    use nepto_proto::api::auth::RevokeByWallet;
    use nepto_proto::api::keys::UploadKeys;
    use serde::Serialize;

    use super::*;

    /// Whether it is read; and if so, to the same as without us.
    fn is_read<T: DeserializeOwned + Serialize>(json: &str) -> bool {
        let Ok(read) = from_slice::<T>(json.as_bytes()) else { return false };
        let plain: T = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(plain).unwrap(), "{json}");
        true
    }

    #[test]
    fn a_struct_is_an_object_at_every_depth() {
        assert!(is_read::<UpdateProfile>(r#"{"handle": "admin", "display_name": null}"#));
        assert!(!is_read::<UpdateProfile>(r#"["admin", null]"#));
        assert!(is_read::<RevokeByWallet>(r#"{"signed": {"message": "m", "signature": "0x"}}"#));
        assert!(!is_read::<RevokeByWallet>(r#"{"signed": ["m", "0x"]}"#));
        assert!(!is_read::<RevokeByWallet>(r#"[{"message": "m", "signature": "0x"}]"#));
        let key = r#"{"id": 1, "public_key": "BQ", "signature": "AA"}"#;
        assert!(is_read::<UploadKeys>(&format!(r#"{{"signed_prekey": {key}, "ec": [], "kyber": [{key}]}}"#)));
        assert!(!is_read::<UploadKeys>(&format!(r#"{{"kyber": [{key}, [1, "BQ", "AA"]]}}"#)));
        assert!(!is_read::<UploadKeys>(r#"{"signed_prekey": [1, "BQ", "AA"]}"#));
        // optional ones are no exception, and unknown fields still none
        assert!(!is_read::<UploadKeys>("[null, null, [], []]") && !is_read::<UploadKeys>(r#"{"odd": 1}"#));
    }

    #[test]
    fn the_error_says_what_is_expected() {
        let error = from_slice::<UpdateProfile>(b"[]").err().unwrap().to_string();
        assert!(error.contains("invalid type: sequence, expected struct UpdateProfile"), "{error}");
    }

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Unit,
        Wraps(Inner),
        Fields { inner: Inner },
        Pair(u8, Inner),
    }

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Inner {
        value: i64,
    }

    #[test]
    fn lists_maps_and_kinds_are_what_they_were() {
        type Nested = std::collections::BTreeMap<String, Vec<(u8, Option<Kind>)>>;
        for good in [
            r#"{"a": [[1, null], [2, "unit"]]}"#,
            r#"{"a": [[1, {"wraps": {"value": -1}}]], "b": [[3, {"fields": {"inner": {"value": 2}}}]]}"#,
            r#"{"a": [[1, {"pair": [1, {"value": 3}]}]]}"#,
        ] {
            assert!(is_read::<Nested>(good), "{good}");
        }
        for bad in [
            r#"{"a": [[1, {"wraps": [-1]}]]}"#,
            r#"{"a": [[1, {"fields": {"inner": [2]}}]]}"#,
            r#"{"a": [[1, {"pair": [1, [3]]}]]}"#,
        ] {
            assert!(!is_read::<Nested>(bad), "{bad}");
        }
    }
}
