//! A channel that a connection follows: what was sent, and whether the stream must be read.
//!
//! A state machine without I/O: it takes what happened and says what to do. What does it is in `frames.rs`.
//!
//! What must hold, whatever arrives in whatever order:
//! - events are sent in the order of the stream, none twice, and none is skipped: a gap is closed by reading;
//! - unless it is said to be so: where too much was missed, or nobody knows what, the client is told to load the history, after the
//!   place from which events go on;
//! - what waits here is bounded: of what is too much, nothing is kept, and it is read.

use std::collections::VecDeque;

/// Live events that wait for the end of a read.
const WAITING_MAX: usize = 64;
/// Events of one read.
pub const READ_MAX: usize = 100;
/// A replica may lag behind the leader: a read that does not find what is known to be stored is repeated so often.
const FRUITLESS_MAX: u8 = 5;

/// What should be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// Send this event.
    Send(T),
    /// Read up to [`READ_MAX`] events after this sequence, then call [`Following::page`].
    Read {
        /// The sequence before the first that is wanted.
        after: u64,
        /// The client stopped there: some may have expired since, which must be found out.
        resuming: bool,
    },
    /// Find out the newest sequence of the channel, then call [`Following::head`].
    ReadHead,
    /// Tell the client that what comes after this place follows, and whether it has to load what was before.
    Followed {
        /// Everything up to here was sent, or is in the history.
        at: u64,
        /// The history is to be loaded.
        reload: bool,
    },
}

/// An event that was stored just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live<T> {
    /// Its sequence.
    pub seq: u64,
    /// The sequence before it in the same channel, 0 for none.
    pub previous_seq: u64,
    /// What is sent.
    pub event: T,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// With their sequences, ascending.
    pub events: Vec<(u64, T)>,
    /// More is stored behind them.
    pub more: bool,
    /// Some of what was before them may have expired.
    pub expired: bool,
}

/// A channel that a connection follows.
#[derive(Debug)]
pub struct Following<T> {
    /// The last event that was sent, or where it begins; not known before the first answer.
    cursor: Option<u64>,
    /// It never begins before this: what was sent is not sent again.
    floor: u64,
    /// The last event that is known to be stored.
    newest: u64,
    /// Something is being read.
    reading: bool,
    /// There is, or may be, something to read.
    behind: bool,
    /// The read that is under way may have been too early for it.
    nudged: bool,
    /// What arrived meanwhile.
    waiting: VecDeque<Live<T>>,
    /// How many more events may be read until the client is better off with the history.
    budget: usize,
    resume_max: usize,
    /// The client was told where it goes on, and is told again only to reload.
    announced: bool,
    /// The client wanted to resume, so that it may lack something.
    resumes: bool,
    fruitless: u8,
}

impl<T> Following<T> {
    /// From where a client stopped, or from now on. More than `resume_max` events are not sent again.
    pub fn new(resume: Option<u64>, resume_max: usize) -> Self {
        Self {
            cursor: resume,
            floor: 0,
            newest: 0,
            reading: false,
            behind: false,
            nudged: false,
            waiting: VecDeque::new(),
            budget: resume_max,
            resume_max,
            announced: false,
            resumes: resume.is_some(),
            fruitless: 0,
        }
    }

    /// A client that stopped at a place that nobody knows any more, or whose past it may not see.
    pub fn lost(resume_max: usize) -> Self {
        Self { resumes: true, ..Self::new(None, resume_max) }
    }

    /// The channel is subscribed: what is stored from now on arrives.
    pub fn start(&mut self) -> Effect<T> {
        self.reading = true;
        match self.cursor {
            Some(after) => Effect::Read { after, resuming: true },
            None => Effect::ReadHead,
        }
    }

    /// An event was stored just now.
    pub fn live(&mut self, live: Live<T>, effects: &mut Vec<Effect<T>>) {
        self.newest = self.newest.max(live.seq);
        let Some(cursor) = self.cursor else { return self.wait(live) };
        if live.seq <= cursor {
            return;
        }
        if self.reading || self.behind {
            return self.wait(live);
        }
        if live.previous_seq > cursor {
            self.wait(live);
            self.behind = true;
            effects.extend(self.read_if_needed());
            return;
        }
        self.send(live.seq, live.event, effects);
    }

    /// Something may have been missed.
    pub fn missed(&mut self, effects: &mut Vec<Effect<T>>) {
        self.behind = true;
        self.nudged = self.reading;
        effects.extend(self.read_if_needed());
    }

    /// A read has ended.
    pub fn page(&mut self, page: Page<T>, effects: &mut Vec<Effect<T>>) {
        self.reading = false;
        let Some(before) = self.cursor else { return };
        if page.expired || page.events.len() > self.budget {
            return self.give_up(effects);
        }
        for (seq, event) in page.events {
            if self.cursor.is_some_and(|cursor| seq > cursor) {
                self.budget -= 1;
                self.send(seq, event, effects);
            }
        }
        self.settle(page.more, Some(before), effects);
    }

    /// The newest sequence of the channel was found.
    pub fn head(&mut self, seq: u64, effects: &mut Vec<Effect<T>>) {
        self.reading = false;
        self.cursor = Some(seq.max(self.floor));
        self.newest = self.newest.max(seq);
        self.announce(self.resumes, effects);
        self.settle(false, None, effects);
    }

    /// A read has failed; the caller waits and tries again.
    pub fn failed(&mut self, effects: &mut Vec<Effect<T>>) {
        self.reading = true;
        effects.push(match self.cursor {
            Some(after) => Effect::Read { after, resuming: !self.announced },
            None => Effect::ReadHead,
        });
    }

    /// Reads in a row that did not find what is known to be stored.
    pub fn reads_in_vain(&self) -> u8 {
        self.fruitless
    }

    /// Sends what waited, as far as nothing is missing before it, and reads on if something is.
    fn settle(&mut self, more: bool, before: Option<u64>, effects: &mut Vec<Effect<T>>) {
        self.behind = more;
        while !self.behind {
            let Some(live) = self.waiting.pop_front() else { break };
            let cursor = self.cursor.unwrap_or(0);
            if live.seq <= cursor {
                continue;
            }
            if live.previous_seq > cursor {
                self.waiting.push_front(live);
                self.behind = true;
            } else {
                self.send(live.seq, live.event, effects);
            }
        }
        let cursor = self.cursor.unwrap_or(0);
        self.fruitless = if self.cursor > before { 0 } else { self.fruitless.saturating_add(1) };
        if self.newest > cursor && !more && self.fruitless >= FRUITLESS_MAX {
            // it expired meanwhile, and nobody knows what else did
            return self.give_up(effects);
        }
        self.behind |= self.newest > cursor || std::mem::take(&mut self.nudged);
        if !self.behind {
            self.budget = self.resume_max;
            if !self.announced {
                self.announce(false, effects);
            }
        }
        effects.extend(self.read_if_needed());
    }

    /// The client is better off with the history: it goes on from the newest event.
    fn give_up(&mut self, effects: &mut Vec<Effect<T>>) {
        self.floor = self.cursor.take().unwrap_or(self.floor);
        self.resumes = true;
        self.waiting.clear();
        self.newest = 0;
        self.budget = self.resume_max;
        self.fruitless = 0;
        self.reading = true;
        effects.push(Effect::ReadHead);
    }

    fn announce(&mut self, reload: bool, effects: &mut Vec<Effect<T>>) {
        self.announced = true;
        effects.push(Effect::Followed { at: self.cursor.unwrap_or(0), reload });
    }

    fn send(&mut self, seq: u64, event: T, effects: &mut Vec<Effect<T>>) {
        self.cursor = Some(seq);
        self.newest = self.newest.max(seq);
        effects.push(Effect::Send(event));
    }

    fn wait(&mut self, live: Live<T>) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.clear();
            self.behind = true;
            self.nudged = self.reading;
            return;
        }
        // a copy that comes twice, or late, is of no use
        if self.waiting.back().is_none_or(|last| last.seq < live.seq) {
            self.waiting.push_back(live);
        }
    }

    fn read_if_needed(&mut self) -> Option<Effect<T>> {
        let after = self.cursor?;
        if !self.behind || self.reading {
            return None;
        }
        self.reading = true;
        Some(Effect::Read { after, resuming: !self.announced })
    }
}

#[cfg(test)]
mod tests;
