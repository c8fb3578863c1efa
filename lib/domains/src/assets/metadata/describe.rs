//! Finding out what is said about tokens, and telling it.

use std::cmp::Ordering;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use nepto_kit::Failure;
use nepto_kit::clock::from_ms;
use nepto_kit::fetch::Wanted;
use nepto_proto::api::assets as api;
use nepto_proto::api::assets::{MetadataReason, MetadataState};
use nepto_proto::{AccountId, ErrorCode};

use super::contract::{Call, TokenKey, calls_of, named};
use super::document::{self, Document};
use super::problem::{Problem, parse_reason, reason_text};
use super::{Metadata, not_found, text, uri};
use crate::assets::store::{AttributeRow, TokenRow};

/// Not more often than this is a token tried, whoever asks.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Characters of a URI that are kept to be shown.
const URI_CHARS_MAX: usize = 2_048;

impl Metadata {
    /// How a contract is asked for what it names; one that has no tokens is not found.
    pub fn calls(&self, chain: u64, contract: &Address) -> Result<&'static [Call], Failure> {
        let config = &self.ctx().config;
        let chain = config.chains.iter().find(|known| known.id == chain);
        let chain = chain.ok_or_else(|| Failure::new(ErrorCode::ChainUnknown, "see GET /v1/assets/contracts"))?;
        let declared = chain.contracts.iter().find(|declared| declared.address == *contract);
        let declared = declared.ok_or_else(|| {
            Failure::new(ErrorCode::ContractUnknown, format!("{contract} is not watched; see GET /v1/assets/contracts"))
        })?;
        match calls_of(declared.kind) {
            [] => Err(not_found(format!("{contract} has amounts, and no single tokens"))),
            calls => Ok(calls),
        }
    }

    /// What is known of tokens, in their order. What is not known, or has grown old, is fetched meanwhile.
    pub async fn of(&self, keys: &[TokenKey]) -> Result<Vec<api::Metadata>, Failure> {
        let rows = self.assets.store.tokens(keys).await?;
        let told = keys.iter().map(|key| {
            let row = rows.get(key);
            if self.is_due(row) {
                self.want(*key);
            }
            self.shown(key, row)
        });
        Ok(told.collect())
    }

    /// What is known of a token that somebody named: anybody can name any number, so this has a limit.
    pub async fn of_named(&self, account: AccountId, key: &TokenKey) -> Result<api::Token, Failure> {
        self.calls(key.chain, &key.contract)?;
        let row = self.assets.store.token(key).await?;
        if self.is_due(row.as_ref()) {
            if row.is_none() {
                self.take(account).await?;
            }
            self.want(*key);
        }
        self.with_owner(key, row.as_ref()).await
    }

    /// Finds out anew about a token, and tells what is known until then.
    pub async fn refresh(&self, account: AccountId, key: &TokenKey) -> Result<api::Token, Failure> {
        self.calls(key.chain, &key.contract)?;
        self.take(account).await?;
        let row = self.assets.store.token(key).await?;
        let again_at_ms = row.as_ref().map_or(0, |row| row.tried_at_ms + AGAIN_AFTER.as_millis() as i64);
        if again_at_ms <= self.ctx().clock.now_ms() {
            self.want(*key);
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
            metadata: self.shown(key, row),
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
        for holding in self.assets.of_account(account, false).await? {
            if let Some(mark) = Mark::of(&holding)
                && after.is_none_or(|after| mark > *after)
                && self.calls(mark.key.chain, &mark.key.contract).is_ok()
            {
                held.push((mark, holding.amount));
            }
        }
        held.sort_unstable_by_key(|(mark, _)| *mark);
        let more = held.len().cmp(&limit) == Ordering::Greater;
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

    pub(super) fn is_due(&self, row: Option<&TokenRow>) -> bool {
        self.ctx().config.assets.metadata && row.is_none_or(|row| row.next_try_at_ms <= self.ctx().clock.now_ms())
    }

    /// Finds out about a token in the background, if there is room.
    pub(super) fn want(&self, key: TokenKey) {
        if !self.ctx().config.assets.metadata {
            return;
        }
        let Some(turn) = self.queue.enter(key) else { return };
        let metadata = self.clone();
        self.ctx().tasks.spawn(async move {
            tokio::select! {
                () = metadata.ctx().stop.cancelled() => {}
                found = metadata.find_out(&key) => {
                    if let Err(failure) = found {
                        failure.log();
                    }
                }
            }
            drop(turn);
        });
    }

    async fn find_out(&self, key: &TokenKey) -> Result<(), Failure> {
        let named = self.named(key).await?;
        let (uri, document) = match named {
            Ok(uri) => match self.document(&uri).await? {
                Some(document) => (Some(uri), document),
                None => return Ok(()),
            },
            Err(problem) => (None, Err(problem)),
        };
        let outcome = document.as_ref().map_or_else(|problem| reason_text(problem.reason), |_| "known");
        metrics::counter!("nepto_token_metadata_total", "outcome" => outcome).increment(1);
        let before = self.assets.store.token(key).await?.unwrap_or_default();
        let row = self.row(key, before, uri, document);
        Ok(self.assets.store.save_token(key, row).await?)
    }

    /// What the contract names now.
    async fn named(&self, key: &TokenKey) -> Result<Result<String, Problem>, Failure> {
        let outside = self.outside().await?;
        let calls = self.calls(key.chain, &key.contract)?;
        let pool = outside.pools.get(&key.chain).ok_or_else(|| not_found("no such chain"))?;
        let uri = named(pool, key, calls, self.ctx().config.assets.metadata_bytes_max).await;
        Ok(uri.map(|named| uri::with_id(&named, &key.token)))
    }

    /// What stands there. `None`: nobody has found out.
    async fn document(&self, uri: &str) -> Result<Option<Result<Document, Problem>>, Failure> {
        let wanted = Wanted {
            bytes_max: self.ctx().config.assets.metadata_bytes_max,
            accept: "application/json",
            is_type: may_be_document,
        };
        Ok(match self.outside().await?.file(uri, &wanted).await {
            Ok(Some(file)) => Some(document::read(&file)),
            Ok(None) => None,
            Err(problem) => Some(Err(problem)),
        })
    }

    fn row(
        &self,
        key: &TokenKey,
        before: TokenRow,
        uri: Option<String>,
        document: Result<Document, Problem>,
    ) -> TokenRow {
        let now_ms = self.ctx().clock.now_ms();
        match document {
            Ok(document) => TokenRow {
                uri: uri.as_deref().and_then(shown_uri),
                name: document.name,
                description: document.description,
                image: document.image.map(|image| uri::with_id(&image, &key.token)),
                attributes: document.attributes.into_iter().map(|(name, value)| AttributeRow { name, value }).collect(),
                fetched_at_ms: Some(now_ms),
                reason: None,
                problem: None,
                failures: 0,
                tried_at_ms: now_ms,
                next_try_at_ms: now_ms.saturating_add(self.refresh_after_ms()),
            },
            Err(problem) => TokenRow {
                uri: uri.as_deref().and_then(shown_uri).or(before.uri),
                reason: Some(reason_text(problem.reason).to_owned()),
                problem: Some(problem.detail),
                failures: before.failures + 1,
                tried_at_ms: now_ms,
                next_try_at_ms: now_ms + self.retry_after(before.failures).as_millis() as i64,
                ..before
            },
        }
    }

    /// A row, as it is told.
    fn shown(&self, key: &TokenKey, row: Option<&TokenRow>) -> api::Metadata {
        let nothing = TokenRow::default();
        let row = row.unwrap_or(&nothing);
        let TokenKey { chain, contract, token } = key;
        let problem = match (&row.problem, self.ctx().config.assets.metadata) {
            (Some(detail), true) => Some((parse_reason(row.reason.as_deref().unwrap_or_default()), detail.clone())),
            (_, false) => Some((MetadataReason::Forbidden, "this server fetches no descriptions of tokens".to_owned())),
            (None, true) => None,
        };
        let state = match (row.fetched_at_ms, &problem) {
            (Some(_), _) => MetadataState::Known,
            (None, Some(_)) => MetadataState::Failed,
            (None, None) => MetadataState::Pending,
        };
        let image = || format!("/v1/assets/{chain}/contracts/{contract}/tokens/{token}/image");
        api::Metadata {
            state,
            name: row.name.clone(),
            description: row.description.clone(),
            image: row.image.as_ref().map(|_| image()),
            attributes: row.attributes.iter().map(attribute).collect(),
            uri: row.uri.clone(),
            fetched_at: row.fetched_at_ms.map(from_ms),
            problem: problem.map(|(reason, detail)| api::MetadataProblem {
                reason,
                detail,
                try_again_at: from_ms(row.next_try_at_ms),
            }),
        }
    }
}

fn attribute(row: &AttributeRow) -> api::Attribute {
    api::Attribute { name: row.name.clone(), value: row.value.clone() }
}

/// Whether a file of this media type may be a description. Stores of files often know none.
fn may_be_document(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/json" | "text/json" | "text/plain" | "application/octet-stream" | "binary/octet-stream"
    ) || media_type.starts_with("application/") && media_type.ends_with("+json")
}

/// A URI that can be shown; one that is the file itself is none.
fn shown_uri(uri: &str) -> Option<String> {
    let uri = uri.trim();
    let is_file = uri.starts_with('{') || uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    (!is_file).then(|| text::line(uri, URI_CHARS_MAX))
}

/// A place in the list of tokens that somebody holds: `<chain>:<contract>:<token>:<wallet>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    key: TokenKey,
    wallet: Address,
}

impl Mark {
    /// Of a holding; `None` for what is no token.
    fn of(holding: &api::Holding) -> Option<Self> {
        let token = U256::from_str_radix(holding.token.as_deref()?, 10).ok()?;
        let (contract, wallet) = (holding.contract.parse().ok()?, holding.wallet.parse().ok()?);
        Some(Self { key: TokenKey { chain: holding.chain_id, contract, token }, wallet })
    }

    /// Reads the `next` of a page.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let chain = parts.next()?.parse().ok()?;
        let contract = parts.next()?.parse().ok()?;
        let token = U256::from_str_radix(parts.next()?, 10).ok()?;
        let wallet = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { key: TokenKey { chain, contract, token }, wallet })
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TokenKey { chain, contract, token } = self.key;
        write!(f, "{chain}:{contract}:{token}:{}", self.wallet)
    }
}
