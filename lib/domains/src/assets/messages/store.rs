//! Reading messages and their parts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256, U256};
use nepto_kit::db::{DbError, RecordId, array, key, readable, vars};
use nepto_proto::api::assets::{MessagePart, MessageWithParts, Payment, SentMessage};
use nepto_proto::svc::collector::Pipeline;
use time::OffsetDateTime;

use crate::assets::store::{
    Descent, PartRow, SentRow, Store, hex, message_of, read_address, read_amount, read_token, token_hex,
};
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
    fn of(row: &PartRow) -> Option<Self> {
        let (block, log) = (key::number(&row.id, 2)?, key::number(&row.id, 3)?);
        Some(Self { block: block.try_into().ok()?, log: log.try_into().ok()? })
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
            scope: format!("{chain}:{}", hex(contract)),
            // above all that are hexadecimal
            before: before.map_or_else(|| "g".to_owned(), |before| token_hex(&before)),
            limit: limit as i64,
        };
        let rows: Vec<SentRow> = self.db().run(NEWEST, variables).await?;
        rows.iter().map(|row| readable(&row.id, read_sent(row))).collect()
    }

    /// One message with its parts, in the order of their logs.
    pub async fn message(
        &self,
        chain: u64,
        contract: &Address,
        batch: U256,
    ) -> Result<Option<MessageWithParts>, DbError> {
        let id = RecordId::new("sent", array![chain as i64, hex(contract), token_hex(&batch)]);
        let row: Option<SentRow> = self.db().run("SELECT * FROM ONLY $id", vars! { id: id }).await?;
        let Some(row) = row else { return Ok(None) };
        let message = readable(&row.id, read_sent(&row))?;
        let statement = "SELECT * FROM sent_part WHERE message = $message LIMIT $limit";
        let variables = vars! { message: message_of(chain, contract, &batch), limit: PARTS_MAX };
        let mut rows: Vec<PartRow> = self.db().run(statement, variables).await?;
        rows.sort_by_key(|row| key::number(&row.id, 3));
        let part = |row: &PartRow| {
            Some(MessagePart {
                recipient: read_address(&row.id, 1)?.to_string(),
                amount: read_amount(&row.amount)?.0.to_string(),
                outcome: row.outcome.parse().ok()?,
            })
        };
        let parts = rows.iter().map(|row| readable(&row.id, part(row))).collect::<Result<_, _>>()?;
        Ok(Some(MessageWithParts { message, parts }))
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
        let top = before.map_or(u64::MAX, |before| before.block).min(cursor.height as u64);
        let mut descent = Descent::below(top.saturating_add(1), limit);
        let mut parts: Vec<PartRow> = Vec::new();
        while let Some(part) = descent.next().filter(|_| parts.len() < limit) {
            let variables = vars! {
                chain: chain as i64,
                wallet: hex(wallet),
                from: part.from as i64,
                to: part.to as i64,
                limit: part.limit(),
            };
            let rows: Vec<PartRow> = self.db().run(PAYMENTS, variables).await?;
            if descent.found(part, rows.len()) {
                let is_asked = |row: &PartRow| before.is_none_or(|before| PartMark::of(row) < Some(before));
                parts.extend(rows.into_iter().rev().filter(is_asked));
            }
        }
        parts.truncate(limit);
        let mut wanted = BTreeMap::new();
        for part in &parts {
            wanted.insert(part.message.as_str(), readable(&part.id, sent_id(&part.message))?);
        }
        let wanted: Vec<RecordId> = wanted.into_values().collect();
        let sent: Vec<SentRow> = self.db().run("SELECT * FROM $wanted", vars! { wanted: wanted }).await?;
        let by_name = |row: &SentRow| {
            let (contract, batch) = place(&row.id)?;
            Some((message_of(chain, &contract, &batch), read_sent(row)?))
        };
        let sent = sent.iter().map(|row| readable(&row.id, by_name(row))).collect::<Result<BTreeMap<_, _>, _>>()?;
        let amount_and_outcome = |part: &PartRow| Some((read_amount(&part.amount)?.0, part.outcome.parse().ok()?));
        let mut payments = Vec::new();
        for part in &parts {
            let (amount, outcome) = readable(&part.id, amount_and_outcome(part))?;
            if let Some(message) = sent.get(&part.message).cloned() {
                payments.push(Payment { amount: amount.to_string(), outcome, message });
            }
        }
        let last = parts.last().filter(|_| parts.len() == limit);
        let next = last.map(|part| readable(&part.id, PartMark::of(part))).transpose()?;
        Ok((payments, next))
    }
}

/// The row of a message, from what its parts say.
fn sent_id(message: &str) -> Option<RecordId> {
    let mut parts = message.split(':');
    let (chain, contract, batch) = (parts.next()?.parse::<i64>().ok()?, parts.next()?, parts.next()?);
    Some(RecordId::new("sent", array![chain, contract, batch]))
}

/// Contract and batch of a message.
fn place(id: &RecordId) -> Option<(Address, U256)> {
    Some((read_address(id, 1)?, read_token(id, 2)?))
}

fn read_sent(row: &SentRow) -> Option<SentMessage> {
    let (contract, batch) = place(&row.id)?;
    let token: Address = row.token.parse().ok()?;
    Some(SentMessage {
        chain_id: key::number(&row.id, 0)?.try_into().ok()?,
        contract: contract.to_string(),
        batch: batch.to_string(),
        sender: row.sender.parse::<Address>().ok()?.to_string(),
        token: (token != Address::ZERO).then(|| token.to_string()),
        text: lines(&row.message, TEXT_CHARS_MAX),
        content_hash: row.content_hash.parse::<B256>().ok()?.to_string(),
        transaction: row.tx.parse::<B256>().ok()?.to_string(),
        block: row.block.try_into().ok()?,
        at: OffsetDateTime::from_unix_timestamp(row.time_s).ok()?,
        is_final: false,
    })
}
