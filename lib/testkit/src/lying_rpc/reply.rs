//! An answer to one request, before it has an id.

use serde_json::{Value, json};

/// A result or an error, and the status of HTTP that comes with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub status: u16,
    pub retry_after_s: Option<u64>,
    /// `{"result": …}` or `{"error": …}`
    body: Value,
}

impl Reply {
    pub fn result(result: Value) -> Self {
        Self { status: 200, retry_after_s: None, body: json!({ "result": result }) }
    }

    pub fn error(code: i64, message: String) -> Self {
        Self { status: 200, retry_after_s: None, body: json!({ "error": { "code": code, "message": message } }) }
    }

    /// An answer of the chain, whatever it is.
    pub fn of_chain(mut answer: Value) -> Self {
        match answer.get_mut("result") {
            Some(result) => Self::result(result.take()),
            None => Self { status: 200, retry_after_s: None, body: json!({ "error": answer["error"] }) },
        }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds `data` to an error.
    pub fn data(mut self, data: Value) -> Self {
        self.body["error"]["data"] = data;
        self
    }

    /// The result, if it is one.
    pub fn result_mut(&mut self) -> Option<&mut Value> {
        self.body.get_mut("result")
    }

    /// As it is sent.
    pub fn to_json(&self, id: &Value) -> Value {
        let mut json = self.body.clone();
        json["jsonrpc"] = "2.0".into();
        json["id"] = id.clone();
        json
    }
}
