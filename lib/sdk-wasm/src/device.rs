//! A signed-in device.

use nepto_proto::api::auth::Tokens;
use nepto_proto::api::keys::{DeviceDirectory, KeyCount, PrekeyBundles, UploadKeys};
use nepto_proto::wire::{Ack, ClientFrame, Hello, ServerFrame, client_frame, server_frame};
use nepto_proto::{AccountId, ErrorCode};
use nepto_sdk_core::model::ConversationState;
use nepto_sdk_core::{Core, Event, Outgoing, Prepared, Received, SdkError};
use prost::Message as _;
use wasm_bindgen::prelude::*;

use crate::backend::Store;
use crate::env;
use crate::error::{Thrown, parse, read, write};

/// Messages of a conversation that are read at once.
const HISTORY_MAX: u32 = 1_000;

/// A device, its conversations and its queue.
#[wasm_bindgen]
pub struct Device {
    core: Core,
    /// The frame that waits for its answer.
    sending: Option<Sending>,
    /// The newest delivery that is in the store.
    received: u64,
    last_id: u32,
}

struct Sending {
    id: u32,
    item: Outgoing,
    sync_later: bool,
}

/// What the device needs next, or has to say. One of these.
#[wasm_bindgen(getter_with_clone)]
#[derive(Default)]
pub struct Step {
    /// Send this frame over the socket.
    pub frame: Option<Vec<u8>>,
    /// Fetch the directory of this account, and try again.
    pub directory: Option<String>,
    /// Fetch bundles of this account, for these `devices`, and try again.
    pub bundles: Option<String>,
    /// Numbers of devices.
    pub devices: Vec<u32>,
    /// What happened: a JSON array of events.
    pub events: Option<String>,
}

impl Step {
    fn directory(account: AccountId) -> Self {
        Self { directory: Some(text(account)), ..Self::default() }
    }

    fn events(events: &[Event]) -> Result<Self, Thrown> {
        Ok(Self { events: Some(write(&events)?), ..Self::default() })
    }
}

impl Device {
    pub(crate) fn over(core: Core) -> Self {
        Self { core, sending: None, received: 0, last_id: 0 }
    }

    fn frame(&mut self, kind: client_frame::Kind) -> (u32, Vec<u8>) {
        // 0 means that no reply is wanted
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        (self.last_id, ClientFrame { id: self.last_id, kind: Some(kind) }.encode_to_vec())
    }

    fn next_step(&mut self) -> Result<Option<Step>, Thrown> {
        let Some(item) = self.core.queue_heads(&|_| false, 1)?.pop() else { return Ok(None) };
        let prepared = match self.core.prepare(&item) {
            Ok(prepared) => prepared,
            Err(error) => match error.lasting() {
                Some(failure) => return Ok(Some(Step::events(&self.core.failed(&item, failure)?)?)),
                None => return Err(error.into()),
            },
        };
        Ok(Some(match prepared {
            Prepared::Frame(prepared) => {
                let (id, frame) = self.frame(client_frame::Kind::SendDm(prepared.send));
                self.sending = Some(Sending { id, item, sync_later: prepared.sync_later });
                Step { frame: Some(frame), ..Step::default() }
            }
            Prepared::Local => Step::events(&self.core.sent(&item, false)?)?,
            Prepared::NeedDirectory(account) => Step::directory(account),
            Prepared::NeedBundles(account, devices) => Step {
                bundles: Some(text(account)),
                devices: devices.into_iter().map(u32::from).collect(),
                ..Step::default()
            },
        }))
    }

    fn take(&mut self, frame: &[u8], looked_up: bool) -> Result<Step, Thrown> {
        let frame = ServerFrame::decode(frame).map_err(|error| Thrown::Argument(format!("a frame: {error}")))?;
        let answered = self.sending.take_if(|sending| frame.reply_to == sending.id);
        let events = match (frame.kind, answered) {
            (Some(server_frame::Kind::Welcome(welcome)), _) => {
                self.core.heard_welcome(&welcome)?;
                Vec::new()
            }
            (Some(server_frame::Kind::Deliver(deliver)), _) => match self.core.receive(&deliver, looked_up)? {
                Received::Done(events) => {
                    self.received = self.received.max(deliver.seq);
                    events
                }
                Received::NeedDirectory(account) => return Ok(Step::directory(account)),
            },
            (Some(server_frame::Kind::Stored(_)), Some(sent)) => self.core.sent(&sent.item, sent.sync_later)?,
            (Some(server_frame::Kind::Mismatch(mismatch)), Some(_)) => {
                return Ok(Step::directory(self.core.apply_mismatch(&mismatch)?));
            }
            (Some(server_frame::Kind::Error(error)), Some(sent)) => {
                let refused = SdkError::server(error.code.parse().unwrap_or(ErrorCode::Internal), error.detail);
                match refused.lasting() {
                    Some(failure) => self.core.failed(&sent.item, failure)?,
                    None => return Err(refused.into()),
                }
            }
            // what this client does not know, it ignores
            _ => Vec::new(),
        };
        Step::events(&events)
    }
}

#[wasm_bindgen]
impl Device {
    /// Opens a store in which somebody signed in before.
    pub fn open(store: Store) -> Result<Device, JsValue> {
        Ok(Self::over(Core::open(store.0, env()).map_err(Thrown::from)?))
    }

    /// The account's id.
    #[wasm_bindgen(getter)]
    pub fn account(&self) -> String {
        text(self.core.me.account)
    }

    /// The device's number.
    #[wasm_bindgen(getter)]
    pub fn number(&self) -> u32 {
        self.core.me.device.into()
    }

    /// Keeps refreshed tokens.
    #[wasm_bindgen(js_name = saveTokens)]
    pub fn save_tokens(&self, tokens: &str) -> Result<(), JsValue> {
        let tokens: Tokens = read("tokens", tokens)?;
        Ok(self.core.store.save_tokens(&tokens).map_err(Thrown::from)?)
    }

    /// The signature that a refresh of this token needs.
    #[wasm_bindgen(js_name = signRefresh)]
    pub fn sign_refresh(&self, refresh_token: &str) -> Result<Vec<u8>, JsValue> {
        Ok(self.core.sign_refresh(refresh_token).map_err(Thrown::from)?)
    }

    /// The body of `PUT /v1/keys` that fills the server's stock up, or nothing. `count` is what `/v1/keys/count` answered.
    #[wasm_bindgen(js_name = oneTimeKeys)]
    pub fn one_time_keys(&mut self, count: &str) -> Result<Option<String>, JsValue> {
        let keys = self.core.one_time_keys(read::<KeyCount>("count", count)?).map_err(Thrown::from)?;
        Ok(keys.map(|keys| write(&keys)).transpose()?)
    }

    /// The server has taken these keys.
    pub fn uploaded(&mut self, keys: &str) -> Result<(), JsValue> {
        let keys: UploadKeys = read("keys", keys)?;
        Ok(self.core.uploaded(&keys).map_err(Thrown::from)?)
    }

    /// The first frame of a connection.
    pub fn hello(&mut self, access_token: String) -> Result<Vec<u8>, JsValue> {
        let resume = self.core.resume_from().map_err(Thrown::from)?;
        // what was sent over the connection before and not answered is sent again under the same id
        self.sending = None;
        Ok(self.frame(client_frame::Kind::Hello(Hello { access_token, resume })).1)
    }

    /// Takes a frame of the gateway in. If it asks for a directory, fetch that, apply it if it holds, and hand the same frame in
    /// again with `looked_up`.
    pub fn receive(&mut self, frame: &[u8], looked_up: bool) -> Result<Step, JsValue> {
        Ok(self.take(frame, looked_up)?)
    }

    /// The frame that acknowledges what was received, after all of it was made durable.
    pub fn acknowledge(&mut self) -> Result<Vec<u8>, JsValue> {
        self.core.flush().map_err(Thrown::from)?;
        let ack = Ack { up_to: self.received };
        Ok(ClientFrame { id: 0, kind: Some(client_frame::Kind::Ack(ack)) }.encode_to_vec())
    }

    /// The next step towards sending what is queued; nothing if the queue is empty or a frame waits for its answer. What a
    /// frame used up is committed: it may leave at once.
    pub fn prepare(&mut self) -> Result<Option<Step>, JsValue> {
        if self.sending.is_some() {
            return Ok(None);
        }
        Ok(self.next_step()?)
    }

    /// Takes in what `/v1/accounts/{account}/devices` answered. Signatures of contract wallets are not believed here: nobody asks
    /// their chain.
    #[wasm_bindgen(js_name = applyDirectory)]
    pub fn apply_directory(&mut self, directory: &str) -> Result<String, JsValue> {
        let directory: DeviceDirectory = read("directory", directory)?;
        let (known, _) = self.core.attestations(&directory).map_err(Thrown::from)?;
        Ok(write(&self.core.apply_directory(&directory, None, &known).map_err(Thrown::from)?)?)
    }

    /// Takes in what `/v1/accounts/{account}/bundles` answered.
    #[wasm_bindgen(js_name = applyBundles)]
    pub fn apply_bundles(&mut self, bundles: &str) -> Result<(), JsValue> {
        let bundles: PrekeyBundles = read("bundles", bundles)?;
        Ok(self.core.apply_bundles(&bundles).map_err(Thrown::from)?)
    }

    /// Writes a text. It is in the history and in the queue when this returns. Returns the message.
    #[wasm_bindgen(js_name = sendText)]
    pub fn send_text(&mut self, to: &str, text: &str) -> Result<String, JsValue> {
        Ok(write(&self.core.send_text(account(to)?, text, None, None).map_err(Thrown::from)?)?)
    }

    /// Accepts somebody who wrote first, after the server was told.
    pub fn accept(&mut self, peer: &str) -> Result<(), JsValue> {
        Ok(self.core.decide(account(peer)?, ConversationState::Accepted).map_err(Thrown::from)?)
    }

    /// Messages of a conversation, newest first, before this order or from the end.
    pub fn history(&self, peer: &str, before: Option<u64>, limit: u32) -> Result<String, JsValue> {
        let limit = limit.min(HISTORY_MAX) as usize;
        Ok(write(&self.core.history(account(peer)?, before, limit).map_err(Thrown::from)?)?)
    }

    /// One safety number for each device of an account.
    #[wasm_bindgen(js_name = safetyNumbers)]
    pub fn safety_numbers(&self, peer: &str) -> Result<String, JsValue> {
        Ok(write(&self.core.safety_numbers(account(peer)?).map_err(Thrown::from)?)?)
    }

    /// Queues the receipts that were earned. Whether there were any.
    #[wasm_bindgen(js_name = queueReceipts)]
    pub fn queue_receipts(&mut self) -> Result<bool, JsValue> {
        Ok(self.core.queue_receipts().map_err(Thrown::from)?)
    }
}

fn account(text: &str) -> Result<AccountId, Thrown> {
    parse("account id", text)
}

/// An account as JSON has it, so that JavaScript sees one form everywhere.
fn text(account: AccountId) -> String {
    account.uuid().to_string()
}
