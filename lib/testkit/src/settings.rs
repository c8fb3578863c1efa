//! Settings of a server that differ from its defaults.

use alloy_primitives::Address;
use toml::{Table, Value};

use crate::Anvil;
use crate::contracts::Contracts;

/// Settings that a test raises all at once: rate limits, allowances of bytes, and what one address may have of the public
/// listener, because a test has only one.
const LIMITS: [&str; 37] = [
    "limits.sends_per_account_per_minute",
    "limits.sends_per_pair_per_minute",
    "limits.request_messages",
    "limits.new_contacts_per_day",
    "limits.bundles_per_pair_per_10_minutes",
    "limits.one_time_prekeys_per_stranger_per_day",
    "limits.one_time_prekeys_per_contact_per_day",
    "limits.one_time_prekeys_to_strangers_per_10_minutes",
    "limits.key_uploads_per_device_per_minute",
    "limits.sign_ins_per_address_per_minute",
    "limits.requests_per_account_per_minute",
    "limits.presence_accounts_per_minute",
    "limits.hellos_per_device_per_minute",
    "limits.token_fetches_per_account_per_minute",
    "channels.posts_per_account_per_minute",
    "channels.posts_per_channel_per_minute",
    "channels.changes_per_account_per_minute",
    "channels.reads_per_account_per_minute",
    "mailbox.request_bytes_per_recipient_per_day",
    "mailbox.bytes_per_account_per_day",
    "mailbox.bytes_per_new_account_per_day",
    "mailbox.bytes_per_pair_per_day",
    "mailbox.bytes_per_recipient_per_day",
    "http.connections_per_address_max",
    "http.connections_per_prefix_max",
    "http.connections_per_address_per_second",
    "http.connections_per_prefix_per_second",
    "http.greetings_per_address_max",
    "http.greetings_per_prefix_max",
    "http.requests_per_address_max",
    "http.requests_per_prefix_max",
    "http.requests_per_address_per_second",
    "http.requests_per_prefix_per_second",
    "sign_up.accounts_per_address_per_hour",
    "sign_up.accounts_per_address_per_day",
    "sign_up.accounts_per_prefix_per_hour",
    "sign_up.accounts_per_prefix_per_day",
];

/// Values of the configuration by their names, `section.field`.
#[derive(Debug, Clone, Default)]
pub struct Settings(Table);

impl Settings {
    /// None: the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `section.field`. The server refuses to start if there is no such field.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        let (section, field) = name.split_once('.').unwrap_or(("", name));
        let section = self.0.entry(section).or_insert_with(|| Table::new().into());
        if let Some(section) = section.as_table_mut() {
            section.insert(field.to_owned(), value.into());
        }
        self
    }

    /// Adds a chain that is watched.
    #[must_use]
    pub fn chain(mut self, chain: &WatchedChain) -> Self {
        let chains = self.0.entry("chains").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(chains) = chains.as_array_mut() {
            chains.push(chain.0.clone().into());
        }
        self
    }

    /// Raises every rate limit out of reach, and what one address may have.
    #[must_use]
    pub fn unlimited(self) -> Self {
        LIMITS.iter().fold(self, |settings, limit| settings.set(limit, i64::from(u32::MAX)))
    }

    /// These, and the other's where both name a field.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (section, fields) in &other.0 {
            if fields.is_array() {
                self.0.insert(section.clone(), fields.clone());
            }
            for (field, value) in fields.as_table().into_iter().flatten() {
                self = self.set(&format!("{section}.{field}"), value.clone());
            }
        }
        self
    }

    /// The value of `section.field`, if set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let (section, field) = name.split_once('.')?;
        self.0.get(section)?.get(field)
    }

    /// The configuration file.
    pub fn to_toml(&self) -> String {
        self.0.to_string()
    }
}

/// A chain as the server's configuration has it.
#[derive(Debug, Clone, Default)]
pub struct WatchedChain(Table);

impl WatchedChain {
    /// An anvil, asked directly, of which a block is final with so many on top.
    pub fn of(anvil: &Anvil, finality: u64) -> Self {
        Self::default()
            .set("id", anvil.chain_id() as i64)
            .set("rpc", vec![anvil.url()])
            .set("finality", finality as i64)
            .set("poll_ms", 50)
    }

    /// Sets a field.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// Asks these nodes, in place of the anvil itself.
    #[must_use]
    pub fn through(self, urls: &[String]) -> Self {
        self.set("rpc", urls.to_vec())
    }

    /// Watches a contract: `erc20`, `erc721`, `erc1155`, `staking`, `multisend` or `token`.
    #[must_use]
    pub fn contract(mut self, kind: &str, address: Address, start_block: u64) -> Self {
        let contracts = self.0.entry("contracts").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(contracts) = contracts.as_array_mut() {
            let mut contract = Table::new();
            contract.insert("kind".into(), kind.into());
            contract.insert("address".into(), address.to_string().into());
            contract.insert("start_block".into(), (start_block as i64).into());
            contracts.push(contract.into());
        }
        self
    }

    /// Watches all of our contracts.
    #[must_use]
    pub fn contracts(self, contracts: &Contracts) -> Self {
        let start = contracts.start_block;
        self.contract("erc20", contracts.token.0, start)
            .contract("staking", contracts.staking.0, start)
            .contract("erc721", contracts.pass.0, start)
            .contract("erc1155", contracts.badge.0, start)
            .contract("multisend", contracts.multisender.0, start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_setting_wins_and_the_rest_stays() {
        let base = Settings::new().set("nats.url", "nats://a").set("nats.shards", 2);
        let all = base.and(&Settings::new().set("nats.url", "nats://b").set("mailbox.expire_after_s", 3));
        assert_eq!(all.get("nats.url").and_then(Value::as_str), Some("nats://b"));
        assert_eq!(all.get("nats.shards").and_then(Value::as_integer), Some(2));
        assert!(all.to_toml().contains("[mailbox]\nexpire_after_s = 3\n"));
    }
}
