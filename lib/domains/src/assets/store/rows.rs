//! The rows that a change adds, and the keys by which they are taken out again.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use nepto_kit::db::{Body, Bytes, RecordId, array};
use nepto_proto::chain as wire;
use nepto_proto::svc::collector::Pipeline;
use prost::Message;
use surrealdb::types::SurrealValue;

use super::packed::{AppliedRow, DeltasBody};
use super::{DeltaKey, amount_bytes, hash_hex, hex, token_hex};
use crate::assets::model::{Effect, Folded, Sending, Single, Turn};
use crate::assets::shapes::{Shape, Unread};

const TURN: &str = "turn";
const UNREAD: &str = "unread";
const RETRIED: &str = "retried";
const SENT: &str = "sent";
const SENT_PART: &str = "sent_part";

/// A row of `delta`: the deltas of one change.
#[derive(Debug, Clone, SurrealValue)]
pub struct DeltaRow {
    pub id: RecordId,
    pub body: Bytes,
}

/// Who got a token that can be only one.
#[derive(Debug, Clone, SurrealValue)]
pub struct TurnRow {
    pub id: RecordId,
    pub owner: String,
    pub time_s: i64,
    pub tx: String,
}

/// What is not in the sums.
#[derive(Debug, Clone, SurrealValue)]
pub struct UnreadRow {
    pub id: RecordId,
}

/// A shape of a contract.
#[derive(Debug, Clone, SurrealValue)]
pub struct ShapeRow {
    pub id: RecordId,
    pub block: u64,
    pub log: u32,
    pub sample: Body<wire::Block>,
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
    pub turns: Vec<TurnRow>,
    pub unread: Vec<UnreadRow>,
    pub sent: Vec<SentRow>,
    pub parts: Vec<PartRow>,
    /// How those that are no deltas are taken out again.
    pub keys: Vec<AppliedRow>,
}

impl Rows {
    /// What is folded becomes rows.
    pub fn new(key: DeltaKey, folded: &Folded, final_height: u64) -> Self {
        let mut rows = Self { deltas: deltas(key, folded, final_height), ..Self::default() };
        for (single, turns) in &folded.turns {
            for turn in turns {
                rows.add_turn(key.chain, single, turn);
            }
        }
        for unread in &folded.noted.unread {
            rows.unread.push(UnreadRow { id: unread_id(key.chain, key.pipeline, unread) });
            // a shape goes with its row
            if unread.block > 0 {
                rows.keys.push(AppliedRow {
                    table: UNREAD.to_owned(),
                    block: unread.block,
                    of: hex(&unread.contract),
                    number: String::new(),
                    log: unread.log,
                    from: key.pipeline.as_str().to_owned(),
                });
            }
        }
        for sending in &folded.sendings {
            rows.add_sending(key.chain, sending);
        }
        rows
    }

    fn add_turn(&mut self, chain: u64, Single { origin, contract, token }: &Single, turn: &Turn) {
        let Turn { place, owner } = turn;
        let key = AppliedRow {
            table: TURN.to_owned(),
            block: place.block,
            of: hex(contract),
            number: token_hex(token),
            log: place.log,
            from: origin.to_key(),
        };
        self.turns.push(TurnRow {
            id: row_id(chain, &key),
            owner: hex(owner),
            time_s: place.time_s as i64,
            tx: hash_hex(&place.transaction),
        });
        self.keys.push(key);
    }

    fn add_sending(&mut self, chain: u64, Sending { effect, place }: &Sending) {
        let key = |table: &str, of: &Address, number: String| AppliedRow {
            table: table.to_owned(),
            block: place.block,
            of: hex(of),
            number,
            log: place.log,
            from: String::new(),
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
    row.table == SENT
}

/// A log of a block that was put aside before, and is taken now.
pub fn retried((block, log): (u64, u32), pipeline: Pipeline) -> AppliedRow {
    AppliedRow {
        table: RETRIED.to_owned(),
        block,
        of: String::new(),
        number: String::new(),
        log,
        from: pipeline.as_str().to_owned(),
    }
}

/// The key of a row that is no delta.
pub fn row_id(chain: u64, AppliedRow { table, block, of, number, log, from }: &AppliedRow) -> RecordId {
    let (chain, of, number, from) = (chain as i64, of.clone(), number.clone(), from.clone());
    let (block, log) = (*block as i64, i64::from(*log));
    match table.as_str() {
        TURN => RecordId::new(TURN, array![chain, from, of, number, block, log]),
        RETRIED => RecordId::new(RETRIED, array![from, chain, block, log]),
        UNREAD => RecordId::new(UNREAD, array![chain, of, block, log, from]),
        SENT_PART => RecordId::new(SENT_PART, array![chain, of, block, log]),
        table => RecordId::new(table, array![chain, of, number]),
    }
}

/// `unread:[chain, contract, block, log, pipeline]`
pub fn unread_id(chain: u64, pipeline: Pipeline, unread: &Unread) -> RecordId {
    let Unread { contract, block, log } = unread;
    RecordId::new(UNREAD, array![chain as i64, hex(contract), *block as i64, i64::from(*log), pipeline.as_str()])
}

/// `shape:[chain, pipeline, contract, topics]`
pub fn shape_id(chain: u64, pipeline: Pipeline, contract: &Address, topics: u8) -> RecordId {
    RecordId::new("shape", array![chain as i64, pipeline.as_str(), hex(contract), i64::from(topics)])
}

/// A shape as it is kept.
pub fn shape_row(id: RecordId, shape: &Shape) -> ShapeRow {
    let (block, log) = shape.first;
    ShapeRow { id, block, log, sample: Body(shape.sample.clone()) }
}
