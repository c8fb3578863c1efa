//! Signing in: message, signature, tokens.

use alloy_primitives::Address;
use nepto_proto::api::ServerInfo;
use nepto_proto::api::auth::Tokens;
use nepto_sdk_core::sign_in::{self, Asked, Signer};
use nepto_sdk_core::{Core, Env, SdkError, store};
use wasm_bindgen::prelude::*;

use crate::backend::Store;
use crate::device::Device;
use crate::env;
use crate::error::{Thrown, parse, read, write};

/// A sign-in that waits for the wallet and then for the server.
#[wasm_bindgen]
pub struct SignIn {
    store: store::Store,
    env: Env,
    info: ServerInfo,
    signer: Signer,
    asked: Asked,
}

#[wasm_bindgen]
impl SignIn {
    /// Words the message. `info` is the answer of `/v1/info`, `nonce` of `/v1/auth/nonce`; `host` is the one that the page came
    /// from, the only one that anything is signed for. `contract_chain` is the chain of a wallet that is a contract.
    #[wasm_bindgen(constructor)]
    pub fn new(
        store: Store,
        info: &str,
        nonce: String,
        host: &str,
        wallet: &str,
        contract_chain: Option<u64>,
        device_name: &str,
    ) -> Result<SignIn, JsValue> {
        let (env, info) = (env(), read::<ServerInfo>("info", info)?);
        if info.domain != host {
            let error = SdkError::DomainMismatch { url: host.to_owned(), domain: info.domain };
            return Err(Thrown::from(error).into());
        }
        let signer = Signer { address: parse::<Address>("address of a wallet", wallet)?, contract_chain };
        let asked = sign_in::check_clock(&info, &env)
            .and_then(|()| sign_in::ask(&store.0, &env, &info, nonce, signer, device_name))
            .map_err(Thrown::from)?;
        Ok(Self { store: store.0, env, info, signer, asked })
    }

    /// What the wallet signs (`personal_sign`).
    #[wasm_bindgen(getter)]
    pub fn text(&self) -> String {
        self.asked.text.clone()
    }

    /// The body of `POST /v1/auth/sign-in`.
    pub fn body(&self, signature: &[u8], invite: Option<String>) -> Result<String, JsValue> {
        Ok(write(&self.asked.answered(signature, invite))?)
    }

    /// Whether the keys of this store were those of a device that was removed. Then also the device that `tokens` are for is to be
    /// removed (`DELETE /v1/devices/{device}`), and one signs in again with the store that [`reset`](Self::reset) gives. Tokens
    /// of another account than before are refused; their device is to be removed too.
    #[wasm_bindgen(js_name = wasRemoved)]
    pub fn was_removed(&self, tokens: &str) -> Result<bool, JsValue> {
        let tokens: Tokens = read("tokens", tokens)?;
        Ok(self.asked.was_removed(&self.store, &tokens).map_err(Thrown::from)?)
    }

    /// Forgets the keys of a device that was removed, and nothing else.
    pub fn reset(self) -> Result<Store, JsValue> {
        sign_in::reset_installation(&self.store).map_err(Thrown::from)?;
        Ok(Store(self.store))
    }

    /// Keeps the tokens that the server answered with.
    pub fn finish(self, server: &str, tokens: &str) -> Result<Device, JsValue> {
        let tokens: Tokens = read("tokens", tokens)?;
        if self.asked.was_removed(&self.store, &tokens).map_err(Thrown::from)? {
            return Err(Thrown::Argument("this device was removed: it signs in again".to_owned()).into());
        }
        let finished = || {
            let name = &self.asked.device.name;
            let is_new = sign_in::record(&self.store, server, &self.info.domain, self.signer, name, &tokens)?;
            let mut core = Core::open(self.store, self.env)?;
            if is_new {
                core.set_outdated(core.me.account);
                core.greet_own_devices()?;
            }
            Ok(core)
        };
        Ok(Device::over(finished().map_err(|error: SdkError| Thrown::from(error))?))
    }
}
