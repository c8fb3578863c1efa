//! What `accounts` answers: who may write to whom.

use serde::{Deserialize, Serialize};

use super::operations;
use crate::AccountId;
use crate::api::accounts::Consent;

operations! { "accounts"
    /// Whether `from` may write to `to`. Changes nothing. An answer that is settled is also put into Redis, under
    /// [`Verdict::cache_key`].
    "standing" MayWrite {
        /// The account that wants to write.
        from: AccountId,
        /// The recipient; the caller knows that it exists.
        to: AccountId,
    } -> Standing;

    /// A message of `from` is about to be stored for `to`, where [`Standing::settled`] was false: somebody new is one of the
    /// day's, and answers are accepted already, because they may be faster than [`Wrote`]. Fails with `rate_limited`.
    "begins_to_write" BeginsToWrite {
        /// The account that wrote.
        from: AccountId,
        /// The account that gets the message.
        to: AccountId,
    } -> ();

    /// It is stored: the sender accepts answers, and the recipient has something to decide about. Again does no harm.
    "wrote" Wrote {
        /// The account that wrote.
        from: AccountId,
        /// The account that got the message.
        to: AccountId,
    } -> ();

    /// Which of these accounts have accepted the asker, and so show it that they are online.
    "who_accepts" WhoAccepts {
        /// Who wants to know.
        asker: AccountId,
        /// Those that may have accepted it.
        accounts: Vec<AccountId>,
    } -> Vec<AccountId>;
}

/// Whether one account may write to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As much as the limits of accounts allow.
    Accepted,
    /// A few messages, until the recipient decides: it is a request.
    Requested,
    /// The recipient refuses.
    Blocked,
    /// The sender has blocked the recipient.
    YouBlocked,
}

impl Verdict {
    /// From what each side has decided about the other.
    pub fn of(sender: Option<Consent>, recipient: Option<Consent>) -> Self {
        match (sender, recipient) {
            (Some(Consent::Blocked), _) => Self::YouBlocked,
            (_, Some(Consent::Blocked)) => Self::Blocked,
            (_, Some(Consent::Accepted)) => Self::Accepted,
            (_, Some(Consent::Requested) | None) => Self::Requested,
        }
    }

    /// The Redis key that holds a copy, only ever of a settled [`Standing`]: a message that finds it there is asked no
    /// further, and notes nothing.
    pub fn cache_key(from: AccountId, to: AccountId) -> String {
        format!("cache:consent:{from}:{to}")
    }

    /// As it stands in Redis.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Requested => "requested",
            Self::Blocked => "blocked",
            Self::YouBlocked => "you_blocked",
        }
    }

    /// Undoes [`Verdict::as_str`]; in Redis, `@` and the revision it is of come after it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split('@').next()?;
        [Self::Accepted, Self::Requested, Self::Blocked, Self::YouBlocked].into_iter().find(|v| v.as_str() == text)
    }
}

/// How one account stands with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it may write.
    pub verdict: Verdict,
    /// Its messages change nothing about it: either none is stored, or both know each other and it accepts answers already.
    pub settled: bool,
}

impl Standing {
    /// From what each side has decided about the other.
    pub fn of(sender: Option<Consent>, recipient: Option<Consent>) -> Self {
        let verdict = Verdict::of(sender, recipient);
        let settled = match verdict {
            Verdict::Blocked | Verdict::YouBlocked => true,
            Verdict::Accepted | Verdict::Requested => sender == Some(Consent::Accepted) && recipient.is_some(),
        };
        Self { verdict, settled }
    }

    /// As it stands in Redis, without the revision that it is of.
    pub const fn cached(self) -> &'static str {
        if self.settled { self.verdict.as_str() } else { "ask" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_wins_over_everything() {
        use Consent::{Accepted, Blocked, Requested};
        for other in [None, Some(Requested), Some(Accepted), Some(Blocked)] {
            assert_eq!(Verdict::of(Some(Blocked), other), Verdict::YouBlocked);
        }
        for own in [None, Some(Requested), Some(Accepted)] {
            assert_eq!(Verdict::of(own, Some(Blocked)), Verdict::Blocked);
            assert_eq!(Verdict::of(own, None), Verdict::Requested);
            assert_eq!(Verdict::of(own, Some(Accepted)), Verdict::Accepted);
        }
    }

    #[test]
    fn a_standing_is_kept_only_where_a_message_would_change_nothing() {
        use Consent::{Accepted, Blocked, Requested};
        for (sender, recipient, cached) in [
            (None, None, "ask"),
            (None, Some(Accepted), "ask"),
            (Some(Requested), Some(Accepted), "ask"),
            (Some(Accepted), None, "ask"),
            (Some(Accepted), Some(Requested), "requested"),
            (Some(Accepted), Some(Accepted), "accepted"),
            (None, Some(Blocked), "blocked"),
            (Some(Blocked), None, "you_blocked"),
        ] {
            let standing = Standing::of(sender, recipient);
            assert_eq!(standing.cached(), cached, "{sender:?} {recipient:?}");
            assert_eq!(Verdict::parse(&format!("{cached}@3")), standing.settled.then_some(standing.verdict));
        }
    }
}
