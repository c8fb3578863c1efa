//! The text of messages in channels: a small Markdown. The grammar is docs/markdown.md, and docs/markdown.json has vectors for other
//! clients.
//!
//! What must hold: any text is a document; it is read in linear time, whatever stands in it; nothing nests deeper than
//! [`DEPTH_MAX`]; there is no HTML, and no picture that is loaded from elsewhere.

mod blocks;
mod inlines;
mod plain;
#[cfg(test)]
mod tests;
mod tokens;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::plain::{Named, Spoilers, escape, escaped, is_shown_by, plain};
use crate::ids::{AccountId, ChannelId, RoleId};

/// A quote, in it a list, and in an item each of bold, two italics, strike, spoiler and link, and what stands in there.
pub const DEPTH_MAX: usize = 9;
/// Accounts and roles that one message mentions; further ones are shown as mentions, and mention nobody.
pub const MENTIONS_MAX: usize = 100;
/// Bytes of a link's target. What is longer is text.
pub const TARGET_BYTES_MAX: usize = 2_048;

/// A part of a document that stands on lines of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Text, with its line breaks.
    Paragraph {
        /// Not empty.
        content: Vec<Inline>,
    },
    /// A heading.
    Heading {
        /// 1 to 3.
        level: u8,
        /// Not empty.
        content: Vec<Inline>,
    },
    /// Lines that are shown as they are.
    Code {
        /// Of the code, for colours: `rust`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// Without the last line break.
        text: String,
    },
    /// What somebody else said. There is no quote in a quote.
    Quote {
        /// Everything else may stand in it.
        blocks: Vec<Block>,
    },
    /// A list. There is no list in a list.
    List {
        /// The number of the first item; a list without numbers if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<u32>,
        /// Each on one line.
        items: Vec<Vec<Inline>>,
    },
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Inline {
    /// Characters. No two of them stand side by side.
    Text {
        /// Not empty.
        text: String,
    },
    /// The end of a line.
    Break,
    /// Code within a line.
    Code {
        /// As it is.
        text: String,
    },
    /// `**bold**`
    Bold {
        /// What is bold.
        content: Vec<Inline>,
    },
    /// `*italic*` or `_italic_`
    Italic {
        /// What is italic.
        content: Vec<Inline>,
    },
    /// `~~struck~~`
    Strike {
        /// What is struck.
        content: Vec<Inline>,
    },
    /// `||spoiler||`: shown when somebody asks for it.
    Spoiler {
        /// What is hidden.
        content: Vec<Inline>,
    },
    /// `[text](target)`, or an address alone.
    Link {
        /// `http:`, `https:` or `mailto:`. It is shown beside the text unless the text is this ([`is_shown_by`]).
        target: String,
        /// No link stands in it.
        content: Vec<Inline>,
    },
    /// `<@uuid>`
    User {
        /// Which account.
        id: AccountId,
    },
    /// `<@&uuid>`
    Role {
        /// Which role.
        id: RoleId,
    },
    /// `<#uuid>`
    Channel {
        /// Which channel.
        id: ChannelId,
    },
    /// `@everyone`
    Everyone,
    /// `<:name:uuid>`. Reserved: until there are emoji of communities, `:name:` is shown.
    Emoji {
        /// 2 to 32 of `a-z 0-9 _`.
        name: String,
        /// Which picture.
        id: Uuid,
    },
}

/// Who is mentioned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Accounts, each once, in the order of the text.
    pub users: Vec<AccountId>,
    /// Roles, each once, in the order of the text.
    pub roles: Vec<RoleId>,
    /// Everybody in the channel.
    pub everyone: bool,
}

/// Reads a text. Every text is a document.
pub fn parse(text: &str) -> Vec<Block> {
    parse_counted(text).0
}

/// Reads a text, and counts how often one of its bytes was looked at.
fn parse_counted(text: &str) -> (Vec<Block>, usize) {
    let lines: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let mut steps = text.len();
    let blocks = blocks::parse(&lines, blocks::Within::Document, &mut steps);
    (blocks, steps)
}

/// Whom a text mentions: not in code or in a quote, and the first [`MENTIONS_MAX`] accounts and roles.
pub fn mentions(text: &str) -> Mentions {
    let mut found = Mentions::default();
    for block in parse(text) {
        match block {
            Block::Paragraph { content } | Block::Heading { content, .. } => note(&content, &mut found),
            Block::List { items, .. } => items.iter().for_each(|item| note(item, &mut found)),
            Block::Code { .. } | Block::Quote { .. } => {}
        }
    }
    found
}

fn note(content: &[Inline], found: &mut Mentions) {
    for inline in content {
        let has_room = found.users.len() + found.roles.len() < MENTIONS_MAX;
        match inline {
            Inline::User { id } if has_room && !found.users.contains(id) => found.users.push(*id),
            Inline::Role { id } if has_room && !found.roles.contains(id) => found.roles.push(*id),
            Inline::Everyone => found.everyone = true,
            Inline::Bold { content }
            | Inline::Italic { content }
            | Inline::Strike { content }
            | Inline::Spoiler { content }
            | Inline::Link { content, .. } => note(content, found),
            Inline::User { .. }
            | Inline::Role { .. }
            | Inline::Text { .. }
            | Inline::Break
            | Inline::Code { .. }
            | Inline::Channel { .. }
            | Inline::Emoji { .. } => {}
        }
    }
}
