//! What two people may do to each other, as simply as it can be said.

use nepto_proto::api::accounts::Consent;

/// Messages of a request, in this world.
pub const REQUESTS_MAX: u8 = 1;

/// What one of them does, or what happens to both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `PUT /v1/contacts`: accepted.
    Accept,
    /// `PUT /v1/contacts`: blocked.
    Block,
    /// `PUT /v1/contacts`: the decision is taken back.
    Unblock,
    /// Writes a new message.
    Write,
    /// Sends the last message that may have been stored once more, under its id.
    Retry,
    /// Writes a new message; the gateway dies after it was stored and before anybody noted it.
    WriteAndDie,
    /// Writes for other devices than the other one has, and then without a copy for the second device of one's own.
    WrongDevices,
    /// Removes the devices; or, without any, signs in again.
    Relink,
    /// What Redis keeps for minutes is forgotten.
    Wait,
    /// Redis is empty.
    Flush,
}

impl Act {
    /// What either can do.
    pub const OF_ONE: [Self; 8] = [
        Self::Accept,
        Self::Block,
        Self::Unblock,
        Self::Write,
        Self::Retry,
        Self::WriteAndDie,
        Self::WrongDevices,
        Self::Relink,
    ];
    /// What happens to both.
    pub const OF_BOTH: [Self; 2] = [Self::Wait, Self::Flush];
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No message was sent.
    None,
    /// Stored, among the requests or not.
    Stored { request: bool },
    /// Refused, whether for the other's devices or one's own; nothing else happens.
    Mismatch,
    /// Refused; nothing else happens.
    DeviceUnknown,
    /// Refused; nothing else happens.
    Blocked,
    /// Refused; nothing else happens.
    YouBlocked,
    /// Refused; nothing else happens.
    RequestLimit,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// What they think of the other; `None`: the other is no contact of theirs.
    pub consent: Option<Consent>,
    /// Requests that they have used up.
    pub requests: u8,
    /// Their last message that may have been stored, and whether it is one of the requests.
    pub last: Option<bool>,
    /// Whether a message of theirs is on its way, or was when the gateway died.
    pub writing: bool,
    /// Whether they have devices.
    pub linked: bool,
}

impl Person {
    pub const NEW: Self = Self { consent: None, requests: 0, last: None, writing: false, linked: true };
}

/// The law: what happens when one of the two acts.
pub fn happens(people: &mut [Person; 2], who: usize, act: Act) -> Outcome {
    let other = 1 - who;
    match act {
        Act::Accept => people[who].consent = Some(Consent::Accepted),
        Act::Block => people[who].consent = Some(Consent::Blocked),
        // there is nothing to take back from somebody unknown
        Act::Unblock => people[who].consent = people[who].consent.map(|_| Consent::Requested),
        Act::Relink => people[who].linked = !people[who].linked,
        Act::Wait => people.iter_mut().for_each(|person| person.writing = false),
        // the limits of requests are all that Redis knows alone
        Act::Flush => {
            for person in people {
                person.requests = 0;
                person.last = person.last.map(|_| false);
                person.writing = false;
            }
        }
        Act::Write | Act::Retry | Act::WriteAndDie | Act::WrongDevices => return writes(people, who, other, act),
    }
    Outcome::None
}

fn writes(people: &mut [Person; 2], who: usize, other: usize, act: Act) -> Outcome {
    if !people[other].linked {
        return Outcome::DeviceUnknown;
    }
    if people[who].consent == Some(Consent::Blocked) {
        return Outcome::YouBlocked;
    }
    if people[other].consent == Some(Consent::Blocked) {
        return Outcome::Blocked;
    }
    if act == Act::WrongDevices {
        return Outcome::Mismatch;
    }
    // who is writing accepts answers already
    let accepted = people[other].consent == Some(Consent::Accepted);
    let request = !accepted && !people[other].writing;
    let counted = act == Act::Retry && people[who].last == Some(true);
    if request && !counted {
        if people[who].requests == REQUESTS_MAX {
            return Outcome::RequestLimit;
        }
        people[who].requests += 1;
    }
    people[who].last = Some(request || counted);
    let knows = people[who].consent == Some(Consent::Accepted) && people[other].consent.is_some();
    let settled = knows && (accepted || request);
    if !settled {
        people[who].writing = act == Act::WriteAndDie;
    }
    if act != Act::WriteAndDie {
        // writing accepts answers, and gives the other something to decide about
        people[who].consent = Some(Consent::Accepted);
        people[other].consent = people[other].consent.or(Some(Consent::Requested));
    }
    Outcome::Stored { request }
}
