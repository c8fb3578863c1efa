//! What those are called whom messages of a channel speak of: accounts, roles and channels; and the messages as plain text.

use std::iter::once;

use nepto_proto::api::channels::ChannelMessage;
use nepto_proto::api::communities::channels::Channel;
use nepto_proto::api::communities::roles::Role;
use nepto_proto::markdown::{Named, Spoilers, mentions, parse, plain};
use nepto_proto::{AccountId, CommunityId};
use nepto_sdk::Client;

use crate::names::Names;
use crate::text::{clean, clean_name};

/// Names of one community.
#[derive(Debug, Clone)]
pub struct Called {
    pub names: Names,
    pub me: AccountId,
    /// Absent as long as nobody said to which one the channel belongs.
    community: Option<CommunityId>,
    /// Asked for with the first message that mentions one.
    roles: Option<Vec<Role>>,
    channels: Option<Vec<Channel>>,
}

impl Called {
    pub fn of(client: &Client, community: Option<CommunityId>) -> Self {
        Self::new(client.account(), Names::of(client), community)
    }

    pub fn new(me: AccountId, names: Names, community: Option<CommunityId>) -> Self {
        Self { names, me, community, roles: None, channels: None }
    }

    pub fn set_community(&mut self, community: CommunityId) {
        self.community = Some(community);
    }

    /// Asks the server for the names of who wrote these messages, and of whom they mention. What it does not say stays as it is
    /// written.
    pub async fn learn(&mut self, client: &Client, messages: &[ChannelMessage]) {
        let mentioned: Vec<_> = messages.iter().map(|message| mentions(&message.text)).collect();
        let users = mentioned.iter().flat_map(|mentions| mentions.users.iter().copied());
        self.names.learn(client, messages.iter().map(|message| message.author).chain(users)).await;
        let Some(community) = self.community else { return };
        if self.roles.is_none() && mentioned.iter().any(|mentions| !mentions.roles.is_empty()) {
            self.roles = Some(client.roles(community).await.unwrap_or_default());
        }
        if self.channels.is_none() && messages.iter().any(|message| message.text.contains("<#")) {
            self.channels = Some(client.channels(community).await.unwrap_or_default());
        }
    }

    /// Asks for the names of all roles and channels.
    pub async fn learn_community(&mut self, client: &Client) {
        if let Some(community) = self.community {
            self.roles = Some(client.roles(community).await.unwrap_or_default());
            self.channels = Some(client.channels(community).await.unwrap_or_default());
        }
    }

    /// Asks for the name of one account.
    pub async fn learn_account(&mut self, client: &Client, account: AccountId) {
        self.names.learn(client, once(account)).await;
    }

    /// A text in Markdown as a terminal may show it: without formatting, hidden what is hidden, and each line that has letters
    /// written from right to left in an isolate of its own.
    pub fn lines(&self, text: &str) -> Vec<String> {
        let text = plain(&parse(&clean(text)), Spoilers::Hidden, &|named| self.name(named));
        text.replace('\t', "    ").trim_end_matches('\n').split('\n').map(isolated).collect()
    }

    /// The name that stands behind `@` or `#`.
    fn name(&self, named: Named) -> Option<String> {
        let name = match named {
            Named::User(account) => {
                let is_known = account == self.me || self.names.get(account).is_some();
                let label = is_known.then(|| self.names.label(account))?;
                label.strip_prefix('@').map(str::to_owned).unwrap_or(label)
            }
            Named::Role(role) => clean_name(&self.roles.as_ref()?.iter().find(|other| other.role == role)?.name),
            Named::Channel(channel) => {
                clean_name(&self.channels.as_ref()?.iter().find(|other| other.channel == channel)?.name)
            }
        };
        Some(name).filter(|name| !name.is_empty())
    }
}

/// A line that others stand beside, with an isolate around it where it could turn them.
pub fn isolated(line: &str) -> String {
    match line.chars().any(is_from_right_to_left) {
        true => nepto_proto::names::isolated(line),
        false => line.to_owned(),
    }
}

/// Whether a character is in a block of Unicode that is written from right to left (DerivedBidiClass.txt, the defaults R and AL).
fn is_from_right_to_left(char: char) -> bool {
    matches!(
        char,
        '\u{590}'..='\u{8ff}'
            | '\u{fb1d}'..='\u{fdff}'
            | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}'
            | '\u{1e800}'..='\u{1efff}'
    )
}

#[cfg(test)]
mod tests {
    use nepto_proto::RoleId;
    use nepto_proto::permissions::Permissions;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_message_is_plain_text_that_can_not_harm_a_terminal() {
        let (me, role) = (AccountId::new(Uuid::from_u128(1)), RoleId::new(Uuid::from_u128(7)));
        let mut called = Called::new(me, Names::new(me), None);
        assert_eq!(called.lines("**hello** `x`\n||secret||"), ["hello x", "███"]);
        assert_eq!(called.lines("a\u{1b}[2J\u{202e}b"), ["ab"]);
        assert_eq!(called.lines("שלום\nhi"), ["\u{2068}שלום\u{2069}", "hi"]);
        let mention = format!("<@{}> <@&{}>", me.uuid(), role.uuid());
        let unknown = format!("\u{2068}@you\u{2069} <@&{}>", role.uuid());
        assert_eq!(called.lines(&mention), [unknown]);
        called.roles = Some(vec![Role {
            role,
            name: "helpers\u{202e}".into(),
            color: None,
            rank: 1,
            permissions: Permissions::EMPTY,
            hoisted: false,
            mentionable: true,
        }]);
        assert_eq!(called.lines(&mention), ["\u{2068}@you\u{2069} \u{2068}@helpers\u{2069}"]);
    }
}
