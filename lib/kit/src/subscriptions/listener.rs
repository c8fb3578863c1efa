//! Who listens: some subjects, a bounded queue for each, and one place to wait at for all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::timeout;

use super::Shared;
use super::table::CannotListen;
use super::wire::Message;
use crate::Failure;

/// Subjects of one listener.
pub const SUBJECTS_MAX: usize = 256;
/// Messages of one subject that its listener did not take yet; what is more is missed.
pub const WAITING_MAX: usize = 1_024;
/// And their bytes: a message that many listen to is in memory once, and counts for each of them.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// The bytes of all subjects of a listener together.
pub const LISTENER_BYTES_MAX: usize = 4 * WAITING_BYTES_MAX;
/// The server confirms a subscription within this time.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// A place among the queues of a listener.
pub type Slot = u32;

/// What has arrived for one subject of a listener.
#[derive(Debug)]
pub struct Arrivals {
    /// What was subscribed to, maybe with wildcards.
    pub subject: Arc<str>,
    /// As it was given to [`Listener::subscribe`].
    pub tag: u32,
    /// In the order in which they arrived.
    pub messages: Vec<Arc<Message>>,
    /// More was, or may have been, published meanwhile.
    pub missed: bool,
}

/// Listens until it is dropped.
pub struct Listener {
    shared: Arc<Shared>,
    queues: Arc<Queues>,
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, queues: Arc::default() }
    }

    /// Subscribes, and waits until the server knows. What arrives comes with the tag; the same subject may be subscribed to
    /// under several. The future need not be kept beside the listener; a subject that was not confirmed is left again.
    pub fn subscribe(&self, subject: &str, tag: u32) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let (shared, queues) = (self.shared.clone(), self.queues.clone());
        let subject: Arc<str> = subject.into();
        // at once, so that nothing is left behind by who subscribes and is gone
        let listening = self.shared.table().listen(&queues, &subject, tag);
        self.shared.said.notify_one();
        async move {
            let unavailable = |why: &str| Failure::unavailable("NATS", anyhow::anyhow!("{why}"));
            let confirmed = match listening {
                Ok(None) => return Ok(()),
                Ok(Some(confirmed)) => confirmed,
                Err(CannotListen::NoSubject) => {
                    return Err(Failure::internal(anyhow::anyhow!("{subject:?} is not a subject")));
                }
                Err(CannotListen::NoConnection) => return Err(unavailable("no connection for subscriptions")),
                Err(CannotListen::TooMany) => {
                    let detail = format!("one connection follows at most {SUBJECTS_MAX} subjects; leave some first");
                    return Err(Failure::new(nepto_proto::ErrorCode::TooLarge, detail));
                }
            };
            let failure = match timeout(CONFIRM_WITHIN, confirmed).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(refusal))) => unavailable(&refusal),
                Ok(Err(_)) => unavailable("the connection for subscriptions was lost"),
                Err(_) => unavailable("a subscription was not confirmed"),
            };
            shared.unlisten(&queues, &subject, tag);
            Err(failure)
        }
    }

    /// Ends a subscription under this tag. What arrived and was not taken is gone.
    pub fn unsubscribe(&self, subject: &str, tag: u32) {
        self.shared.unlisten(&self.queues, subject, tag);
    }

    /// What has arrived for one of the subjects since it was last asked, as soon as there is something. Nothing is lost if the
    /// future is dropped. Arrivals outlive the connection, so this never ends by itself.
    pub async fn next(&mut self) -> Arrivals {
        std::future::poll_fn(|context| {
            self.queues.waker.register(context.waker());
            match self.queues.lock().take() {
                Some(arrivals) => Poll::Ready(arrivals),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        let slots = self.queues.lock().slots.len() as Slot;
        let said = (0..slots).fold(false, |said, slot| table.unlisten(&self.queues, slot) | said);
        drop(table);
        if said {
            self.shared.said.notify_one();
        }
    }
}

impl Shared {
    fn unlisten(&self, queues: &Queues, subject: &str, tag: u32) {
        let mut table = self.table();
        let slot = queues
            .lock()
            .slots
            .iter()
            .position(|queue| queue.as_ref().is_some_and(|queue| &*queue.subject == subject && queue.tag == tag));
        let said = slot.is_some_and(|slot| table.unlisten(queues, slot as Slot));
        drop(table);
        if said {
            self.said.notify_one();
        }
    }
}

/// The queues of one listener.
#[derive(Default)]
pub struct Queues {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    slots: Vec<Option<Queue>>,
    /// Slots with something to take, each once, in the order in which something came.
    ready: VecDeque<Slot>,
    /// Of all messages that wait.
    bytes: usize,
}

struct Queue {
    sid: u64,
    subject: Arc<str>,
    tag: u32,
    /// Among those who listen to the subject.
    place: usize,
    messages: Vec<Arc<Message>>,
    bytes: usize,
    missed: bool,
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a queue for this subscription under this tag.
    pub fn listens(&self, sid: u64, tag: u32) -> bool {
        self.lock().slots.iter().flatten().any(|queue| queue.sid == sid && queue.tag == tag)
    }

    /// A new queue, or `None` if there are as many as there may be.
    pub fn open(&self, sid: u64, subject: &Arc<str>, tag: u32, place: usize) -> Option<Slot> {
        let queue = Queue { sid, subject: subject.clone(), tag, place, messages: Vec::new(), bytes: 0, missed: false };
        let mut state = self.lock();
        if let Some(free) = state.slots.iter().position(Option::is_none) {
            state.slots[free] = Some(queue);
            return Some(free as Slot);
        }
        if state.slots.len() >= SUBJECTS_MAX {
            return None;
        }
        if state.slots.is_empty() {
            // most listen to one subject for all their life
            state.slots.reserve_exact(1);
        }
        state.slots.push(Some(queue));
        Some((state.slots.len() - 1) as Slot)
    }

    /// Removes a queue: its subscription, and its place there.
    pub fn close(&self, slot: Slot) -> Option<(u64, usize)> {
        let mut state = self.lock();
        let queue = state.slots.get_mut(slot as usize)?.take()?;
        state.bytes -= queue.bytes;
        state.ready.retain(|ready| *ready != slot);
        Some((queue.sid, queue.place))
    }

    /// It has moved among those who listen to the subject.
    pub fn set_place(&self, slot: Slot, place: usize) {
        if let Some(Some(queue)) = self.lock().slots.get_mut(slot as usize) {
            queue.place = place;
        }
    }

    /// Puts a message into a queue that has room for it.
    pub fn arrived(&self, slot: Slot, message: &Arc<Message>) {
        let mut state = self.lock();
        let State { slots, ready, bytes } = &mut *state;
        let Some(Some(queue)) = slots.get_mut(slot as usize) else { return };
        let (size, was_quiet) = (message.size(), queue.is_quiet());
        let has_room = queue.messages.len() < WAITING_MAX
            && queue.bytes + size <= WAITING_BYTES_MAX
            && *bytes + size <= LISTENER_BYTES_MAX;
        if has_room {
            queue.bytes += size;
            *bytes += size;
            queue.messages.push(message.clone());
        } else if !std::mem::replace(&mut queue.missed, true) {
            metrics::counter!("nepto_nats_slow_consumer_total").increment(1);
        }
        if was_quiet {
            ready.push_back(slot);
        }
        drop(state);
        self.waker.wake();
    }

    /// Something may have been published that did not arrive.
    pub fn missed(&self, slot: Slot) {
        let mut state = self.lock();
        let State { slots, ready, .. } = &mut *state;
        let Some(Some(queue)) = slots.get_mut(slot as usize) else { return };
        if queue.is_quiet() {
            ready.push_back(slot);
        }
        queue.missed = true;
        drop(state);
        self.waker.wake();
    }
}

impl State {
    fn take(&mut self) -> Option<Arrivals> {
        let slot = self.ready.pop_front()?;
        let queue = self.slots.get_mut(slot as usize)?.as_mut()?;
        self.bytes -= std::mem::take(&mut queue.bytes);
        Some(Arrivals {
            subject: queue.subject.clone(),
            tag: queue.tag,
            messages: std::mem::take(&mut queue.messages),
            missed: std::mem::take(&mut queue.missed),
        })
    }
}

impl Queue {
    /// There is nothing to take.
    fn is_quiet(&self) -> bool {
        self.messages.is_empty() && !self.missed
    }
}
