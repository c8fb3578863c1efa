//! What is thrown: an `Error` with the words for a person and, where there is one, the stable `code`.

use js_sys::{Error, Reflect};
use nepto_sdk_core::SdkError;
use nepto_sdk_core::store::StoreError;
use wasm_bindgen::JsValue;

/// Something to throw.
pub enum Thrown {
    /// An error of the core, thrown with its stable code where it has one.
    Sdk(SdkError),
    /// What was handed in is not what it should be.
    Argument(String),
}

impl From<SdkError> for Thrown {
    fn from(error: SdkError) -> Self {
        Self::Sdk(error)
    }
}

impl From<StoreError> for Thrown {
    fn from(error: StoreError) -> Self {
        Self::Sdk(error.into())
    }
}

impl From<Thrown> for JsValue {
    fn from(thrown: Thrown) -> Self {
        let (text, code) = match thrown {
            Thrown::Sdk(error) => (error.to_string(), error.code()),
            Thrown::Argument(text) => (text, None),
        };
        let error = Error::new(&text);
        if let Some(code) = code {
            // a fresh object takes any property
            let _ = Reflect::set(&error, &"code".into(), &code.to_string().into());
        }
        error.into()
    }
}

/// Reads a JSON body.
pub fn read<T: serde::de::DeserializeOwned>(what: &str, json: &str) -> Result<T, Thrown> {
    serde_json::from_str(json).map_err(|error| Thrown::Argument(format!("{what}: {error}")))
}

/// Writes a JSON body.
pub fn write(body: &impl serde::Serialize) -> Result<String, Thrown> {
    serde_json::to_string(body).map_err(|error| Thrown::Argument(error.to_string()))
}

/// Reads an id, an address or the like.
pub fn parse<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Thrown> {
    text.parse().map_err(|_| Thrown::Argument(format!("{text:?} is no {what}")))
}
