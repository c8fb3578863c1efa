//! NATS subjects and stream names. No other place writes one out.
//!
//! | subject | kind | carries |
//! |---|---|---|
//! | `dm.<shard>.<account>.<device>` | stream `DM_<shard>` | an [`Envelope`](crate::wire::Envelope) |
//! | `missed.<shard>.<account>.<device>` | stream `DM_<shard>` | since when the device misses messages, because its mailbox was full |
//! | `missed.<shard>.probe.write` | stream `DM_<shard>` | nothing: whether it is stored is what counts, after something was not |
//! | `live.<account>.<device>.dm` | republished | the envelope, with its sequence in headers |
//! | `live.<account>.<device>.typing` | core | a [`TypingFrom`](crate::wire::TypingFrom) |
//! | `live.<account>.<device>.control` | core | a [`Control`](crate::event::Control) |
//! | `live.<account>.<device>.mailbox` | core | a [`MailboxNotice`](crate::event::MailboxNotice) |
//! | `live.<account>.<device>.keys` | core | a [`KeysNotice`](crate::event::KeysNotice) |
//! | `channel.<community>.<channel>` | stream `CHANNEL` | a [`ChannelEvent`](crate::wire::ChannelEvent) |
//! | `live.channel.<community>.<channel>` | republished, core | the event, with its sequence in headers; or without, a [`ChannelTypingFrom`](crate::wire::ChannelTypingFrom) |
//! | `live.community.<community>` | core | a [`CommunityNotice`](crate::event::CommunityNotice) |
//! | `live.account.<account>` | core | a [`ChannelsNotice`](crate::event::ChannelsNotice) |
//! | `events.<domain>.<event>` | stream `EVENTS` | an [`event`](crate::event) |
//! | `dlq.<stream>.<consumer>` | stream `DLQ` | what a consumer could not process |
//! | `probe.write` | stream `PROBE` | nothing: whether it is stored is what counts |
//! | `roll_call` | request, and a reply of each | the name of a process that runs |
//! | `svc.<domain>.<operation>` | request/reply | JSON |
//! | `hint.chain.<chain>` | core | nothing: look at the chain now |
//! | `chain.<pipeline>.<chain>` | stream `CHAIN` | a [`ChainUpdate`](crate::chain::ChainUpdate) |
//!
//! A gateway subscribes to `live.<account>.<device>.*` for each socket, and to what domains ask for: the subscription table is
//! the routing table.

use serde::Deserialize;

use crate::{AccountId, ChannelId, CommunityId, DeviceId};

/// The stream of domain events.
pub const EVENTS_STREAM: &str = "EVENTS";
/// The stream of what consumers could not process.
pub const DEAD_LETTERS_STREAM: &str = "DLQ";
/// The stream of what happens on chains.
pub const CHAIN_STREAM: &str = "CHAIN";

/// The stream of everything that happens in channels.
pub const CHANNELS_STREAM: &str = "CHANNEL";

/// What `/readyz` stores to see whether anything can be stored; its stream is `PROBE`.
pub const PROBE_SUBJECT: &str = "probe.write";

/// Every process that runs answers with its name.
pub const ROLL_CALL: &str = "roll_call";

/// How many streams the mailboxes are spread over. Fixed for the life of a deployment's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct Shards(u16);

impl Shards {
    /// What a deployment has unless it says otherwise. JetStream stands still for a stream while it compacts a block of it,
    /// some ten milliseconds every few seconds under load; with eight, seven of eight messages do not notice.
    pub const DEFAULT: Self = Self(8);

    /// 1 to 256 shards.
    pub fn new(count: u16) -> Option<Self> {
        (1..=256).contains(&count).then_some(Self(count))
    }

    /// Every shard, ascending.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }

    /// The shard of an account: FNV-1a of its bytes, so that any program finds the same.
    pub fn of(self, account: AccountId) -> Shard {
        let hash = account.uuid().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Shard((hash % u64::from(self.0)) as u16)
    }
}

impl TryFrom<u16> for Shards {
    type Error = &'static str;
    fn try_from(count: u16) -> Result<Self, &'static str> {
        Self::new(count).ok_or("shards must be 1 to 256")
    }
}

/// One of the mailbox streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u16);

impl Shard {
    /// Its place in a table of all shards.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The name of its JetStream stream, `DM_<shard>`.
    pub fn stream(self) -> String {
        format!("DM_{}", self.0)
    }

    /// The mailboxes of one account.
    pub fn mailboxes_of(self, account: AccountId) -> String {
        format!("dm.{}.{account}.*", self.0)
    }

    /// The mark of a device that misses messages.
    pub fn missed(self, account: AccountId, device: DeviceId) -> String {
        format!("missed.{}.{account}.{device}", self.0)
    }

    /// The marks of one account's devices.
    pub fn missed_of(self, account: AccountId) -> String {
        format!("missed.{}.{account}.*", self.0)
    }

    /// What is stored here to see whether the stream stores: among the marks, because nobody republishes them, and of no account.
    pub fn probe(self) -> String {
        format!("missed.{}.probe.write", self.0)
    }

    /// The mailbox of one device.
    pub fn mailbox(self, account: AccountId, device: DeviceId) -> String {
        format!("dm.{}.{account}.{device}", self.0)
    }
}

/// Reads `dm.<shard>.<account>.<device>`; `None` if the subject is anything else.
pub fn parse_mailbox(subject: &str) -> Option<(AccountId, DeviceId)> {
    parse_of_device("dm", subject)
}

/// Reads `missed.<shard>.<account>.<device>`; `None` if the subject is anything else.
pub fn parse_missed(subject: &str) -> Option<(AccountId, DeviceId)> {
    parse_of_device("missed", subject)
}

fn parse_of_device(kind: &str, subject: &str) -> Option<(AccountId, DeviceId)> {
    let mut parts = subject.strip_prefix(kind)?.strip_prefix('.')?.split('.');
    let (Some(_shard), Some(account), Some(device), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    Some((account.parse().ok()?, device.parse().ok()?))
}

/// What reaches the socket of a device at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// A stored message.
    Dm,
    /// Somebody types in a conversation with this account, or stopped.
    Typing,
    /// Something about the connection itself, for instance that its session ended.
    Control,
    /// Something about the mailbox.
    Mailbox,
    /// Something about devices and their keys.
    Keys,
}

impl Live {
    /// Every kind, without order.
    pub const ALL: [Self; 5] = [Self::Dm, Self::Typing, Self::Control, Self::Mailbox, Self::Keys];

    const fn token(self) -> &'static str {
        match self {
            Self::Dm => "dm",
            Self::Typing => "typing",
            Self::Control => "control",
            Self::Mailbox => "mailbox",
            Self::Keys => "keys",
        }
    }

    /// The subject of one device's notices of this kind, `live.<account>.<device>.<kind>`.
    pub fn subject(self, account: AccountId, device: DeviceId) -> String {
        format!("live.{account}.{device}.{}", self.token())
    }

    /// Everything for one device.
    pub fn all(account: AccountId, device: DeviceId) -> String {
        format!("live.{account}.{device}.*")
    }

    /// The kind, from the last token of a subject.
    pub fn parse(subject: &str) -> Option<Self> {
        let token = subject.rsplit('.').next()?;
        Self::ALL.into_iter().find(|kind| kind.token() == token)
    }
}

/// Source and destination of the mailbox streams' republish rule: the shard is dropped, so that one subscription serves
/// a device wherever its mailbox lies.
pub const REPUBLISH_DM: (&str, &str) = ("dm.*.*.*", "live.{{wildcard(2)}}.{{wildcard(3)}}.dm");

/// Source and destination of the republish rule of the stream of channels: each process that has a listener gets a message once.
pub const REPUBLISH_CHANNEL: (&str, &str) = ("channel.*.*", "live.channel.{{wildcard(1)}}.{{wildcard(2)}}");

/// What happens in a channel, as it is stored: `channel.<community>.<channel>`.
pub fn channel(community: CommunityId, channel: ChannelId) -> String {
    format!("channel.{community}.{channel}")
}

/// Everything that happens in the channels of a community.
pub fn channels_of(community: CommunityId) -> String {
    format!("channel.{community}.*")
}

/// Reads `channel.<community>.<channel>`; `None` if the subject is anything else.
pub fn parse_channel(subject: &str) -> Option<(CommunityId, ChannelId)> {
    let mut parts = subject.strip_prefix("channel.")?.split('.');
    let (Some(community), Some(channel), None) = (parts.next(), parts.next(), parts.next()) else { return None };
    Some((community.parse().ok()?, channel.parse().ok()?))
}

/// What happens in a channel, as it happens.
pub fn live_channel(community: CommunityId, channel: ChannelId) -> String {
    format!("live.channel.{community}.{channel}")
}

/// The subject of what is said to all sockets that listen to a community, `live.community.<community>`.
pub fn live_community(community: CommunityId) -> String {
    format!("live.community.{community}")
}

/// What all connections of an account hear about channels.
pub fn live_account(account: AccountId) -> String {
    format!("live.account.{account}")
}

/// The subject of a domain's event, `events.<domain>.<event>`.
pub fn event(domain: &str, event: &str) -> String {
    format!("events.{domain}.{event}")
}

/// The subject of what a pipeline gets of a chain, `chain.<pipeline>.<chain>`.
pub fn chain(pipeline: &str, chain_id: u64) -> String {
    format!("chain.{pipeline}.{chain_id}")
}

/// The subject of a consumer's dead letters, `dlq.<stream>.<consumer>`.
pub fn dead_letter(stream: &str, consumer: &str) -> String {
    format!("dlq.{stream}.{consumer}")
}

/// `hint.chain.<chain>`: somebody heard that something happened there; look now.
pub fn chain_hint(chain_id: u64) -> String {
    format!("hint.chain.{chain_id}")
}

/// The subject of requests for an operation, `svc.<domain>.<operation>`.
pub fn service(domain: &str, operation: &str) -> String {
    format!("svc.{domain}.{operation}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_mailbox_subject_is_read_back() {
        let account = AccountId::new(Uuid::from_u128(7));
        let device = DeviceId::try_from(3).unwrap();
        let subject = Shards::new(4).unwrap().of(account).mailbox(account, device);
        assert_eq!(parse_mailbox(&subject), Some((account, device)));
        assert_eq!(parse_mailbox(&format!("{subject}.x")), None);
        assert_eq!(parse_mailbox("dm.0.x.1"), None);
        let mark = Shards::new(4).unwrap().of(account).missed(account, device);
        assert_eq!((parse_missed(&mark), parse_mailbox(&mark)), (Some((account, device)), None));
        let probe = Shards::new(4).unwrap().of(account).probe();
        assert_eq!((parse_missed(&probe), parse_mailbox(&probe)), (None, None));
    }

    #[test]
    fn a_channel_subject_is_read_back() {
        let (community, channel_id) = (CommunityId::new(Uuid::from_u128(7)), ChannelId::new(Uuid::from_u128(8)));
        let subject = channel(community, channel_id);
        assert_eq!(parse_channel(&subject), Some((community, channel_id)));
        assert_eq!(parse_channel(&format!("{subject}.x")), None);
        assert_eq!(parse_channel("channel.x"), None);
        assert!(live_channel(community, channel_id).ends_with(&subject));
    }

    #[test]
    fn shards_are_stable_and_all_used() {
        let shards = Shards::new(8).unwrap();
        let used: std::collections::BTreeSet<_> =
            (0..1000u128).map(|n| shards.of(AccountId::new(Uuid::from_u128(n)))).collect();
        assert_eq!(used.len(), 8);
        // pinned: a change here would lose every stored message
        assert_eq!(shards.of(AccountId::new(Uuid::from_u128(1))).stream(), "DM_2");
    }

    #[test]
    fn live_subjects_are_read_back() {
        let account = AccountId::new(Uuid::from_u128(7));
        let device = DeviceId::try_from(3).unwrap();
        for kind in Live::ALL {
            assert_eq!(Live::parse(&kind.subject(account, device)), Some(kind));
        }
    }
}
