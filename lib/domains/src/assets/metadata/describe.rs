//! Finding out what is said about tokens, and telling it.

use std::time::Duration;

use alloy_primitives::Address;
use nepto_kit::Failure;
use nepto_kit::fetch::Wanted;
use nepto_proto::api::assets::{self as api, MetadataReason};
use nepto_proto::{AccountId, ErrorCode};

use super::contract::{Call, TokenKey, calls_of, named};
use super::document::{self, Document};
use super::page::Mark;
use super::problem::{Problem, reason_text};
use super::queue::Turn;
use super::rows::{failed, known, metadata_of};
use super::{Metadata, Outside, not_found, uri};
use crate::assets::store::TokenRow;

/// Not more often than this is a token tried, whoever asks.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Why a token is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nothing is known yet, or it has grown old, or it is time to try again.
    Due,
    /// Somebody asks for it.
    Asked,
}

impl Metadata {
    /// How a contract is asked for what it names; one that has no tokens is not found.
    pub fn calls(&self, chain: u64, contract: &Address) -> Result<&'static [Call], Failure> {
        match calls_of(self.assets.contract(chain, contract)?.kind) {
            [] => Err(not_found(format!("{contract} has amounts, and no single tokens"))),
            calls => Ok(calls),
        }
    }

    /// What is known of tokens, in their order. What is not known, or has grown old, is fetched meanwhile.
    pub async fn of(&self, keys: &[TokenKey]) -> Result<Vec<api::Metadata>, Failure> {
        let rows = self.assets.store.tokens(keys).await?;
        for key in keys {
            if self.is_wanted(Why::Due, rows.get(key)) {
                self.want(*key, Why::Due);
            }
        }
        Ok(keys.iter().map(|key| metadata_of(key, rows.get(key), self.is_on())).collect())
    }

    /// What is known of a token that somebody named: anybody can name any number, so this has a limit.
    pub async fn of_named(&self, account: AccountId, key: &TokenKey) -> Result<api::Token, Failure> {
        self.calls(key.chain, &key.contract)?;
        let row = self.assets.store.token(key).await?;
        self.want_named(account, key, row.as_ref()).await?;
        self.with_owner(key, row.as_ref()).await
    }

    /// Finds out again about a token, and tells what is known until then.
    pub async fn refresh(&self, account: AccountId, key: &TokenKey) -> Result<api::Token, Failure> {
        self.calls(key.chain, &key.contract)?;
        self.take(account).await?;
        let row = self.assets.store.token(key).await?;
        if self.is_wanted(Why::Asked, row.as_ref()) {
            self.want(*key, Why::Asked);
            if let Some(image) = row.as_ref().and_then(|row| row.image.as_ref()) {
                self.refresh_image(image).await?;
            }
        }
        self.with_owner(key, row.as_ref()).await
    }

    async fn with_owner(&self, key: &TokenKey, row: Option<&TokenRow>) -> Result<api::Token, Failure> {
        let owner = match self.assets.owner(key.chain, &key.contract, &key.token, None).await {
            Ok(owner) => Some(owner),
            Err(failure) if failure.code == ErrorCode::NotFound => None,
            Err(failure) => return Err(failure),
        };
        Ok(api::Token {
            chain_id: key.chain,
            contract: key.contract.to_string(),
            token: key.token.to_string(),
            owner,
            metadata: metadata_of(key, row, self.is_on()),
        })
    }

    /// A page of the tokens that the wallets of an account hold.
    pub async fn of_account(
        &self,
        account: AccountId,
        after: Option<&Mark>,
        limit: usize,
    ) -> Result<api::HeldTokens, Failure> {
        let mut held = Vec::new();
        for holding in self.assets.of_account(account, false).await?.holdings {
            if let Some(mark) = Mark::of(&holding)
                && after.is_none_or(|after| mark > *after)
                && self.calls(mark.key.chain, &mark.key.contract).is_ok()
            {
                held.push((mark, holding.amount));
            }
        }
        held.sort_unstable_by_key(|(mark, _)| *mark);
        let more = held.len() > limit;
        held.truncate(limit);
        let keys: Vec<TokenKey> = held.iter().map(|(mark, _)| mark.key).collect();
        let metadata = self.of(&keys).await?;
        let next = held.last().filter(|_| more).map(|(mark, _)| mark.to_string());
        let token = |((mark, amount), metadata): ((Mark, String), api::Metadata)| api::HeldToken {
            chain_id: mark.key.chain,
            wallet: mark.wallet.to_string(),
            contract: mark.key.contract.to_string(),
            token: mark.key.token.to_string(),
            amount,
            metadata,
        };
        Ok(api::HeldTokens { tokens: held.into_iter().zip(metadata).map(token).collect(), next })
    }

    /// Whether it is time to find out about a token.
    fn is_wanted(&self, why: Why, row: Option<&TokenRow>) -> bool {
        let due_at_ms = row.map_or(i64::MIN, |row| match why {
            Why::Due => row.next_try_at_ms,
            Why::Asked => row.tried_at_ms + AGAIN_AFTER.as_millis() as i64,
        });
        self.is_on() && due_at_ms <= self.ctx().clock.now_ms()
    }

    /// Finds out about a token that somebody named, if it is due. One of which nothing is known yet counts against the
    /// account.
    pub(super) async fn want_named(
        &self,
        account: AccountId,
        key: &TokenKey,
        row: Option<&TokenRow>,
    ) -> Result<(), Failure> {
        if !self.is_wanted(Why::Due, row) {
            return Ok(());
        }
        let Some(turn) = self.queue.enter(*key) else { return Ok(()) };
        // somebody may have found out since it was read
        if self.assets.store.token(key).await?.is_none() {
            self.take(account).await?;
        }
        self.start(turn, Why::Due);
        Ok(())
    }

    /// Finds out about a token, if there is room.
    fn want(&self, key: TokenKey, why: Why) {
        if let Some(turn) = self.queue.enter(key) {
            self.start(turn, why);
        }
    }

    fn start(&self, turn: Turn, why: Why) {
        let metadata = self.clone();
        self.ctx().tasks.spawn(async move {
            tokio::select! {
                () = metadata.ctx().stop.cancelled() => {}
                found = metadata.find_out(&turn.key, why) => {
                    if let Err(failure) = found {
                        failure.log();
                    }
                }
            }
            // without this it would end where this task begins
            drop(turn);
        });
    }

    async fn find_out(&self, key: &TokenKey, why: Why) -> Result<(), Failure> {
        // nobody else is at it, so what stands there now is the last word
        let before = self.assets.store.token(key).await?;
        if !self.is_wanted(why, before.as_ref()) {
            return Ok(());
        }
        let (outside, calls) = (self.outside().await?, self.calls(key.chain, &key.contract)?);
        let bytes_max = self.config.metadata_bytes_max;
        let uri = outside.named(key, calls, bytes_max).await;
        let described = match &uri {
            Ok(uri) => outside.described(uri, bytes_max).await,
            Err(problem) => Err(problem.clone()),
        };
        // too much is fetched: whoever asks again gets another chance
        let Some(described) = described.transpose() else { return Ok(()) };
        let outcome = described.as_ref().map_or_else(|problem| reason_text(problem.reason), |_| "known");
        metrics::counter!("nepto_token_metadata_total", "outcome" => outcome).increment(1);
        let (uri, now_ms) = (uri.ok(), self.ctx().clock.now_ms());
        let row = match described {
            Ok(mut document) => {
                document.image = document.image.map(|image| uri::with_id(&image, &key.token));
                known(uri.as_deref(), document, now_ms, self.refresh_after_ms())
            }
            Err(problem) => {
                let before = before.unwrap_or_default();
                let retry_after = self.retry_after(before.failures);
                failed(before, uri.as_deref(), problem, now_ms, retry_after)
            }
        };
        Ok(self.assets.store.save_token(key, row).await?)
    }
}

impl Outside {
    /// What the contract names for a token now.
    async fn named(&self, key: &TokenKey, calls: &[Call], bytes_max: usize) -> Result<String, Problem> {
        let pool = self.pools.get(&key.chain);
        let pool = pool.ok_or_else(|| Problem::new(MetadataReason::ChainUnavailable, "the chain has no nodes"))?;
        Ok(uri::with_id(&named(pool, key, calls, bytes_max).await?, &key.token))
    }

    /// What stands there. `None`: nobody has found out.
    async fn described(&self, uri: &str, bytes_max: usize) -> Result<Option<Document>, Problem> {
        let wanted = Wanted { bytes_max, accept: "application/json", is_type: may_be_document };
        self.file(uri, &wanted).await?.map(|file| document::read(&file)).transpose()
    }
}

/// Whether a file of this media type may be a description. Stores of files often know none.
fn may_be_document(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/json" | "text/json" | "text/plain" | "application/octet-stream" | "binary/octet-stream"
    ) || media_type.starts_with("application/") && media_type.ends_with("+json")
}
