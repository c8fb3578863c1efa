//! The delivery of a mailbox over one socket: what was delivered, what was acknowledged, and whether it must be read.
//!
//! A state machine without I/O: it takes what happened and says what to do. What does it is in `frames.rs`.
//!
//! What must hold, whatever arrives in whatever order:
//! - deliveries are in the order of the mailbox, none twice, and none is skipped but what is [withheld](super::late): a gap is closed
//!   by reading, never passed, and what is late is read too, because reading is what looks whether it is withheld;
//! - no more than [`ACK_WINDOW`] deliveries are unacknowledged, so a slow reader costs no memory;
//! - only what was delivered on this connection can be acknowledged.

use std::collections::VecDeque;

use nepto_proto::limits::ACK_WINDOW;

use super::mailbox::{Page, StoredEnvelope};

/// What should be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the client.
    Deliver(StoredEnvelope),
    /// Read up to `limit` messages after this sequence, then call [`DeliveryState::read`].
    Read {
        /// The sequence before the first that is wanted.
        after: u64,
        /// At most so many.
        limit: usize,
    },
    /// Tell the client that it has everything stored before now.
    CaughtUp(u64),
    /// Everything up to here may be purged.
    Purge {
        /// Up to and including this one.
        up_to: u64,
        /// When that one was stored; all before it are older.
        stored_at_ms: u64,
        /// How many they are.
        messages: u32,
    },
}

/// An acknowledgement of something that was not delivered.
#[derive(Debug, PartialEq, Eq)]
pub struct BeyondDelivered;

/// The delivery side of a connection.
#[derive(Debug)]
pub struct DeliveryState {
    /// The last message delivered, or where the client resumed.
    cursor: u64,
    /// The last message known to be stored for this device.
    newest: u64,
    /// Delivered and not acknowledged, oldest first: its sequence, and when it was stored.
    unacknowledged: VecDeque<(u64, u64)>,
    /// A read is under way.
    reading: bool,
    /// There is, or may be, something to read.
    behind: bool,
    /// The read that is under way may have been too early for it.
    nudged: bool,
    /// The client was told that it has caught up.
    announced: bool,
    /// Reads in a row that found nothing although something newer is known.
    fruitless: u8,
}

/// A replica may lag behind the leader: a read that does not find what is known to be stored is repeated so often.
const FRUITLESS_MAX: u8 = 5;

impl DeliveryState {
    /// A client that has stored everything up to `resume`.
    pub fn new(resume: u64) -> Self {
        Self {
            cursor: resume,
            newest: 0,
            unacknowledged: VecDeque::new(),
            reading: false,
            behind: false,
            nudged: false,
            announced: false,
            fruitless: 0,
        }
    }

    /// The connection is ready: drain the mailbox.
    pub fn start(&mut self) -> Option<Effect> {
        self.behind = true;
        self.read_if_needed()
    }

    /// A message was stored just now and reached us live.
    pub fn live(&mut self, message: StoredEnvelope) -> Option<Effect> {
        self.newest = self.newest.max(message.seq);
        if message.seq <= self.cursor {
            return None;
        }
        let in_order = message.previous_seq <= self.cursor;
        if !in_order || message.late || self.reading || self.behind || self.room() == 0 {
            self.behind = true;
            return self.read_if_needed();
        }
        Some(self.deliver(message))
    }

    /// Somebody says that there is something to read.
    pub fn nudge(&mut self) -> Option<Effect> {
        self.behind = true;
        self.nudged = self.reading;
        self.read_if_needed()
    }

    /// A read has ended.
    pub fn read(&mut self, page: Page, effects: &mut Vec<Effect>) {
        self.reading = false;
        let before = self.cursor;
        for message in page.messages {
            if message.seq <= self.cursor || self.room() == 0 {
                continue;
            }
            match message.withheld {
                true => self.reach(message.seq),
                false => effects.push(self.deliver(message)),
            }
        }
        let progress = self.cursor > before;
        self.fruitless = if progress { 0 } else { self.fruitless.saturating_add(1) };
        if self.newest > self.cursor && !page.more && self.fruitless >= FRUITLESS_MAX {
            // It expired or was purged meanwhile: there is nothing left to wait for.
            self.newest = self.cursor;
        }
        self.behind = page.more || self.newest > self.cursor || std::mem::take(&mut self.nudged);
        if !self.behind && !self.announced {
            self.announced = true;
            effects.push(Effect::CaughtUp(self.cursor));
        }
        effects.extend(self.read_if_needed());
    }

    /// Reads in a row that did not find what is known to be stored: a first one was too early, more mean a lagging replica.
    pub fn reads_in_vain(&self) -> u8 {
        self.fruitless
    }

    /// A read has failed; the caller waits and tries again.
    pub fn read_failed(&mut self) -> Option<Effect> {
        self.reading = false;
        self.behind = true;
        self.read_if_needed()
    }

    /// The client has stored everything up to this message.
    pub fn acknowledge(&mut self, up_to: u64, effects: &mut Vec<Effect>) -> Result<(), BeyondDelivered> {
        if up_to > self.cursor {
            return Err(BeyondDelivered);
        }
        let (mut messages, mut youngest_ms) = (0, 0);
        while let Some((_, stored_at_ms)) = self.unacknowledged.pop_front_if(|(seq, _)| *seq <= up_to) {
            youngest_ms = stored_at_ms;
            messages += 1;
        }
        if messages > 0 {
            effects.push(Effect::Purge { up_to, stored_at_ms: youngest_ms, messages });
        }
        // half a window at a time, so that a long drain reads in large pages
        if self.room() >= ACK_WINDOW as usize / 2 {
            effects.extend(self.read_if_needed());
        }
        Ok(())
    }

    fn deliver(&mut self, message: StoredEnvelope) -> Effect {
        self.reach(message.seq);
        self.unacknowledged.push_back((message.seq, message.stored_at_ms));
        Effect::Deliver(message)
    }

    fn reach(&mut self, seq: u64) {
        self.cursor = seq;
        self.newest = self.newest.max(seq);
    }

    fn room(&self) -> usize {
        (ACK_WINDOW as usize).saturating_sub(self.unacknowledged.len())
    }

    fn read_if_needed(&mut self) -> Option<Effect> {
        if !self.behind || self.reading || self.room() == 0 {
            return None;
        }
        self.reading = true;
        Some(Effect::Read { after: self.cursor, limit: self.room() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(seq: u64, previous_seq: u64) -> StoredEnvelope {
        StoredEnvelope { seq, previous_seq, stored_at_ms: 0, late: false, withheld: false, envelope: Bytes::new() }
    }

    fn caught_up(resume: u64) -> DeliveryState {
        let mut delivery = DeliveryState::new(resume);
        assert_eq!(delivery.start(), Some(Effect::Read { after: resume, limit: 256 }));
        let mut effects = Vec::new();
        delivery.read(Page::default(), &mut effects);
        assert_eq!(effects, [Effect::CaughtUp(resume)]);
        delivery
    }

    #[test]
    fn live_messages_are_delivered_in_order_and_once() {
        let mut delivery = caught_up(4);
        assert_eq!(delivery.live(message(5, 4)), Some(Effect::Deliver(message(5, 4))));
        assert_eq!(delivery.live(message(5, 4)), None);
        // everything before it was purged: no gap
        assert_eq!(delivery.live(message(9, 0)), Some(Effect::Deliver(message(9, 0))));
    }

    #[test]
    fn a_gap_is_closed_by_reading() {
        let mut delivery = caught_up(4);
        assert_eq!(delivery.live(message(9, 7)), Some(Effect::Read { after: 4, limit: 256 }));
        let mut effects = Vec::new();
        delivery.read(Page { messages: vec![message(7, 0), message(9, 0)], more: false }, &mut effects);
        assert_eq!(effects, [Effect::Deliver(message(7, 0)), Effect::Deliver(message(9, 0))]);
    }

    #[test]
    fn what_is_late_is_read_and_what_is_withheld_is_passed_over() {
        let late = |withheld| StoredEnvelope { late: true, withheld, ..message(5, 4) };
        for withheld in [false, true] {
            let mut delivery = caught_up(4);
            assert_eq!(delivery.live(late(false)), Some(Effect::Read { after: 4, limit: 256 }));
            let mut effects = Vec::new();
            delivery.read(Page { messages: vec![late(withheld)], more: false }, &mut effects);
            assert_eq!(effects.is_empty(), withheld, "{effects:?}");
            assert_eq!(delivery.live(message(6, 5)), Some(Effect::Deliver(message(6, 5))));
        }
    }

    #[test]
    fn only_what_was_delivered_can_be_acknowledged() {
        let mut delivery = caught_up(4);
        let mut effects = Vec::new();
        assert_eq!(delivery.acknowledge(5, &mut effects), Err(BeyondDelivered));
        delivery.live(message(5, 4));
        assert_eq!(delivery.acknowledge(5, &mut effects), Ok(()));
        assert_eq!(effects, [Effect::Purge { up_to: 5, stored_at_ms: 0, messages: 1 }]);
        effects.clear();
        assert_eq!(delivery.acknowledge(5, &mut effects), Ok(()));
        assert_eq!(effects, [], "an acknowledgement that says nothing new purges nothing");
    }

    #[test]
    fn a_nudge_during_a_read_means_another_one() {
        let mut delivery = DeliveryState::new(4);
        assert!(delivery.start().is_some());
        assert_eq!(delivery.nudge(), None, "one at a time");
        let mut effects = Vec::new();
        delivery.read(Page::default(), &mut effects);
        assert_eq!(effects, [Effect::Read { after: 4, limit: 256 }]);
        effects.clear();
        delivery.read(Page::default(), &mut effects);
        assert_eq!(effects, [Effect::CaughtUp(4)]);
    }

    #[test]
    fn a_message_that_is_never_found_does_not_keep_us_reading_for_ever() {
        let mut delivery = caught_up(4);
        assert!(delivery.live(message(9, 7)).is_some());
        let mut reads = 0;
        let mut effects = vec![Effect::Read { after: 4, limit: 256 }];
        while effects.iter().any(|effect| matches!(effect, Effect::Read { .. })) {
            effects.clear();
            delivery.read(Page::default(), &mut effects);
            reads += 1;
            assert!(reads < 20);
        }
        assert_eq!(delivery.live(message(10, 0)), Some(Effect::Deliver(message(10, 0))));
    }

    /// What may happen to a connection.
    #[derive(Debug, Clone)]
    enum Event {
        Store,
        StoreWithoutLiveCopy,
        LiveAgain(usize),
        ReadEnds(usize),
        ReadFails,
        Acknowledge(usize),
        Nudge,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => Just(Event::Store),
            1 => Just(Event::StoreWithoutLiveCopy),
            1 => any::<usize>().prop_map(Event::LiveAgain),
            4 => (1usize..300).prop_map(Event::ReadEnds),
            1 => Just(Event::ReadFails),
            3 => any::<usize>().prop_map(Event::Acknowledge),
            1 => Just(Event::Nudge),
        ]
    }

    /// A mailbox, a connection to it, and what the client got.
    struct World {
        delivery: DeliveryState,
        mailbox: Vec<u64>,
        next_seq: u64,
        purged_to: u64,
        pending_read: Option<(u64, usize)>,
        delivered: Vec<u64>,
    }

    impl World {
        fn apply(&mut self, effects: Vec<Effect>) {
            for effect in effects {
                match effect {
                    Effect::Deliver(message) => self.delivered.push(message.seq),
                    Effect::Read { after, limit } => {
                        assert!(self.pending_read.replace((after, limit)).is_none(), "two reads at once");
                    }
                    Effect::Purge { up_to, .. } => self.purged_to = self.purged_to.max(up_to),
                    Effect::CaughtUp(_) => {}
                }
            }
            assert!(self.delivery.unacknowledged.len() <= ACK_WINDOW as usize);
        }

        fn previous(&self, seq: u64) -> u64 {
            self.mailbox.iter().copied().filter(|s| *s < seq && *s > self.purged_to).max().unwrap_or(0)
        }

        fn end_read(&mut self, cut: usize) {
            let Some((after, limit)) = self.pending_read.take() else { return };
            let waiting: Vec<u64> =
                self.mailbox.iter().copied().filter(|s| *s > after && *s > self.purged_to).collect();
            let take = limit.min(cut);
            let page = Page {
                messages: waiting.iter().take(take).map(|seq| message(*seq, 0)).collect(),
                more: waiting.len() > take,
            };
            let mut effects = Vec::new();
            self.delivery.read(page, &mut effects);
            self.apply(effects);
        }

        fn step(&mut self, event: Event) {
            match event {
                Event::Store | Event::StoreWithoutLiveCopy => {
                    self.next_seq += 1 + self.next_seq % 3;
                    let seq = self.next_seq;
                    self.mailbox.push(seq);
                    if matches!(event, Event::Store) {
                        let previous = self.previous(seq);
                        let effects = self.delivery.live(message(seq, previous)).into_iter().collect();
                        self.apply(effects);
                    }
                }
                Event::LiveAgain(pick) if !self.mailbox.is_empty() => {
                    let seq = self.mailbox[pick % self.mailbox.len()];
                    let previous = self.previous(seq);
                    let effects = self.delivery.live(message(seq, previous)).into_iter().collect();
                    self.apply(effects);
                }
                Event::LiveAgain(_) => {}
                Event::ReadEnds(cut) => self.end_read(cut),
                Event::ReadFails => {
                    if self.pending_read.take().is_some() {
                        let effects = self.delivery.read_failed().into_iter().collect();
                        self.apply(effects);
                    }
                }
                Event::Acknowledge(pick) if !self.delivered.is_empty() => {
                    let up_to = self.delivered[pick % self.delivered.len()];
                    let mut effects = Vec::new();
                    assert_eq!(self.delivery.acknowledge(up_to, &mut effects), Ok(()));
                    self.apply(effects);
                }
                Event::Acknowledge(_) => {}
                Event::Nudge => {
                    let effects = self.delivery.nudge().into_iter().collect();
                    self.apply(effects);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_everything_arrives_once_and_in_order(events in proptest::collection::vec(event(), 0..400)) {
            let mut delivery = DeliveryState::new(0);
            let started = delivery.start();
            let mut world = World {
                delivery,
                mailbox: vec![],
                next_seq: 0,
                purged_to: 0,
                pending_read: None,
                delivered: vec![],
            };
            world.apply(started.into_iter().collect());
            for event in events {
                world.step(event);
            }
            // in the end the client acknowledges, reads end, and somebody nudges
            for _ in 0..64 {
                world.end_read(256);
                if let Some(last) = world.delivered.last().copied() {
                    let mut effects = Vec::new();
                    prop_assert_eq!(world.delivery.acknowledge(last, &mut effects), Ok(()));
                    world.apply(effects);
                }
                world.step(Event::Nudge);
            }
            prop_assert_eq!(&world.delivered, &world.mailbox);
        }
    }
}
