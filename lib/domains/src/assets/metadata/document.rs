//! What a file about a token says ([ERC-721] and [ERC-1155], and what markets made of them), read as leniently as people
//! write it: what has another form than expected is left out.
//!
//! Nothing here computes with a number, so it keeps its digits: a seed of 256 bits is no floating-point number, and JSON
//! sets numbers no bound (RFC 8259, section 6).
//!
//! [ERC-721]: https://eips.ethereum.org/EIPS/eip-721
//! [ERC-1155]: https://eips.ethereum.org/EIPS/eip-1155

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::problem::Problem;
use crate::text;

const NAME_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 5_000;
const ATTRIBUTES_MAX: usize = 100;
const ATTRIBUTE_NAME_CHARS_MAX: usize = 100;
const ATTRIBUTE_VALUE_CHARS_MAX: usize = 300;
/// Characters of a number: 256 bits have 78 digits. A longer one is left out, because a part of it is another number.
const NUMBER_CHARS_MAX: usize = 100;
/// An address of an image; one that holds the image itself may be as long as the file.
const IMAGE_URI_BYTES_MAX: usize = 4_096;

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    pub name: Option<String>,
    pub description: Option<String>,
    /// Where its image is: any kind of URI.
    pub image: Option<String>,
    /// Names, which may be empty, and values.
    pub attributes: Vec<(String, String)>,
}

/// The fields of an object, each as it was written.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a file.
pub fn read(file: &[u8]) -> Result<Document, Problem> {
    // line breaks within strings are no JSON, and common
    let text: String = String::from_utf8_lossy(file).chars().map(|char| if char < ' ' { ' ' } else { char }).collect();
    let value = serde_json::from_str(text.trim_start_matches('\u{feff}'));
    let value: &RawValue = value.map_err(|error| Problem::unreadable(format!("not JSON: {error}")))?;
    let fields = object(value).ok_or_else(|| Problem::unreadable("a JSON object is expected"))?;
    let first = |names: &[&str]| names.iter().find_map(|name| scalar(fields.get(*name)?));
    let shown = |text: String| (!text.is_empty()).then_some(text);
    let image = first(&["image", "image_url", "imageUrl"]).map(|uri| uri.trim().to_owned());
    let fits = |uri: &String| {
        let holds_it = uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
        !uri.is_empty() && (holds_it || uri.len() <= IMAGE_URI_BYTES_MAX)
    };
    Ok(Document {
        name: first(&["name", "title"]).and_then(|name| shown(text::line(&name, NAME_CHARS_MAX))),
        description: first(&["description"]).and_then(|text| shown(text::lines(&text, DESCRIPTION_CHARS_MAX))),
        image: image.filter(fits),
        attributes: attributes(&fields),
    })
}

fn object(value: &RawValue) -> Option<Fields<'_>> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    value.get().starts_with('[').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// A text, or what is written like one.
fn scalar(value: &RawValue) -> Option<String> {
    let written = value.get();
    match written.bytes().next()? {
        b'"' => serde_json::from_str(written).ok(),
        b't' | b'f' => Some(written.to_owned()),
        b'-' | b'0'..=b'9' => (written.len() <= NUMBER_CHARS_MAX).then(|| written.to_owned()),
        _ => None,
    }
}

fn attributes(fields: &Fields<'_>) -> Vec<(String, String)> {
    let given = ["attributes", "traits", "properties"].iter().find_map(|name| fields.get(*name));
    let attribute = |(name, value): (String, String)| {
        let name = text::line(&name, ATTRIBUTE_NAME_CHARS_MAX);
        let value = text::line(&value, ATTRIBUTE_VALUE_CHARS_MAX);
        (!value.is_empty()).then_some((name, value))
    };
    let Some(given) = given else { return Vec::new() };
    let found = match (list(given), object(given)) {
        (Some(list), _) => list.into_iter().filter_map(listed).collect(),
        (_, Some(map)) => map.into_iter().filter_map(mapped).collect(),
        (None, None) => Vec::new(),
    };
    found.into_iter().filter_map(attribute).take(ATTRIBUTES_MAX).collect()
}

/// `{"trait_type": …, "value": …}`, or only a value.
fn listed(entry: &RawValue) -> Option<(String, String)> {
    let Some(fields) = object(entry) else { return Some((String::new(), scalar(entry)?)) };
    let name = ["trait_type", "name", "key"].iter().find_map(|name| scalar(fields.get(*name)?));
    Some((name.unwrap_or_default(), scalar(fields.get("value")?)?))
}

/// `"name": value`, or `"name": {"value": …}`.
fn mapped((name, value): (String, &RawValue)) -> Option<(String, String)> {
    let value = match object(value) {
        Some(fields) => scalar(fields.get("value")?),
        None => scalar(value),
    };
    Some((name, value?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::api::assets::MetadataReason;
    use proptest::prelude::*;

    fn read_text(text: &str) -> Document {
        read(text.as_bytes()).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_file_as_it_should_be() {
        let read = read_text(
            r#"{"name": "Pass #1", "description": "One\nTwo", "image": "ipfs://Qm/1.png", "external_url": "https://x",
                "attributes": [{"trait_type": "Level", "value": 5, "display_type": "number"},
                               {"trait_type": "Hat", "value": "none"}, {"value": "only"}]}"#,
        );
        assert_eq!((read.name.as_deref(), read.description.as_deref()), (Some("Pass #1"), Some("One\nTwo")));
        assert_eq!(read.image.as_deref(), Some("ipfs://Qm/1.png"));
        assert_eq!(read.attributes, pairs(&[("Level", "5"), ("Hat", "none"), ("", "only")]));
    }

    #[test]
    fn files_as_people_write_them() {
        let odd = read_text("\u{feff} {\"name\": 7, \"description\": \"a raw\nbreak\", \"image\": {\"url\": \"x\"}}");
        assert_eq!(
            (odd.name.as_deref(), odd.description.as_deref(), odd.image),
            (Some("7"), Some("a raw break"), None)
        );
        let market =
            read_text(r#"{"title": "T", "image_url": " https://a/b ", "traits": ["red", null, {"name": "n"}]}"#);
        assert_eq!((market.name.as_deref(), market.image.as_deref()), (Some("T"), Some("https://a/b")));
        assert_eq!(market.attributes, pairs(&[("", "red")]));
        let map =
            read_text(r#"{"properties": {"color": "red", "size": {"name": "Size", "value": 3}, "deep": {"a": []}}}"#);
        assert_eq!(map.attributes, pairs(&[("color", "red"), ("size", "3")]));
        assert_eq!(read(b"{\"name\": \"\xff\"}").unwrap().name.as_deref(), Some("\u{fffd}"));
        assert_eq!(read_text("{}"), Document::default());
    }

    #[test]
    fn numbers_keep_their_digits_and_none_is_too_large() {
        let seed = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let long = "7".repeat(NUMBER_CHARS_MAX + 1);
        let read = read_text(&format!(
            r#"{{"name": {seed}, "attributes": [{{"trait_type": "Seed", "value": {seed}}}, -{seed}, 1e400, 1.10, {long}, true]}}"#
        ));
        assert_eq!(read.name.as_deref(), Some(seed));
        let negative = format!("-{seed}");
        let values = [("Seed", seed), ("", &negative), ("", "1e400"), ("", "1.10"), ("", "true")];
        assert_eq!(read.attributes, pairs(&values));
        // what nobody reads spoils nothing beside it
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let beside = read_text(&format!(r#"{{"name": "n", "x": 1e999, "y": {deep}, "description": "\ud800"}}"#));
        assert_eq!(beside, Document { name: Some("n".into()), ..Document::default() });
    }

    #[test]
    fn everything_has_a_bound() {
        let many: Vec<serde_json::Value> =
            (0..10_000).map(|n| serde_json::json!({ "trait_type": "x".repeat(999), "value": n })).collect();
        let long = "x".repeat(100_000);
        let file = serde_json::json!({ "name": long, "description": long, "image": long, "attributes": many });
        let read = read_text(&file.to_string());
        assert_eq!(read.name.map(|name| name.len()), Some(NAME_CHARS_MAX));
        assert_eq!(read.description.map(|text| text.len()), Some(DESCRIPTION_CHARS_MAX));
        assert_eq!((read.image, read.attributes.len()), (None, ATTRIBUTES_MAX));
        assert!(read.attributes.iter().all(|(name, _)| name.len() <= ATTRIBUTE_NAME_CHARS_MAX));
        let held = format!("data:image/png;base64,{long}");
        let file = serde_json::json!({ "image": held });
        assert_eq!(read_text(&file.to_string()).image, Some(held));
    }

    #[test]
    fn what_is_no_description_is_said_so() {
        let deep = "[".repeat(10_000);
        for file in ["", "<html>", "[]", "\"text\"", "null", "{\"name\":", &deep] {
            assert_eq!(read(file.as_bytes()).unwrap_err().reason, MetadataReason::Unreadable, "{file:.20}");
        }
    }

    proptest! {
        #[test]
        fn no_file_breaks_it(file in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&file);
        }
    }
}
