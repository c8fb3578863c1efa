//! Direct messages: mailboxes, how a message gets into one and out of it over a socket, typing, and who is there.
//!
//! What must hold:
//! - `stored` is said only after JetStream has synced the message for every device of the recipient whose mailbox has room,
//!   and for the others that they miss it; where none has room it is refused;
//! - strangers have a share of a mailbox, and nobody's bytes are without a bound;
//! - every message reaches its device in the order of the mailbox, and again after a reconnect until it is acknowledged;
//! - a gateway that dies loses no message: what a connection knows, the mailbox knows;
//! - the server sees ciphertexts only.

mod acked;
mod config;
mod consumers;
mod costs;
mod delivery;
mod frames;
mod fullness;
mod jobs;
mod late;
mod mailbox;
mod mailboxes;
mod metrics;
mod presence_query;
mod requests;
mod router;
mod send;
#[cfg(test)]
mod two_people;
mod typing;

use std::time::Duration;

use nepto_kit::Config;
use nepto_kit::domain::Domain;
use nepto_kit::nats::Bounds;

#[cfg(test)]
pub(crate) use router::NAME as ROUTER;

/// The domain. Its messages live in JetStream, so it has no tables.
pub fn domain() -> Domain {
    Domain {
        name: "messaging",
        sections: config::SECTIONS,
        queues: consumers::QUEUES,
        workers: Some(|parts| Ok(consumers::consumers(&parts.ctx))),
        jobs: Some(|parts| Ok(jobs::jobs(&parts.ctx))),
        metrics: metrics::METRICS,
        frames: Some(frames::mount),
        ..Domain::NONE
    }
}

/// The sequence in `<epoch>:<sequence>`; 0 if it is of another epoch.
fn epoch_place(place: &str, epoch: u64) -> u64 {
    let place = place.split_once(':').filter(|(of, _)| of.parse() == Ok(epoch));
    place.and_then(|(_, seq)| seq.parse().ok()).unwrap_or(0)
}

/// What the streams of the mailboxes may hold.
pub fn stream_bounds(config: &Config) -> Bounds {
    let mailbox = config.section::<config::Mailbox>();
    Bounds {
        max_age: Duration::from_secs(mailbox.expire_after_s),
        duplicate_window: Duration::from_secs(mailbox.duplicate_window_s),
        messages_per_subject_max: mailbox.messages_max,
        bytes_max: mailbox.shard_bytes_max,
    }
}

#[cfg(test)]
mod tests {
    use super::epoch_place;

    #[test]
    fn a_place_of_another_epoch_means_the_beginning() {
        assert_eq!(epoch_place("7:42", 7), 42);
        for place in ["6:42", "", "x", "7:", "7:x"] {
            assert_eq!(epoch_place(place, 7), 0, "{place}");
        }
    }
}
