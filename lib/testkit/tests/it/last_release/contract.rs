//! Whether clients that were made for one description of the HTTP API are served by what another one describes.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What of `before` is not so `now`, in words; nothing if every client goes on.
pub fn broken(before: &Value, now: &Value) -> Vec<String> {
    let mut comparison = Comparison { before, now, problems: Vec::new(), seen: BTreeSet::new() };
    for (path, methods) in object(&before["paths"]) {
        for (method, operation) in object(methods) {
            if let Some(today) = now["paths"].get(path).and_then(|methods| methods.get(method)) {
                comparison.operation(&format!("{method} {path}"), operation, today);
            } else {
                comparison.problems.push(format!("{method} {path} is gone"));
            }
        }
    }
    comparison.problems
}

/// Who reads what the schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reader {
    /// An older client, an answer.
    Client,
    /// Today's server, a request of an older client.
    Server,
}

struct Comparison<'a> {
    before: &'a Value,
    now: &'a Value,
    problems: Vec<String>,
    /// Named schemas refer to each other in circles.
    seen: BTreeSet<(String, String, Reader)>,
}

impl<'a> Comparison<'a> {
    fn operation(&mut self, at: &str, before: &'a Value, now: &'a Value) {
        let key = |parameter: &Value| (parameter["name"].to_string(), parameter["in"].to_string());
        let (old, new) = (list(&before["parameters"]), list(&now["parameters"]));
        for parameter in old {
            match new.iter().find(|today| key(today) == key(parameter)) {
                Some(today) => {
                    let at = format!("{at}, parameter {}", parameter["name"]);
                    self.required(&at, is(parameter, "required"), is(today, "required"));
                    self.schema(&at, Reader::Server, &parameter["schema"], &today["schema"]);
                }
                None => self.problems.push(format!("{at}: the parameter {} is gone", parameter["name"])),
            }
        }
        for parameter in new.iter().filter(|today| !old.iter().any(|parameter| key(parameter) == key(today))) {
            self.required(&format!("{at}, parameter {}", parameter["name"]), false, is(parameter, "required"));
        }
        if let Some(body) = now.get("requestBody") {
            self.required(&format!("{at}, body"), is(&before["requestBody"], "required"), is(body, "required"));
        }
        self.bodies(at, Reader::Server, &before["requestBody"], &now["requestBody"]);
        for (status, answer) in object(&before["responses"]).filter(|(status, _)| status.starts_with('2')) {
            match now["responses"].get(status) {
                Some(today) => self.bodies(&format!("{at}, answer {status}"), Reader::Client, answer, today),
                None => self.problems.push(format!("{at} does not answer {status} any more")),
            }
        }
    }

    fn required(&mut self, at: &str, before: bool, now: bool) {
        if now && !before {
            self.problems.push(format!("{at}: required, which it was not"));
        }
    }

    fn bodies(&mut self, at: &str, reader: Reader, before: &'a Value, now: &'a Value) {
        for (kind, body) in object(&before["content"]) {
            match now["content"].get(kind) {
                Some(today) => self.schema(at, reader, &body["schema"], &today["schema"]),
                None => self.problems.push(format!("{at}: no {kind} any more")),
            }
        }
    }

    fn schema(&mut self, at: &str, reader: Reader, before: &'a Value, now: &'a Value) {
        if let (Some(old), Some(new)) = (before["$ref"].as_str(), now["$ref"].as_str())
            && !self.seen.insert((old.to_owned(), new.to_owned(), reader))
        {
            return;
        }
        let (before, now) = (named(self.before, before), named(self.now, now));
        for word in ["oneOf", "anyOf", "allOf"] {
            self.alternatives(at, word, reader, list(&before[word]), list(&now[word]));
        }
        for word in ["type", "format", "additionalProperties", "contentEncoding"] {
            if before[word] != now[word] && !before[word].is_object() {
                self.problems.push(format!("{at}: {word} was {}, and is {}", before[word], now[word]));
            }
        }
        for word in ["items", "additionalProperties"] {
            if before[word].is_object() {
                self.schema(&format!("{at}[]"), reader, &before[word], &now[word]);
            }
        }
        self.words(at, reader, before, now);
        self.fields(at, reader, before, now);
    }

    /// Each alternative that the reader may get must be one that it knows.
    fn alternatives(&mut self, at: &str, word: &str, reader: Reader, before: &'a [Value], now: &'a [Value]) {
        let (sent, known) = match reader {
            Reader::Client => (now, before),
            Reader::Server => (before, now),
        };
        for alternative in sent {
            let fits = |other: &&Value| {
                let (old, new) = match reader {
                    Reader::Client => (*other, alternative),
                    Reader::Server => (alternative, *other),
                };
                let mut trial =
                    Comparison { before: self.before, now: self.now, problems: Vec::new(), seen: self.seen.clone() };
                trial.schema(at, reader, old, new);
                trial.problems.is_empty()
            };
            if !known.iter().any(|other| fits(&other)) {
                self.problems.push(format!("{at}: not every kind of {word} is known"));
            }
        }
        if sent.is_empty() != known.is_empty() {
            self.problems.push(format!("{at}: {word} on one side only"));
        }
    }

    fn words(&mut self, at: &str, reader: Reader, before: &Value, now: &Value) {
        let (old, new) = (list(&before["enum"]), list(&now["enum"]));
        let (sent, known) = match reader {
            Reader::Client => (new, old),
            Reader::Server => (old, new),
        };
        for word in sent.iter().filter(|word| !known.is_empty() && !known.contains(word)) {
            self.problems.push(format!("{at}: the word {word} is not known to who reads it"));
        }
    }

    fn fields(&mut self, at: &str, reader: Reader, before: &'a Value, now: &'a Value) {
        let (old, new) = (list(&before["required"]), list(&now["required"]));
        for (field, schema) in object(&before["properties"]) {
            let at = format!("{at}.{field}");
            match now["properties"].get(field) {
                Some(today) => self.schema(&at, reader, schema, today),
                None => self.problems.push(format!("{at} is gone")),
            }
        }
        let (needed, given) = match reader {
            Reader::Client => (old, new),
            Reader::Server => (new, old),
        };
        for field in needed.iter().filter(|field| !given.contains(field)) {
            self.problems.push(format!("{at}: {field} may be missing, and whoever reads it needs it"));
        }
    }
}

/// What a reference refers to.
fn named<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is(value: &Value, field: &str) -> bool {
    value[field] == true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn description(request: Value, answer: Value) -> Value {
        let body = |schema: Value| json!({ "application/json": { "schema": schema } });
        json!({ "paths": { "/a": { "post": {
            "requestBody": { "required": true, "content": body(request) },
            "responses": { "200": { "content": body(answer) } },
        } } } })
    }

    #[test]
    fn what_breaks_a_client_is_found_and_what_does_not_is_left_alone() {
        let text = || json!({ "type": "string" });
        let fields = |required: &[&str], more: &str| {
            let mut fields = json!({ "type": "object", "required": required, "properties": { "x": text() } });
            fields["properties"][more] = text();
            fields
        };
        let words = |words: &[&str]| json!({ "type": "string", "enum": words });
        let before = description(fields(&["x"], "y"), fields(&["x"], "y"));
        let count = |request, answer| broken(&before, &description(request, answer)).len();
        assert_eq!(count(fields(&["x"], "y"), fields(&["x"], "y")), 0);
        assert_eq!(count(fields(&[], "y"), fields(&["x", "y"], "y")), 0, "a request may say less, an answer more");
        assert_eq!(count(fields(&["x", "y"], "y"), fields(&["x"], "y")), 1, "a request must say more");
        assert_eq!(count(fields(&["x"], "y"), fields(&[], "y")), 1, "an answer may lack what was always there");
        assert_eq!(count(fields(&["x"], "z"), fields(&["x"], "y")), 1, "a field of requests is gone");
        assert_eq!(count(fields(&["x"], "y"), text()), 4, "another type without the fields");

        let before = description(words(&["a", "b"]), words(&["a", "b"]));
        let count = |request, answer| broken(&before, &description(request, answer)).len();
        assert_eq!(count(words(&["a", "b", "c"]), words(&["a"])), 0);
        assert_eq!(count(words(&["a"]), words(&["a", "b"])), 1, "a request's word is gone");
        assert_eq!(count(words(&["a", "b"]), words(&["a", "b", "c"])), 1, "an answer has a new word");
    }
}
