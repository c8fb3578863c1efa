//! A document without its formatting: for search, notifications and terminals.

use super::{Block, Inline};
use crate::ids::{AccountId, ChannelId, RoleId};
use crate::names::isolated;

/// What becomes of spoilers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoilers {
    /// Their text stands there.
    Shown,
    /// Something dark stands there.
    Hidden,
}

/// Who or what has a name that the text does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// An account.
    User(AccountId),
    /// A role.
    Role(RoleId),
    /// A channel.
    Channel(ChannelId),
}

/// The text for people. Names come from `names`; a mention whose name it does not know stays as it is written, and an empty name
/// leaves the mention out. A link is its text and, in brackets, where it leads, unless the text says that.
pub fn plain(blocks: &[Block], spoilers: Spoilers, names: &dyn Fn(Named) -> Option<String>) -> String {
    let mut writer = Writer { out: String::new(), names: Some(names), spoilers, is_quoted: false, glue: false };
    writer.blocks(blocks);
    writer.out
}

/// The text as Markdown without formatting: everything is text but the mentions, and they are the ones of [`super::mentions`]. For
/// those who send a text on to somebody who knows the names.
pub fn escaped(blocks: &[Block], spoilers: Spoilers) -> String {
    let mut writer = Writer { out: String::new(), names: None, spoilers, is_quoted: false, glue: false };
    writer.blocks(blocks);
    writer.out
}

/// Markdown that shows a text as it is: there is a backslash before each sign.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for char in text.chars() {
        if char.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

/// Whether the text of a link says where it leads. The scheme, `www.` and a slash at the end need not stand there.
pub fn is_shown_by(target: &str, text: &str) -> bool {
    fn bare(address: &str) -> &str {
        let address = ["https://", "http://", "mailto:"]
            .into_iter()
            .find_map(|scheme| address.strip_prefix(scheme))
            .unwrap_or(address);
        let address = address.strip_prefix("www.").unwrap_or(address);
        address.strip_suffix('/').unwrap_or(address)
    }
    bare(target) == bare(text)
}

struct Writer<'a> {
    out: String,
    /// Absent for what is escaped.
    names: Option<&'a dyn Fn(Named) -> Option<String>>,
    spoilers: Spoilers,
    /// What stands in a quote mentions nobody.
    is_quoted: bool,
    /// `@everyone` stands at the end, and would be a part of a word.
    glue: bool,
}

impl Writer<'_> {
    fn blocks(&mut self, blocks: &[Block]) {
        for (at, block) in blocks.iter().enumerate() {
            if at > 0 {
                self.line_break();
            }
            match block {
                Block::Paragraph { content } | Block::Heading { content, .. } => self.inlines(content),
                Block::Code { text, .. } => self.lines(text),
                Block::Quote { blocks } => {
                    self.is_quoted = true;
                    self.text("> ");
                    self.blocks(blocks);
                    self.is_quoted = false;
                }
                Block::List { start, items } => self.list(*start, items),
            }
        }
    }

    fn list(&mut self, start: Option<u32>, items: &[Vec<Inline>]) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.line_break();
            }
            match start {
                Some(start) => self.text(&format!("{}. ", start as usize + at)),
                None => self.text("- "),
            }
            self.inlines(item);
        }
    }

    fn inlines(&mut self, content: &[Inline]) {
        for inline in content {
            match inline {
                Inline::Text { text } => self.text(text),
                Inline::Break => self.line_break(),
                Inline::Code { text } => self.lines(text),
                Inline::Bold { content } | Inline::Italic { content } | Inline::Strike { content } => {
                    self.inlines(content);
                }
                Inline::Spoiler { content } => self.spoiler(content),
                Inline::Link { target, content } => self.link(target, content),
                Inline::User { id } => self.named(Named::User(*id), '@', &format!("<@{}>", id.uuid())),
                Inline::Role { id } => self.named(Named::Role(*id), '@', &format!("<@&{}>", id.uuid())),
                Inline::Channel { id } => self.named(Named::Channel(*id), '#', &format!("<#{}>", id.uuid())),
                Inline::Everyone => self.everyone(),
                Inline::Emoji { name, .. } => self.text(&format!(":{name}:")),
            }
        }
    }

    fn spoiler(&mut self, content: &[Inline]) {
        match self.spoilers {
            Spoilers::Shown => self.inlines(content),
            Spoilers::Hidden => {
                self.text("███");
                // whom it mentions, a notification says
                if self.names.is_none() && !self.is_quoted {
                    self.mentions_of(content);
                }
            }
        }
    }

    fn mentions_of(&mut self, content: &[Inline]) {
        for inline in content {
            match inline {
                Inline::User { .. } | Inline::Role { .. } | Inline::Everyone => {
                    self.inlines(std::slice::from_ref(inline))
                }
                Inline::Bold { content }
                | Inline::Italic { content }
                | Inline::Strike { content }
                | Inline::Link { content, .. } => self.mentions_of(content),
                _ => {}
            }
        }
    }

    fn link(&mut self, target: &str, content: &[Inline]) {
        let begin = self.out.len();
        self.inlines(content);
        let is_shown = match content {
            [Inline::Text { text }] => is_shown_by(target, text),
            _ => self.out.get(begin..).is_some_and(|text| is_shown_by(target, text)),
        };
        if !is_shown {
            self.text(&format!(" ({target})"));
        }
    }

    fn named(&mut self, named: Named, sign: char, token: &str) {
        match self.names {
            None if self.is_quoted => self.text(token),
            None => self.put(token),
            Some(names) => match names(named) {
                None => self.put(token),
                Some(name) if name.is_empty() => {}
                Some(name) => self.put(&isolated(&format!("{sign}{name}"))),
            },
        }
    }

    fn everyone(&mut self) {
        if self.names.is_some() || self.is_quoted {
            return self.text("@everyone");
        }
        if self.out.chars().next_back().is_some_and(super::tokens::is_of_word) {
            self.out.push(' ');
        }
        self.put("@everyone");
        self.glue = true;
    }

    /// Text of several lines.
    fn lines(&mut self, text: &str) {
        for (at, line) in text.split('\n').enumerate() {
            if at > 0 {
                self.line_break();
            }
            self.text(line);
        }
    }

    fn line_break(&mut self) {
        self.put("\n");
        if self.is_quoted {
            self.text("> ");
        }
    }

    /// Text, escaped where that is asked for.
    fn text(&mut self, text: &str) {
        if self.names.is_some() {
            return self.out.push_str(text);
        }
        if self.glue && text.chars().next().is_some_and(super::tokens::is_of_word) {
            self.out.push(' ');
        }
        if !text.is_empty() {
            self.put(&escape(text));
        }
    }

    /// As it is.
    fn put(&mut self, text: &str) {
        self.glue = false;
        self.out.push_str(text);
    }
}
