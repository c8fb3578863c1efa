//! Reading the parts of a record's key, where it has several.

use surrealdb::types::{Number, RecordId, RecordIdKey, Value};

/// A text at a place of the key; `None` if there is none.
pub fn text(id: &RecordId, place: usize) -> Option<&str> {
    match part(id, place)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A number at a place of the key; `None` if there is none.
pub fn number(id: &RecordId, place: usize) -> Option<i64> {
    match part(id, place)? {
        Value::Number(Number::Int(number)) => Some(*number),
        _ => None,
    }
}

fn part(id: &RecordId, place: usize) -> Option<&Value> {
    match &id.key {
        RecordIdKey::Array(parts) => parts.get(place),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surrealdb::types::array;

    #[test]
    fn parts_are_read_as_what_they_are() {
        let id = RecordId::new("thing", array![7, "a"]);
        assert_eq!((number(&id, 0), text(&id, 1)), (Some(7), Some("a")));
        assert_eq!((text(&id, 0), number(&id, 1), number(&id, 2)), (None, None, None));
        assert_eq!(text(&RecordId::new("thing", "a"), 0), None);
    }
}
