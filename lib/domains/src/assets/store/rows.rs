//! The rows that a change adds, and the keys by which they are taken out again.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use nepto_kit::db::{Bytes, RecordId, array};
use prost::Message;
use surrealdb::types::SurrealValue;

use super::packed::{AppliedRow, DeltasBody};
use super::{DeltaKey, amount_bytes, hash_hex, hex, token_hex};
use crate::assets::model::{Effect, Folded, Ownership, Sending};

const OWNED: &str = "owned";
const MINTED_RANGE: &str = "minted_range";
const SENT: &str = "sent";
const SENT_PART: &str = "sent_part";

/// Of `delta`.
#[derive(Debug, Clone, SurrealValue)]
pub struct DeltaRow {
    pub id: RecordId,
    pub body: Bytes,
}

/// Who got a token.
#[derive(Debug, Clone, SurrealValue)]
pub struct OwnedRow {
    pub id: RecordId,
    pub owner: String,
}

/// Who got a range of tokens.
#[derive(Debug, Clone, SurrealValue)]
pub struct RangeRow {
    pub id: RecordId,
    pub last: String,
    pub owner: String,
    pub block: i64,
}

/// A message with payments.
#[derive(Debug, Clone, SurrealValue)]
pub struct SentRow {
    pub id: RecordId,
    pub sender: String,
    pub token: String,
    pub content_hash: String,
    pub message: String,
    pub block: i64,
    pub time_s: i64,
    pub tx: String,
}

/// What became of one recipient's part of a message.
#[derive(Debug, Clone, SurrealValue)]
pub struct PartRow {
    pub id: RecordId,
    /// `chain:contract:batch` of the row of `sent`, which comes with the last log of the transaction.
    pub message: String,
    pub amount: Bytes,
    pub outcome: String,
}

/// All rows of a change.
#[derive(Debug, Default)]
pub struct Rows {
    pub deltas: Vec<DeltaRow>,
    pub owned: Vec<OwnedRow>,
    pub ranges: Vec<RangeRow>,
    pub sent: Vec<SentRow>,
    pub parts: Vec<PartRow>,
    /// How those that are no deltas are taken out again.
    pub keys: Vec<AppliedRow>,
}

impl Rows {
    /// What is folded becomes rows.
    pub fn new(key: DeltaKey, folded: &Folded, final_height: u64) -> Self {
        let mut rows = Self { deltas: deltas(key, folded, final_height), ..Self::default() };
        for ownership in &folded.ownerships {
            rows.add_ownership(key.chain, ownership);
        }
        for sending in &folded.sendings {
            rows.add_sending(key.chain, sending);
        }
        rows
    }

    fn add_ownership(&mut self, chain: u64, Ownership { contract, first, last, to, place }: &Ownership) {
        let is_range = first != last;
        let key = AppliedRow {
            table: if is_range { MINTED_RANGE } else { OWNED }.to_owned(),
            block: place.block,
            of: hex(contract),
            number: token_hex(first),
            log: place.log,
        };
        let (id, owner) = (row_id(chain, &key), hex(to));
        if is_range {
            self.ranges.push(RangeRow { id, last: token_hex(last), owner, block: place.block as i64 });
        } else {
            self.owned.push(OwnedRow { id, owner });
        }
        self.keys.push(key);
    }

    fn add_sending(&mut self, chain: u64, Sending { effect, place }: &Sending) {
        let key = |table: &str, of: &Address, number: String| AppliedRow {
            table: table.to_owned(),
            block: place.block,
            of: hex(of),
            number,
            log: place.log,
        };
        match effect {
            Effect::Sent { contract, batch, sender, token, content_hash, message } => {
                let key = key(SENT, contract, token_hex(batch));
                self.sent.push(SentRow {
                    id: row_id(chain, &key),
                    sender: hex(sender),
                    token: hex(token),
                    content_hash: hash_hex(content_hash),
                    message: message.clone(),
                    block: place.block as i64,
                    time_s: place.time_s as i64,
                    tx: hash_hex(&place.transaction),
                });
                self.keys.push(key);
            }
            Effect::Part { contract, batch, recipient, amount, outcome } => {
                let key = key(SENT_PART, recipient, String::new());
                self.parts.push(PartRow {
                    id: row_id(chain, &key),
                    message: message_of(chain, contract, batch),
                    amount: amount_bytes(*amount),
                    outcome: outcome.as_str().to_owned(),
                });
                self.keys.push(key);
            }
            _ => {}
        }
    }
}

/// One row for each holder with all that is final, and one for each block that may be given up.
fn deltas(key: DeltaKey, folded: &Folded, final_height: u64) -> Vec<DeltaRow> {
    let mut bodies: BTreeMap<(Address, Option<u64>), DeltasBody> = BTreeMap::new();
    for ((block, holding), delta) in &folded.deltas {
        let alone = (*block > final_height).then_some(*block);
        bodies.entry((holding.holder, alone)).or_default().add(*block, holding, delta);
    }
    let row = |((holder, _), body): ((Address, Option<u64>), DeltasBody)| {
        Some(DeltaRow { id: key.row(&holder, body.blocks()?), body: body.encode_to_vec().into() })
    };
    bodies.into_iter().filter_map(row).collect()
}

/// What the parts of a message have in common.
pub fn message_of(chain: u64, contract: &Address, batch: &U256) -> String {
    format!("{chain}:{}:{}", hex(contract), token_hex(batch))
}

/// Whether the contract chose the key: it may have said the same of an earlier block, whose row stays.
pub fn is_named_by_contract(row: &AppliedRow) -> bool {
    [MINTED_RANGE, SENT].contains(&row.table.as_str())
}

/// The key of a row that is no delta.
pub fn row_id(chain: u64, AppliedRow { table, block, of, number, log }: &AppliedRow) -> RecordId {
    let (chain, of, number) = (chain as i64, of.clone(), number.clone());
    let (block, log) = (*block as i64, i64::from(*log));
    match table.as_str() {
        OWNED => RecordId::new(OWNED, array![chain, of, number, block, log]),
        SENT_PART => RecordId::new(SENT_PART, array![chain, of, block, log]),
        table => RecordId::new(table, array![chain, of, number]),
    }
}
