//! What one's own other devices are told.
//!
//! The gateway does not tell a device that its account has a new one. The new one says so itself, and what was written in
//! between is told again: a device that joined misses nothing that was said after it joined.

use std::time::Duration;

use nepto_proto::content::{Content, ReadSync, Text, content::Kind};

use crate::SdkError;
use crate::attachment::with_files;
use crate::core::Core;
use crate::interpret::write_ref;
use crate::model::{Body, Message};
use crate::outbox::sent_sync;
use crate::store::backend::Durability;

/// Messages of each conversation that are looked at, and told again at most.
const RECENT_MAX: usize = 50;
/// Older ones are history, which a new device does not get.
const RECENT: Duration = Duration::from_secs(3600);

impl Core {
    /// Says hello to one's own other devices, which learn of this one by it.
    pub fn greet_own_devices(&mut self) -> Result<(), SdkError> {
        let txn = self.store.begin();
        let kind = Some(Kind::ReadSync(ReadSync { read: Vec::new() }));
        let content = Content { sent_at_ms: self.env.now_ms(), expire_after_s: 0, kind };
        self.enqueue(&txn, self.me.account, self.new_id().id, &content, (false, false))?;
        Ok(txn.commit(Durability::Now)?)
    }

    /// Tells one's own other devices what was written here since a moment of the server's clock: when one of them joined.
    /// Those that know it already drop it.
    pub fn sync_recent(&mut self, since_server_ms: u64) -> Result<(), SdkError> {
        let since = since_server_ms.saturating_add_signed(-self.server_ahead_ms);
        let since = since.max(self.env.now_ms().saturating_sub(RECENT.as_millis() as u64));
        let txn = self.store.begin();
        let mut reported = Vec::new();
        for conversation in txn.conversations()?.iter().filter(|c| c.last_at_ms >= since) {
            let recent = txn.history(conversation.peer, None, RECENT_MAX)?;
            reported.extend(recent.into_iter().filter(|m| m.at_ms >= since && m.id.author == self.me.account));
        }
        reported.sort_by_key(|message| message.order);
        for message in reported.iter().rev().take(RECENT_MAX).rev() {
            let Message { sent_at_ms, expire_after_s, .. } = *message;
            let Body::Text(body) = message.body.clone() else { continue };
            let text = Text { body, reply_to: message.reply_to.map(write_ref), ..Text::default() };
            let text = with_files(text, message);
            let content = Content { sent_at_ms, expire_after_s, kind: Some(Kind::Text(text)) };
            let sync = sent_sync(message.conversation, message.id.id, content);
            self.enqueue(&txn, self.me.account, self.new_id().id, &sync, (false, false))?;
        }
        Ok(txn.commit(Durability::Now)?)
    }
}
