//! Which subjects are subscribed, who listens to each, and what the server must still be told.
//!
//! Locks are taken in one order: the table, then the queues of a listener.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::oneshot;

use super::listener::{Queues, Slot};
use super::wire::Message;

/// Told when the server has read a subscription, or why it refuses it.
type Confirm = oneshot::Sender<Result<(), String>>;
/// The other end of it.
pub type Confirmed = oneshot::Receiver<Result<(), String>>;

/// Why somebody can't listen to a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannotListen {
    /// There is no server to tell.
    NoConnection,
    /// This listener has as many subjects as one may have.
    TooMany,
    /// It would not be one word of the protocol.
    NoSubject,
}

#[derive(Default)]
pub struct Table {
    last_sid: u64,
    /// By the number that the server knows a subscription by.
    topics: HashMap<u64, Topic>,
    by_subject: HashMap<Arc<str>, u64>,
    /// What is to be said; `None` while there is no connection.
    outbox: Option<Outbox>,
    /// Everything that was subscribed before the connection broke is subscribed again.
    restored: bool,
    /// The last subscription that the present connection began with.
    restoring_up_to: u64,
}

/// What is to be said to the server.
#[derive(Default)]
pub struct Outbox {
    pub bytes: BytesMut,
    /// Whose subscribers wait until the server has read that.
    pub confirm: Vec<u64>,
}

/// A subject and who listens to it.
struct Topic {
    subject: Arc<str>,
    /// The server has read the subscription.
    confirmed: bool,
    waiting: Vec<Confirm>,
    /// Each with its queue for this subject, which knows its place here.
    listeners: Vec<(Arc<Queues>, Slot)>,
}

impl Table {
    /// Everything is subscribed at the server.
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// Takes what is to be said, if there is a connection to say it over.
    pub fn take_outbox(&mut self) -> Option<Outbox> {
        self.outbox.as_mut().map(std::mem::take)
    }

    /// A connection was made: everything is subscribed again.
    pub fn connected(&mut self) {
        let mut outbox = Outbox::default();
        for (sid, topic) in &self.topics {
            outbox.subscribe(*sid, &topic.subject);
        }
        self.outbox = Some(outbox);
        self.restoring_up_to = self.last_sid;
    }

    /// The server has read all of that: what was published in between may have been missed.
    pub fn restored(&mut self) {
        self.restored = true;
        for (sid, topic) in &mut self.topics {
            if *sid <= self.restoring_up_to {
                topic.confirm(Ok(()));
            }
            for (queues, slot) in &topic.listeners {
                queues.missed(*slot);
            }
        }
    }

    /// The connection was lost. Whether it had been of use.
    pub fn lost(&mut self) -> bool {
        self.outbox = None;
        for topic in self.topics.values_mut() {
            topic.confirmed = false;
            topic.waiting.clear();
        }
        std::mem::take(&mut self.restored)
    }

    /// The server has read a subscription, or refuses it.
    pub fn confirmed(&mut self, sid: u64, refusal: Option<&str>) {
        let Some(topic) = self.topics.get_mut(&sid) else { return };
        match refusal {
            None => topic.confirm(Ok(())),
            Some(_) if topic.confirmed => {}
            Some(refusal) => {
                topic.confirm(Err(refusal.to_owned()));
                for (queues, slot) in std::mem::take(&mut topic.listeners) {
                    queues.close(slot);
                }
                self.unsubscribe(sid);
            }
        }
    }

    /// A message may cross with the end of its subscription.
    pub fn arrived(&self, sid: u64, message: Message) {
        let Some(topic) = self.topics.get(&sid) else { return };
        let message = Arc::new(message);
        for (queues, slot) in &topic.listeners {
            queues.arrived(*slot, &message);
        }
    }

    /// A message of this process itself, connected or not.
    pub fn arrived_here(&self, subscribed: &str, message: Message) {
        if let Some(sid) = self.by_subject.get(subscribed) {
            self.arrived(*sid, message);
        }
    }

    /// Listens to a subject; `None` where that counts already. What arrives is given with the tag.
    pub fn listen(&mut self, queues: &Arc<Queues>, subject: &str, tag: u32) -> Result<Option<Confirmed>, CannotListen> {
        if subject.is_empty() || subject.bytes().any(|byte| byte <= b' ') {
            return Err(CannotListen::NoSubject);
        }
        let Some(outbox) = &mut self.outbox else { return Err(CannotListen::NoConnection) };
        let known = self.by_subject.get_key_value(subject).map(|(subject, sid)| (subject.clone(), *sid));
        let (subject, sid) = known.unwrap_or_else(|| (subject.into(), self.last_sid + 1));
        if !queues.listens(sid, tag) {
            let place = self.topics.get(&sid).map(|topic| topic.listeners.len());
            let slot = queues.open(sid, &subject, tag, place.unwrap_or(0)).ok_or(CannotListen::TooMany)?;
            if place.is_none() {
                self.last_sid = sid;
                outbox.subscribe(sid, &subject);
                self.by_subject.insert(subject.clone(), sid);
            }
            let topic = self.topics.entry(sid).or_insert_with(|| Topic::new(subject));
            topic.listeners.push((queues.clone(), slot));
        }
        let topic = self.topics.get_mut(&sid).filter(|topic| !topic.confirmed);
        Ok(topic.map(|topic| {
            let (confirm, confirmed) = oneshot::channel();
            topic.waiting.push(confirm);
            outbox.confirm.push(sid);
            confirmed
        }))
    }

    /// Ends a subscription of a listener; the last one's is the end of it at the server. Whether there is something to say.
    pub fn unlisten(&mut self, queues: &Queues, slot: Slot) -> bool {
        let Some((sid, place)) = queues.close(slot) else { return false };
        let Some(topic) = self.topics.get_mut(&sid) else { return false };
        topic.listeners.swap_remove(place);
        if let Some((moved, slot)) = topic.listeners.get(place) {
            moved.set_place(*slot, place);
        }
        topic.listeners.is_empty() && self.unsubscribe(sid)
    }

    fn unsubscribe(&mut self, sid: u64) -> bool {
        if let Some(topic) = self.topics.remove(&sid) {
            self.by_subject.remove(&topic.subject);
        }
        let Some(outbox) = &mut self.outbox else { return false };
        outbox.bytes.extend_from_slice(format!("UNSUB {sid}\r\n").as_bytes());
        true
    }

    /// What is subscribed, each with how many listen.
    #[cfg(test)]
    pub fn subjects(&self) -> std::collections::BTreeMap<String, usize> {
        assert_eq!(self.by_subject.len(), self.topics.len());
        self.topics.values().map(|topic| (topic.subject.to_string(), topic.listeners.len())).collect()
    }
}

impl Topic {
    fn new(subject: Arc<str>) -> Self {
        // most subjects have one listener
        Self { subject, confirmed: false, waiting: Vec::new(), listeners: Vec::with_capacity(1) }
    }

    fn confirm(&mut self, outcome: Result<(), String>) {
        self.confirmed = outcome.is_ok();
        for waiting in std::mem::take(&mut self.waiting) {
            // who asked may have given up
            let _ = waiting.send(outcome.clone());
        }
    }
}

impl Outbox {
    fn subscribe(&mut self, sid: u64, subject: &str) {
        for part in ["SUB ", subject, " ", &sid.to_string(), "\r\n"] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
    }
}
