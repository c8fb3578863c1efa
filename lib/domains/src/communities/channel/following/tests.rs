use proptest::prelude::*;

use super::*;

fn live(seq: u64, previous_seq: u64) -> Live<u64> {
    Live { seq, previous_seq, event: seq }
}

fn page(seqs: &[u64], more: bool) -> Page<u64> {
    Page { events: seqs.iter().map(|seq| (*seq, *seq)).collect(), more, expired: false }
}

/// What it says to something.
fn says(what: impl FnOnce(&mut Vec<Effect<u64>>)) -> Vec<Effect<u64>> {
    let mut effects = Vec::new();
    what(&mut effects);
    effects
}

#[test]
fn who_begins_now_gets_what_is_new() {
    let mut following = Following::new(None, 500);
    assert_eq!(following.start(), Effect::ReadHead);
    assert_eq!(says(|out| following.live(live(9, 7), out)), []);
    let effects = says(|out| following.head(7, out));
    assert_eq!(effects, [Effect::Followed { at: 7, reload: false }, Effect::Send(9)]);
    assert_eq!(says(|out| following.live(live(9, 7), out)), []);
    assert_eq!(says(|out| following.live(live(12, 9), out)), [Effect::Send(12)]);
}

#[test]
fn who_resumes_gets_what_was_missed_first() {
    let mut following = Following::new(Some(4), 500);
    assert_eq!(following.start(), Effect::Read { after: 4, resuming: true });
    assert_eq!(says(|out| following.live(live(9, 7), out)), []);
    let effects = says(|out| following.page(page(&[5, 7], false), out));
    let followed = Effect::Followed { at: 9, reload: false };
    assert_eq!(effects, [Effect::Send(5), Effect::Send(7), Effect::Send(9), followed]);
}

#[test]
fn a_gap_is_read_and_what_waits_behind_it_is_not_sent_twice() {
    let mut following = Following::new(None, 500);
    following.start();
    says(|out| following.head(7, out));
    assert_eq!(says(|out| following.live(live(12, 9), out)), [Effect::Read { after: 7, resuming: false }]);
    assert_eq!(says(|out| following.live(live(13, 12), out)), []);
    let effects = says(|out| following.page(page(&[9, 12], false), out));
    assert_eq!(effects, [Effect::Send(9), Effect::Send(12), Effect::Send(13)]);
}

#[test]
fn what_is_too_much_or_expired_is_left_to_the_history() {
    for (events, expired) in [(page(&[5, 6, 7], false), false), (page(&[], false), true)] {
        let mut following = Following::new(Some(4), 2);
        following.start();
        assert_eq!(says(|out| following.page(Page { expired, ..events }, out)), [Effect::ReadHead]);
        assert_eq!(says(|out| following.head(7, out)), [Effect::Followed { at: 7, reload: true }]);
        assert_eq!(says(|out| following.live(live(8, 7), out)), [Effect::Send(8)]);
    }
    let mut following = Following::<u64>::lost(2);
    assert_eq!(following.start(), Effect::ReadHead);
    assert_eq!(says(|out| following.head(0, out)), [Effect::Followed { at: 0, reload: true }]);
}

#[test]
fn an_event_that_is_never_found_means_to_load_the_history() {
    let mut following = Following::new(None, 500);
    following.start();
    says(|out| following.head(7, out));
    let mut effects = says(|out| following.live(live(12, 9), out));
    let mut reads = 0;
    while matches!(effects[..], [Effect::Read { .. }]) {
        effects = says(|out| following.page(page(&[], false), out));
        reads += 1;
        assert!(reads < 20);
    }
    assert_eq!(effects, [Effect::ReadHead]);
    assert_eq!(says(|out| following.head(12, out)), [Effect::Followed { at: 12, reload: true }]);
}

/// What may happen to a channel and to who follows it.
#[derive(Debug, Clone)]
enum Happens {
    Store,
    StoreWithoutLiveCopy,
    LiveAgain(usize),
    ReadEnds(usize),
    ReadFails,
    Missed,
    Expire(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => Just(Happens::Store),
        2 => Just(Happens::StoreWithoutLiveCopy),
        1 => any::<usize>().prop_map(Happens::LiveAgain),
        5 => (1usize..READ_MAX).prop_map(Happens::ReadEnds),
        1 => Just(Happens::ReadFails),
        1 => Just(Happens::Missed),
        1 => any::<usize>().prop_map(Happens::Expire),
    ]
}

/// A channel, a connection that follows it, and what its client knows.
struct World {
    following: Following<u64>,
    stored: Vec<u64>,
    expired_to: u64,
    reading: Option<Effect<u64>>,
    /// What the client has since it last loaded the history, or since it began.
    has: Vec<u64>,
    /// The place from which it has everything; not known before it was told.
    since: Option<u64>,
    resumed_at: Option<u64>,
}

impl World {
    fn apply(&mut self, effects: Vec<Effect<u64>>) {
        for effect in effects {
            match effect {
                Effect::Send(seq) => {
                    assert!(self.has.last().is_none_or(|last| *last < seq), "{seq} after {:?}", self.has);
                    self.has.push(seq);
                }
                Effect::Read { .. } | Effect::ReadHead => {
                    assert!(self.reading.replace(effect).is_none(), "two reads at once");
                }
                Effect::Followed { at, reload: true } => {
                    // it loads all that is stored by now
                    self.has.retain(|seq| *seq > at);
                    self.since = Some(at.max(self.expired_to));
                }
                Effect::Followed { reload: false, at } => {
                    self.since = Some(self.resumed_at.unwrap_or(at.max(self.expired_to)));
                }
            }
        }
        assert!(self.following.waiting.len() <= WAITING_MAX);
    }

    fn previous(&self, seq: u64) -> u64 {
        self.stored.iter().copied().filter(|one| *one < seq && *one > self.expired_to).max().unwrap_or(0)
    }

    fn arrive(&mut self, seq: u64) {
        let copy = live(seq, self.previous(seq));
        let effects = says(|out| self.following.live(copy, out));
        self.apply(effects);
    }

    fn end_read(&mut self, cut: usize) {
        let effects = match self.reading.take() {
            Some(Effect::Read { after, resuming }) => {
                let left = self.stored.iter().copied().filter(|seq| *seq > after && *seq > self.expired_to);
                let left: Vec<u64> = left.collect();
                let take = cut.min(READ_MAX);
                let mut found = page(&left[..take.min(left.len())], left.len() > take);
                found.expired = resuming && self.expired_to > after;
                says(|out| self.following.page(found, out))
            }
            Some(Effect::ReadHead) => {
                let newest = self.stored.iter().copied().filter(|seq| *seq > self.expired_to).max().unwrap_or(0);
                says(|out| self.following.head(newest, out))
            }
            _ => return,
        };
        self.apply(effects);
    }

    fn step(&mut self, what: Happens) {
        match what {
            Happens::Store | Happens::StoreWithoutLiveCopy => {
                let seq = self.stored.last().map_or(1, |last| last + 1 + last % 3);
                self.stored.push(seq);
                if matches!(what, Happens::Store) {
                    self.arrive(seq);
                }
            }
            Happens::LiveAgain(pick) if !self.stored.is_empty() => self.arrive(self.stored[pick % self.stored.len()]),
            Happens::LiveAgain(_) => {}
            Happens::ReadEnds(cut) => self.end_read(cut),
            Happens::ReadFails => {
                if self.reading.take().is_some() {
                    let effects = says(|out| self.following.failed(out));
                    self.apply(effects);
                }
            }
            Happens::Missed => {
                let effects = says(|out| self.following.missed(out));
                self.apply(effects);
            }
            // only what is so old that nobody live lacks it
            Happens::Expire(pick) if self.since.is_none() && !self.stored.is_empty() => {
                self.expired_to = self.expired_to.max(self.stored[pick % self.stored.len()]);
            }
            Happens::Expire(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_event_arrives_once_and_in_order_or_the_history_is_loaded(
        before in 0u64..30,
        resumes in any::<bool>(),
        resume_max in 1usize..60,
        happens in proptest::collection::vec(happens(), 0..300),
    ) {
        let stored: Vec<u64> = (1..=before).collect();
        let resume = resumes.then_some(before / 2);
        let mut following = Following::new(resume, resume_max);
        let started = following.start();
        let mut world = World {
            following,
            stored,
            expired_to: 0,
            reading: None,
            has: Vec::new(),
            since: None,
            resumed_at: resume,
        };
        world.apply(vec![started]);
        for what in happens {
            world.step(what);
        }
        // in the end reads succeed, and whatever was missed is noticed
        for _ in 0..64 {
            world.end_read(READ_MAX);
            world.step(Happens::Missed);
        }
        for _ in 0..16 {
            world.end_read(READ_MAX);
        }
        let since = world.since.expect("it was told where it goes on");
        let wanted: Vec<u64> = world.stored.iter().copied().filter(|seq| *seq > since).collect();
        let has: Vec<u64> = world.has.iter().copied().filter(|seq| *seq > since).collect();
        prop_assert_eq!(has, wanted);
    }
}
