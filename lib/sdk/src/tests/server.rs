//! A server in one process, just enough to see a client sign in, reconnect, resume and refresh: HTTP and sockets over a
//! [`FakeServer`]. It checks nothing that the core's tests check.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use nepto_proto::api::accounts::{Account, Contact, Contacts, SetConsent};
use nepto_proto::api::auth::{Nonce, Refresh, SignIn, Tokens, Wallets, refresh_text};
use nepto_proto::api::keys::{DeviceDirectory, KeyCount, KeysMatch, PrekeyBundles, PublicDevice, UploadKeys};
use nepto_proto::api::{Problem, ServerInfo};
use nepto_proto::certificate::{Checked, Resource, WalletLink};
use nepto_proto::siwe::SiweMessage;
use nepto_proto::wire::{
    CaughtUp, Cursor, DevicesChanged, Drain, Error, Missed, SendDm, Stored, Welcome, client_frame, server_frame,
};
use nepto_proto::xeddsa::PublicKey;
use nepto_proto::{AccountId, CloseCode, DeviceId, ErrorCode, SessionId, frame};
use nepto_sdk_core::sign_in::wallet_message;
use nepto_sdk_testing::{FakeServer, ServerAccount, ServerDevice};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use super::DOMAIN;
use crate::{Env, Wallet};

/// What to do with sockets, to annoy clients.
#[derive(Default)]
pub struct Faults {
    /// The next sockets are closed with this after their welcome.
    pub close_next: Mutex<Vec<CloseCode>>,
    /// The next `SendDm` are stored, and their answers lost together with the connection.
    pub lose_answers: AtomicUsize,
    /// The next HTTP calls are answered with 503.
    pub unavailable: AtomicUsize,
    /// The next calls with a token are answered with `token_expired`.
    pub expire_tokens: AtomicUsize,
    /// The next look-ups of others' directories end like this.
    pub lookups: Mutex<Vec<Answer>>,
    /// The next fetches of bundles end like this.
    pub bundles: Mutex<Vec<Answer>>,
    /// The next sign-ins end like this.
    pub sign_ins: Mutex<Vec<Answer>>,
    /// Refreshes are refused from now on.
    pub revoked: AtomicUsize,
    /// Profiles name this wallet, whatever the directory says.
    pub profile_wallet: Mutex<Option<String>>,
    /// So many sockets are told that the own device list changed.
    pub devices_changed: AtomicUsize,
    /// `Drain` is sent to the next sockets, with this time.
    pub drain_next: Mutex<Vec<u32>>,
    /// So many frames of clients are answered with kinds that nobody knows yet, before and after the answer.
    pub unknown_kinds: AtomicUsize,
    /// Every welcome is followed by this: devices that miss messages, and since when.
    pub missed: Mutex<Vec<(DeviceId, u64)>>,
}

/// An answer that is not the one that was asked for.
#[derive(Clone, Copy)]
pub enum Answer {
    /// A problem with this code.
    Refusal(ErrorCode),
    /// What a proxy or a crashed program says: status 500 and a page for people.
    Page,
}

pub struct Server {
    pub world: Mutex<FakeServer>,
    pub url: String,
    pub faults: Faults,
    pub refreshes: AtomicUsize,
    pub sockets: AtomicUsize,
    pub bundle_calls: AtomicUsize,
    pub mismatches: AtomicUsize,
    /// What the devices that signed in are called.
    pub device_names: Mutex<Vec<String>>,
    /// Where each connection resumed, in the order of their `Hello`.
    pub resumed: Mutex<Vec<Option<Cursor>>>,
    pub acks: Mutex<BTreeMap<(AccountId, DeviceId), u64>>,
    wallets: Mutex<BTreeMap<String, AccountId>>,
    /// Who has which handle.
    pub handles: Mutex<BTreeMap<String, AccountId>>,
    pub channels: super::channels::Channels,
    tokens: AtomicU32,
    mail: Notify,
}

type Shared = State<Arc<Server>>;

impl Server {
    pub async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            world: Mutex::new(FakeServer::default()),
            url: format!("http://{}", listener.local_addr().unwrap()),
            faults: Faults::default(),
            refreshes: AtomicUsize::new(0),
            sockets: AtomicUsize::new(0),
            bundle_calls: AtomicUsize::new(0),
            mismatches: AtomicUsize::new(0),
            device_names: Mutex::default(),
            resumed: Mutex::default(),
            acks: Mutex::default(),
            wallets: Mutex::default(),
            handles: Mutex::default(),
            channels: super::channels::Channels::default(),
            tokens: AtomicU32::new(0),
            mail: Notify::new(),
        });
        let app = axum::Router::new()
            .route("/v1/info", get(info))
            .route("/v1/auth/nonce", post(nonce))
            .route("/v1/auth/sign-in", post(sign_in))
            .route("/v1/auth/refresh", post(refresh))
            .route("/v1/accounts/me", get(me))
            .route("/v1/accounts/{account}", get(account))
            .route("/v1/accounts/{account}/devices", get(directory))
            .route("/v1/accounts/{account}/bundles", get(bundles))
            .route("/v1/contacts", get(contacts))
            .route("/v1/contacts/{account}", put(consent))
            .route("/v1/devices/{device}", delete(remove_device))
            .route("/v1/channels/{channel}/messages", post(super::channels::post))
            .route("/v1/keys", put(upload))
            .route("/v1/keys/count", get(count))
            .route("/v1/keys/check", post(check))
            .route("/v1/socket", any(socket))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        server
    }

    pub fn world(&self) -> MutexGuard<'_, FakeServer> {
        self.world.lock().unwrap()
    }

    /// From now on a wallet leads to this account.
    pub fn give_wallet(&self, wallet: &str, account: AccountId) {
        self.wallets.lock().unwrap().insert(wallet.to_owned(), account);
    }

    /// From now on a wallet leads nowhere.
    pub fn forget_wallet(&self, wallet: &str) {
        self.wallets.lock().unwrap().remove(wallet);
    }

    /// Links a further wallet to an account.
    pub fn link(&self, account: AccountId, existing: &Wallet, new: &Wallet) {
        let (env, info) = (Env::system(), self.info());
        let signed = |wallet: &Wallet, resource| {
            let message = wallet_message(&info, "abcdefgh1".into(), wallet.signer(), "Link.", &resource, &env);
            wallet.sign(&message).unwrap()
        };
        let approval = signed(existing, Resource::Link(new.address()));
        let consent = signed(new, Resource::Join { account, approver: existing.address() });
        let mut world = self.world();
        let wallets = &mut world.accounts.get_mut(&account).unwrap().wallets;
        wallets.wallets.push(new.address().to_string());
        wallets.links.push(WalletLink { approval, consent });
    }

    fn info(&self) -> ServerInfo {
        let now = now().unix_timestamp_nanos() / 1_000_000;
        ServerInfo {
            domain: DOMAIN.into(),
            uri: "https://chat.example.org".into(),
            chains: vec![1],
            // the first one is never there
            sockets: vec!["ws://127.0.0.1:1/v1/socket".into(), format!("{}/v1/socket", self.url.replace("http", "ws"))],
            server_time_ms: now as u64,
            sign_up: Default::default(),
            version: String::new(),
        }
    }

    fn tokens(&self, account: AccountId, device: DeviceId) -> Tokens {
        let n = self.tokens.fetch_add(1, Ordering::Relaxed);
        let later = now() + Duration::from_secs(600);
        Tokens {
            account,
            device,
            session: SessionId::new(Uuid::from_u128(1)),
            access_token: format!("{account}:{device}:{n}"),
            access_expires_at: later,
            refresh_token: format!("{account}:{device}:{n}"),
            refresh_expires_at: later,
        }
    }

    /// Who calls, unless a fault is due.
    fn caller(&self, headers: &HeaderMap) -> Result<(AccountId, DeviceId), Box<Response>> {
        if take(&self.faults.unavailable) {
            return Err(problem(ErrorCode::Unavailable).into());
        }
        if take(&self.faults.expire_tokens) {
            return Err(problem(ErrorCode::TokenExpired).into());
        }
        assert!(headers.contains_key("x-request-id"));
        let token = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        token.and_then(read_token).ok_or_else(|| problem(ErrorCode::Unauthenticated).into())
    }
}

fn now() -> OffsetDateTime {
    crate::Env::system().date_time()
}

fn read_token(token: &str) -> Option<(AccountId, DeviceId)> {
    let mut parts = token.split(':');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub fn take(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

fn problem(code: ErrorCode) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap();
    (status, Json(Problem::new(code, "as the test wants it"))).into_response()
}

async fn info(State(server): Shared) -> Json<ServerInfo> {
    Json(server.info())
}

async fn nonce() -> Json<Nonce> {
    Json(Nonce { nonce: "abcdefgh1".into(), expires_at: now() })
}

async fn sign_in(State(server): Shared, Json(body): Json<SignIn>) -> Response {
    let due = server.faults.sign_ins.lock().unwrap().pop();
    if let Some(answer) = due {
        return answer.into_response();
    }
    server.device_names.lock().unwrap().push(body.device.name.clone());
    let message: SiweMessage = body.signed.verify(DOMAIN, &Checked).unwrap();
    let Some(Resource::Device { registration_id, identity_key }) = message.resource() else { panic!("no device") };
    let root = message.address.to_string();
    let mut wallets = server.wallets.lock().unwrap();
    let next = AccountId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0001_0000 + wallets.len() as u128));
    let account = *wallets.entry(root.clone()).or_insert(next);
    let mut world = server.world();
    let known = world.accounts.entry(account).or_insert_with(|| ServerAccount {
        removed: Vec::new(),
        wallets: Wallets { root: root.clone(), wallets: vec![root], links: vec![] },
        devices: BTreeMap::new(),
    });
    let same = known.devices.values().find(|device| device.public.identity_key.0 == identity_key);
    let taken = known.devices.keys().copied().chain(known.removed.iter().map(|removed| removed.device.device));
    let next = taken.max().map_or(1, |last| u32::from(last) + 1);
    let device = same.map_or_else(|| DeviceId::try_from(next).unwrap(), |device| device.public.device);
    let public =
        PublicDevice { device, registration_id, identity_key: identity_key.to_vec().into(), certificate: body.signed };
    known.devices.insert(device, ServerDevice::new(public, &body.device));
    world.mailboxes.entry((account, device)).or_default();
    Json(server.tokens(account, device)).into_response()
}

async fn refresh(State(server): Shared, Json(body): Json<Refresh>) -> Response {
    // two at once would use the same refresh token twice
    let now = server.refreshes.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    if server.faults.revoked.load(Ordering::Relaxed) > 0 {
        return problem(ErrorCode::SessionRevoked);
    }
    assert_eq!(server.refreshes.load(Ordering::Relaxed), now + 1, "two refreshes in flight");
    let (account, device) = read_token(&body.refresh_token).unwrap();
    let text = refresh_text(DOMAIN, &body.refresh_token);
    let key = server.world().accounts[&account].devices[&device].public.identity_key.clone();
    let key = PublicKey::from_serialized(&key.0).unwrap();
    key.verify(text.as_bytes(), &body.signature.expect("an unsigned refresh").0).expect("signed by another key");
    Json(server.tokens(account, device)).into_response()
}

async fn me(State(server): Shared, headers: HeaderMap) -> Response {
    match server.caller(&headers) {
        Ok((account, _)) => Json(profile(&server, account)).into_response(),
        Err(refusal) => *refusal,
    }
}

fn profile(server: &Server, account: AccountId) -> Account {
    let named = server.faults.profile_wallet.lock().unwrap().clone();
    let wallet = named.unwrap_or_else(|| server.world().accounts[&account].wallets.root.clone());
    let handles = server.handles.lock().unwrap();
    let handle = handles.iter().find(|(_, of)| **of == account).map(|(handle, _)| handle.clone());
    Account { account, wallet, handle, display_name: None }
}

/// By wallet, handle or id.
async fn account(State(server): Shared, Path(reference): Path<String>) -> Response {
    let by_wallet = server.wallets.lock().unwrap().get(&reference).copied();
    let by_handle = server.handles.lock().unwrap().get(&reference).copied();
    match by_wallet.or(by_handle).or_else(|| reference.parse().ok()) {
        Some(account) => Json(profile(&server, account)).into_response(),
        None => problem(ErrorCode::AccountUnknown),
    }
}

async fn directory(State(server): Shared, Path(account): Path<String>, headers: HeaderMap) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let is_own = token.and_then(read_token).is_some_and(|(caller, _)| caller.to_string() == account);
    let due = server.faults.lookups.lock().unwrap().pop_if(|_| !is_own);
    match due {
        Some(answer) => answer.into_response(),
        None => Json::<DeviceDirectory>(server.world().directory(account.parse().unwrap())).into_response(),
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Refusal(code) => problem(code),
            Self::Page => (StatusCode::INTERNAL_SERVER_ERROR, "<html>Oops</html>").into_response(),
        }
    }
}

async fn remove_device(State(server): Shared, Path(device): Path<DeviceId>, headers: HeaderMap) -> Response {
    match server.caller(&headers) {
        Ok((account, _)) => server.world().remove_device(account, device),
        Err(refusal) => return *refusal,
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn bundles(
    State(server): Shared,
    Path(account): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    server.bundle_calls.fetch_add(1, Ordering::Relaxed);
    let due = server.faults.bundles.lock().unwrap().pop();
    if let Some(answer) = due {
        return answer.into_response();
    }
    let devices: Vec<DeviceId> = query["devices"].split(',').map(|device| device.parse().unwrap()).collect();
    Json::<PrekeyBundles>(server.world().bundles(account.parse().unwrap(), &devices)).into_response()
}

async fn contacts() -> Json<Contacts> {
    Json(Contacts { contacts: vec![], next: None })
}

async fn consent(
    State(server): Shared,
    Path(account): Path<String>,
    headers: HeaderMap,
    Json(body): Json<SetConsent>,
) -> Response {
    let caller = match server.caller(&headers) {
        Ok((caller, _)) => caller,
        Err(refusal) => return *refusal,
    };
    let account = account.parse().unwrap();
    server.world().accepted.insert((caller, account));
    let since = now();
    Json(Contact { account: profile(&server, account), consent: body.consent, since }).into_response()
}

async fn upload(State(server): Shared, headers: HeaderMap, Json(body): Json<UploadKeys>) -> Response {
    let (account, device) = match server.caller(&headers) {
        Ok(caller) => caller,
        Err(refusal) => return *refusal,
    };
    let mut world = server.world();
    let device = world.accounts.get_mut(&account).unwrap().devices.get_mut(&device).unwrap();
    device.take_in(&body);
    Json(KeyCount { ec: device.ec.len() as u32, kyber: device.kyber.len() as u32 }).into_response()
}

async fn count(State(server): Shared, headers: HeaderMap) -> Response {
    let (account, device) = match server.caller(&headers) {
        Ok(caller) => caller,
        Err(refusal) => return *refusal,
    };
    Json(server.world().server_device(account, device).stock()).into_response()
}

async fn check() -> Json<KeysMatch> {
    Json(KeysMatch { matches: true })
}

async fn socket(State(server): Shared, upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["nepto.v1"]).on_upgrade(move |socket| async move {
        let _ = serve(&server, socket).await;
    })
}

/// One connection. An error is the end of it.
async fn serve(server: &Server, mut ws: WebSocket) -> Result<(), axum::Error> {
    server.sockets.fetch_add(1, Ordering::Relaxed);
    let mut me = None;
    let mut delivered = 0;
    loop {
        if let Some((account, device)) = me {
            let waiting: Vec<_> = {
                let world = server.world();
                let mailbox = world.mailboxes.get(&(account, device));
                mailbox.into_iter().flatten().filter(|deliver| deliver.seq > delivered).cloned().collect()
            };
            for deliver in waiting {
                delivered = deliver.seq;
                ws.send(binary(0, server_frame::Kind::Deliver(deliver))).await?;
            }
            if take(&server.faults.devices_changed) {
                ws.send(binary(0, server_frame::Kind::DevicesChanged(DevicesChanged {}))).await?;
            }
        }
        let frame = tokio::select! {
            frame = ws.recv() => frame,
            () = tokio::time::sleep(Duration::from_millis(20)) => continue,
            () = server.mail.notified() => continue,
        };
        let Some(Ok(Message::Binary(bytes))) = frame else { return Ok(()) };
        let frame = frame::decode_client(bytes).unwrap();
        if take(&server.faults.unknown_kinds) {
            for reply_to in [0, 77] {
                let unknown = frame::encode_kind(reply_to, 2015, &DevicesChanged {});
                ws.send(Message::Binary(unknown)).await?;
            }
        }
        match frame.kind.unwrap() {
            client_frame::Kind::Hello(hello) => {
                if take(&server.faults.expire_tokens) {
                    let error = Error { code: "token_expired".into(), ..Error::default() };
                    ws.send(binary(frame.id, server_frame::Kind::Error(error))).await?;
                    return close(ws, CloseCode::Unauthenticated).await;
                }
                let (account, device) = read_token(&hello.access_token).unwrap();
                me = Some((account, device));
                server.resumed.lock().unwrap().push(hello.resume);
                delivered = hello.resume.map_or(0, |cursor| cursor.seq);
                let welcome =
                    Welcome { account: account.to_vec(), device: device.into(), epoch: 7, ..Welcome::default() };
                ws.send(binary(frame.id, server_frame::Kind::Welcome(welcome))).await?;
                let missed = server.faults.missed.lock().unwrap().clone();
                for (device, since_ms) in missed {
                    let missed = Missed { device: device.into(), since_ms };
                    ws.send(binary(0, server_frame::Kind::Missed(missed))).await?;
                }
                ws.send(binary(0, server_frame::Kind::CaughtUp(CaughtUp { seq: 0 }))).await?;
                let due = server.faults.close_next.lock().unwrap().pop();
                if let Some(code) = due {
                    return close(ws, code).await;
                }
                let due = server.faults.drain_next.lock().unwrap().pop();
                if let Some(reconnect_in_ms) = due {
                    ws.send(binary(0, server_frame::Kind::Drain(Drain { reconnect_in_ms }))).await?;
                }
            }
            client_frame::Kind::SendDm(send) => {
                let reply = submit(server, me.unwrap(), &send);
                server.mail.notify_waiters();
                if take(&server.faults.lose_answers) {
                    return Ok(());
                }
                ws.send(binary(frame.id, reply)).await?;
            }
            client_frame::Kind::Ack(ack) => {
                assert!(ack.up_to <= delivered, "an acknowledgement of what was not delivered");
                server.acks.lock().unwrap().insert(me.unwrap(), ack.up_to);
                let mut world = server.world();
                world.mailboxes.get_mut(&me.unwrap()).unwrap().retain(|deliver| deliver.seq > ack.up_to);
            }
            other => {
                let Some(answers) = server.channels.answers(other) else { return Ok(()) };
                for (is_reply, kind) in answers {
                    ws.send(binary(if is_reply { frame.id } else { 0 }, kind)).await?;
                }
            }
        }
    }
}

fn submit(server: &Server, from: (AccountId, DeviceId), send: &SendDm) -> server_frame::Kind {
    match server.world().submit(from, send) {
        Ok(duplicate) => server_frame::Kind::Stored(Stored { client_msg_id: send.client_msg_id.clone(), duplicate }),
        Err(mismatch) => {
            server.mismatches.fetch_add(1, Ordering::Relaxed);
            server_frame::Kind::Mismatch(mismatch)
        }
    }
}

fn binary(reply_to: u32, kind: server_frame::Kind) -> Message {
    Message::Binary(frame::encode_server(reply_to, kind))
}

async fn close(mut ws: WebSocket, code: CloseCode) -> Result<(), axum::Error> {
    ws.send(Message::Close(Some(CloseFrame { code: code.get(), reason: code.reason().into() }))).await
}
