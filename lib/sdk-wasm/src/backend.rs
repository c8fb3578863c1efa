//! Where JavaScript keeps sealed bytes.

use js_sys::{Array, Uint8Array};
use nepto_sdk_core::store::backend::{Backend, Batch, Durability, Entry};
use nepto_sdk_core::store::seal::Cost;
use nepto_sdk_core::store::{self, StoreError};
use wasm_bindgen::prelude::*;

use crate::env;
use crate::error::Thrown;

#[wasm_bindgen(typescript_custom_section)]
const BACKEND: &str = r#"
/** An ordered map of sealed bytes, on which batches are committed atomically. Each call is done when it returns, and throws
 * if it failed; a promise is refused. Keys are ordered byte by byte. */
export interface Backend {
    get(key: Uint8Array): Uint8Array | undefined;
    /** Up to `limit` pairs with `from <= key < to`, ascending or descending. */
    scan(from: Uint8Array, to: Uint8Array, descending: boolean, limit: number): [Uint8Array, Uint8Array][];
    /** All pairs or none; a value of `undefined` deletes. `durable`: safe from a power cut, with everything before it. */
    commit(batch: [Uint8Array, Uint8Array | undefined][], durable: boolean): undefined;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// An object with these methods.
    #[wasm_bindgen(typescript_type = "Backend")]
    pub type JsBackend;

    #[wasm_bindgen(method, catch)]
    fn get(this: &JsBackend, key: Uint8Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn scan(
        this: &JsBackend,
        from: Uint8Array,
        to: Uint8Array,
        descending: bool,
        limit: f64,
    ) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn commit(this: &JsBackend, batch: Array, durable: bool) -> Result<JsValue, JsValue>;
}

fn failed(thrown: JsValue) -> StoreError {
    let said = thrown.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    StoreError::io(said.or_else(|| thrown.as_string()).unwrap_or_else(|| "the backend failed".to_owned()))
}

fn bytes(value: &JsValue) -> Result<Vec<u8>, StoreError> {
    let bytes =
        value.dyn_ref::<Uint8Array>().ok_or_else(|| StoreError::io("the backend gave something else than bytes"))?;
    Ok(bytes.to_vec())
}

impl Backend for JsBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = JsBackend::get(self, key.into()).map_err(failed)?;
        if value.is_undefined() { Ok(None) } else { bytes(&value).map(Some) }
    }

    fn scan(&self, from: &[u8], to: &[u8], descending: bool, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let pairs = JsBackend::scan(self, from.into(), to.into(), descending, limit as f64).map_err(failed)?;
        let pairs =
            pairs.dyn_into::<Array>().map_err(|_| StoreError::io("the backend gave something else than pairs"))?;
        let pair = |pair: JsValue| {
            let pair: Array =
                pair.dyn_into().map_err(|_| StoreError::io("the backend gave something else than a pair"))?;
            Ok((bytes(&pair.get(0))?, bytes(&pair.get(1))?))
        };
        pairs.iter().map(pair).collect()
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let pairs = Array::new();
        for (key, value) in batch {
            let value = value.map_or(JsValue::UNDEFINED, |value| Uint8Array::from(value.as_slice()).into());
            pairs.push(&Array::of2(&Uint8Array::from(key.as_slice()), &value));
        }
        let done = JsBackend::commit(self, pairs, durability == Durability::Now).map_err(failed)?;
        // a promise is not done yet, and the frame that waits for this would leave before it is
        if done.is_undefined() { Ok(()) } else { Err(StoreError::io("the backend must be done when it returns")) }
    }
}

/// Everything a device knows, encrypted at rest.
#[wasm_bindgen]
pub struct Store(pub(crate) store::Store);

#[wasm_bindgen]
impl Store {
    /// In memory, gone with the page.
    #[wasm_bindgen(js_name = inMemory)]
    pub fn in_memory() -> Result<Store, JsValue> {
        Ok(Self(store::Store::in_memory(&env()).map_err(Thrown::from)?))
    }

    /// On a backend, under the passphrase of a person.
    pub fn open(backend: JsBackend, passphrase: &str) -> Result<Store, JsValue> {
        let opened = store::Store::open(Box::new(backend), passphrase, Cost::PERSON, &env());
        Ok(Self(opened.map_err(Thrown::from)?))
    }

    /// On a backend, under a random key that is kept somewhere safer: guessing it is hopeless already.
    #[wasm_bindgen(js_name = openWithKey)]
    pub fn open_with_key(backend: JsBackend, key: &str) -> Result<Store, JsValue> {
        Ok(Self(store::Store::open(Box::new(backend), key, Cost::LOW, &env()).map_err(Thrown::from)?))
    }
}
