//! Reading messages and their parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, U256};
use nepto_kit::clock::from_s;
use nepto_kit::db::{DbError, Id, Text, vars};
use nepto_proto::api::assets::{MessagePart, MessageWithParts, Payment, SentMessage};
use nepto_proto::svc::collector::Pipeline;

use crate::assets::store::{Descent, MessageName, PartRow, SentRow, Short, Store, TokenHex, message_id};
use crate::text::lines;

/// Parts of a message that are told; our own MultiSender takes 400.
const PARTS_MAX: i64 = 1_000;
/// Characters of a message that are told; our own MultiSender takes 512 bytes.
const TEXT_CHARS_MAX: usize = 4_096;

/// A page of the messages of a contract. The index is read from its end.
pub const NEWEST: &str = "SELECT * FROM sent WHERE scope = $scope AND batch < $before ORDER BY batch DESC LIMIT $limit";

/// Payments to a wallet in some blocks.
pub const PAYMENTS: &str = "SELECT * FROM
    type::record('sent_part', [$chain, $wallet, $from]..[$chain, $wallet, $to]) LIMIT $limit";

/// A place in the list of payments to a wallet: `<block>:<log>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartMark {
    block: u64,
    log: u32,
}

impl PartMark {
    fn of(PartRow { id: Id((_, _, block, log)), .. }: &PartRow) -> Self {
        Self { block: *block, log: *log }
    }
}

impl fmt::Display for PartMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.block, self.log)
    }
}

impl FromStr for PartMark {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (block, log) = text.split_once(':').ok_or(())?;
        Ok(Self { block: block.parse().map_err(drop)?, log: log.parse().map_err(drop)? })
    }
}

impl Store {
    /// Messages of a contract, the newest first: those before a batch, up to a bound.
    pub async fn messages(
        &self,
        chain: u64,
        contract: &Address,
        before: Option<U256>,
        limit: usize,
    ) -> Result<Vec<SentMessage>, DbError> {
        let variables = vars! {
            scope: format!("{chain}:{}", Short(*contract)),
            // above all that are hexadecimal
            before: before.map_or_else(|| "g".to_owned(), |before| TokenHex(before).to_string()),
            limit: limit,
        };
        let rows: Vec<SentRow> = self.db().rows(NEWEST, variables).await?;
        Ok(rows.iter().map(SentRow::to_api).collect())
    }

    /// One message with its parts, in the order of their logs.
    pub async fn message(
        &self,
        chain: u64,
        contract: &Address,
        batch: U256,
    ) -> Result<Option<MessageWithParts>, DbError> {
        let name = MessageName { chain, contract: *contract, batch };
        let row: Option<SentRow> = self.db().run("SELECT * FROM ONLY $id", vars! { id: message_id(name) }).await?;
        let Some(row) = row else { return Ok(None) };
        let statement = "SELECT * FROM sent_part WHERE message = $message LIMIT $limit";
        let mut rows: Vec<PartRow> = self.db().rows(statement, vars! { message: Text(name), limit: PARTS_MAX }).await?;
        rows.sort_by_key(|row| PartMark::of(row).log);
        let part = |PartRow { id: Id((_, recipient, ..)), amount, outcome, .. }: &PartRow| MessagePart {
            recipient: recipient.0.0.to_string(),
            amount: amount.0.0.to_string(),
            outcome: outcome.0,
        };
        Ok(Some(MessageWithParts { message: row.to_api(), parts: rows.iter().map(part).collect() }))
    }

    /// Payments to a wallet, the newest first, and where the next page begins. A payment without its message, which the
    /// contract says last, is not told yet.
    pub async fn payments(
        &self,
        chain: u64,
        wallet: &Address,
        before: Option<PartMark>,
        limit: usize,
    ) -> Result<(Vec<Payment>, Option<PartMark>), DbError> {
        let Some(cursor) = self.cursor(Pipeline::Multisend, chain).await? else { return Ok((Vec::new(), None)) };
        let top = before.map_or(u64::MAX, |before| before.block).min(cursor.height);
        let mut descent = Descent::below(top.saturating_add(1), limit);
        let mut parts: Vec<PartRow> = Vec::new();
        while let Some(part) = descent.next().filter(|_| parts.len() < limit) {
            let variables = vars! {
                chain: chain,
                wallet: Text(Short(*wallet)),
                from: part.from,
                to: part.to,
                limit: part.limit(),
            };
            let rows: Vec<PartRow> = self.db().rows(PAYMENTS, variables).await?;
            if descent.found(part, rows.len()) {
                let is_asked = |row: &PartRow| before.is_none_or(|before| PartMark::of(row) < before);
                parts.extend(rows.into_iter().rev().filter(is_asked));
            }
        }
        parts.truncate(limit);
        let wanted: BTreeSet<MessageName> = parts.iter().map(|part| part.message.0).collect();
        let wanted: Vec<_> = wanted.into_iter().map(message_id).collect();
        let sent: Vec<SentRow> = self.db().rows("SELECT * FROM $wanted", vars! { wanted: wanted }).await?;
        let sent: BTreeMap<MessageName, SentMessage> = sent.iter().map(|row| (row.name(), row.to_api())).collect();
        let payment = |part: &PartRow| {
            let message = sent.get(&part.message.0)?.clone();
            Some(Payment { amount: part.amount.0.0.to_string(), outcome: part.outcome.0, message })
        };
        let next = parts.last().filter(|_| parts.len() == limit).map(PartMark::of);
        Ok((parts.iter().filter_map(payment).collect(), next))
    }
}

impl SentRow {
    fn name(&self) -> MessageName {
        let Id((chain, Text(Short(contract)), Text(TokenHex(batch)))) = self.id;
        MessageName { chain, contract, batch }
    }

    fn to_api(&self) -> SentMessage {
        let MessageName { chain, contract, batch } = self.name();
        let Text(Short(token)) = self.token;
        SentMessage {
            chain_id: chain,
            contract: contract.to_string(),
            batch: batch.to_string(),
            sender: self.sender.0.0.to_string(),
            token: (token != Address::ZERO).then(|| token.to_string()),
            text: lines(&self.message, TEXT_CHARS_MAX),
            content_hash: self.content_hash.0.0.to_string(),
            transaction: self.tx.0.0.to_string(),
            block: self.block,
            at: from_s(self.time_s),
            is_final: false,
        }
    }
}
