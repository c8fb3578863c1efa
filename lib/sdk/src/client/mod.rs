//! The public door: a signed-in device, its conversations and its connection.

mod account;
mod chains;
mod channels;
mod communities;
mod deliver;
mod engine;
mod files;
mod follow;
mod login;
mod people;
mod send;
mod talk;
mod turns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use nepto_chain::signature::OnChain;
use nepto_proto::api::auth::Tokens;
use nepto_proto::{AccountId, DeviceId, ErrorCode, wire};
use nepto_sdk_core::Core;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use chains::ChainNodes;
pub use login::{LoginOptions, ProfileLocation, revoke_device_by_wallet};

use crate::env::Env;
use crate::http::{Http, TokenSink};
use crate::session::{self, Link};
use crate::store::Store;
use crate::{Event, SdkError};

/// Events that wait for the program. When it does not take them, nothing more is read from the gateway.
const EVENTS_MAX: usize = 256;

/// A signed-in device. Cheap to clone; clones are the same device.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// The core behind its lock, which is never held across a wait for the network.
#[derive(Clone)]
pub(crate) struct SharedCore(Arc<Mutex<Core>>);

impl SharedCore {
    pub fn lock(&self) -> MutexGuard<'_, Core> {
        // what a panic interrupted was a transaction, and never happened
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenSink for SharedCore {
    fn save(&self, tokens: &Tokens) -> Result<(), SdkError> {
        Ok(self.lock().store.save_tokens(tokens)?)
    }

    fn forget(&self) -> Result<(), SdkError> {
        Ok(self.lock().store.forget_tokens()?)
    }

    fn sign_refresh(&self, refresh_token: &str) -> Result<Vec<u8>, SdkError> {
        self.lock().sign_refresh(refresh_token)
    }
}

pub(crate) struct Inner {
    core: SharedCore,
    http: Http,
    /// Who is asked about contract wallets.
    chains: RwLock<Arc<OnChain>>,
    env: Env,
    account: AccountId,
    device: DeviceId,
    live: Mutex<Option<Live>>,
    /// Something is in the queue.
    queued: Notify,
    /// Receipts are owed.
    owed: Notify,
    /// One after the other looks an account up.
    lookups: turns::Turns,
    /// One looks at the own devices, and one waits for its turn, which will see what any further one would.
    refreshing: tokio::sync::Semaphore,
    /// One at a time uploads one-time prekeys.
    replenishing: tokio::sync::Mutex<()>,
    /// Counts what left the queue.
    sent: watch::Sender<u64>,
    /// Whether the server's copy of the keys was looked after since the connection was made.
    keys_settled: watch::Sender<bool>,
    /// Channels that are followed.
    follows: Mutex<follow::Follows>,
    /// One of them is to be asked for.
    following: Notify,
}

/// The connection that runs now.
struct Live {
    link: Link,
    events: mpsc::WeakSender<Event>,
    stop: CancellationToken,
    /// The last word was said.
    over: CancellationToken,
}

impl Inner {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the program of events that did not come over the connection. Without one, the notices in the history remain.
    async fn announce(&self, reported: Vec<Event>) {
        let events = self.live().as_ref().and_then(|live| live.events.upgrade());
        for event in reported {
            if let Some(events) = &events {
                let _ = events.send(event).await;
            }
        }
    }

    fn link(&self) -> Result<Link, SdkError> {
        self.live().as_ref().map(|live| live.link.clone()).ok_or(SdkError::NotConnected)
    }
}

/// What a gateway's refusal means.
fn refused(error: wire::Error) -> SdkError {
    let code = error.code.parse().unwrap_or(ErrorCode::Internal);
    let wait = u64::from(error.retry_after_ms);
    let retry_after = (wait > 0).then(|| Duration::from_millis(wait));
    SdkError::Server { code, detail: error.detail, retry_after, devices: Vec::new() }
}

/// What happens on a connection, in order. Dropping it disconnects.
pub struct Events {
    events: mpsc::Receiver<Event>,
    _stop: DropGuard,
}

impl Events {
    /// The next event. `None`: the connection is over for good.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(context)
    }
}

impl Client {
    /// Over a store in which somebody signed in, on this server.
    async fn over(store: Store, env: Env, http: Option<reqwest::Client>) -> Result<Self, SdkError> {
        let registration = store.registration()?.ok_or(SdkError::NotSignedIn)?;
        let tokens = store.tokens()?;
        let chains = Arc::new(chains::on_chain(&store.nodes()?)?);
        let core = SharedCore(Arc::new(Mutex::new(Core::open(store, env.clone())?)));
        let http = Http::maybe_with(http, &registration.server, env.clone(), Box::new(core.clone()))?;
        if let Some(tokens) = tokens {
            http.resume(tokens).await;
        }
        let inner = Inner {
            core,
            http,
            chains: RwLock::new(chains),
            env,
            account: registration.account,
            device: registration.device,
            live: Mutex::default(),
            queued: Notify::new(),
            owed: Notify::new(),
            lookups: turns::Turns::default(),
            refreshing: tokio::sync::Semaphore::new(2),
            replenishing: tokio::sync::Mutex::default(),
            sent: watch::Sender::new(0),
            keys_settled: watch::Sender::new(false),
            follows: Mutex::default(),
            following: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The account that is signed in.
    pub fn account(&self) -> AccountId {
        self.inner.account
    }

    /// The number of this device within the account.
    pub fn device(&self) -> DeviceId {
        self.inner.device
    }

    /// The HTTP API with this device's tokens.
    pub fn http(&self) -> &Http {
        &self.inner.http
    }

    /// Connects and stays connected until the events are dropped, or [`Client::disconnect`]. What fails is tried again by
    /// itself and told as events; an error here means that nobody is signed in. An earlier connection ends.
    pub async fn connect(&self) -> Result<Events, SdkError> {
        if !self.inner.http.has_tokens().await {
            return Err(SdkError::SignedOut);
        }
        self.inner.keys_settled.send_replace(false);
        let (stop, over) = (CancellationToken::new(), CancellationToken::new());
        let (link, incoming) = session::start(engine::Owner(self.inner.clone()), self.inner.env.clone(), over.clone());
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let live = Live { link: link.clone(), events: events.downgrade(), stop: stop.clone(), over: over.clone() };
        let before = self.inner.live().replace(live);
        if let Some(before) = before {
            before.stop.cancel();
        }
        engine::start(self.inner.clone(), link, incoming, events, (stop.clone(), over));
        Ok(Events { events: receiver, _stop: stop.drop_guard() })
    }

    /// Waits until the server has as many prekeys of this device as it keeps, all of them good, or that failed: for programs
    /// that would be over before. Take events meanwhile, or they fill up.
    pub async fn wait_keys(&self) {
        let mut settled = self.inner.keys_settled.subscribe();
        // an error means that nobody will say so any more
        let _ = settled.wait_for(|settled| *settled).await;
    }

    /// Ends the connection. What was received is acknowledged in the background; [`Client::close`] waits for that.
    pub fn disconnect(&self) {
        if let Some(live) = self.inner.live().take() {
            live.stop.cancel();
        }
    }

    /// Ends the connection and waits until the last acknowledgement is sent: for programs that end then.
    pub async fn close(&self) {
        let live = self.inner.live().take();
        if let Some(live) = live {
            live.stop.cancel();
            live.over.cancelled().await;
        }
    }

    /// Whether there is a connection right now.
    pub fn is_connected(&self) -> bool {
        self.inner.live().as_ref().is_some_and(|live| live.link.is_online())
    }
}
