//! The rows that a change adds, and the keys by which they are taken out again.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use nepto_kit::db::{Body, Id, Packed, RecordId, Table, Text};
use nepto_proto::api::assets::PartOutcome;
use nepto_proto::chain as wire;
use nepto_proto::svc::collector::Pipeline;
use surrealdb::types::SurrealValue;

use super::DeltaKey;
use super::packed::Changed;
use super::tables::{
    Deltas, MessageName, Messages, Parts, Retries, ShapesSeen, Short, ShortHash, TokenHex, Turns, Unreads,
};
use crate::assets::model::{Amount, BlockEffects, Effect, Sending, Single, Turn};
use crate::assets::shapes::{Shape, Unread};

/// A row of `delta`: the deltas of one change.
#[derive(Debug, Clone, SurrealValue)]
pub struct DeltaRow {
    pub id: Id<Deltas>,
    pub body: Packed<Changed>,
}

/// Who got a token that can be only one.
#[derive(Debug, Clone, SurrealValue)]
pub struct TurnRow {
    pub id: Id<Turns>,
    pub owner: Text<Short>,
    pub time_s: u64,
    pub tx: Text<ShortHash>,
}

/// What is not in the sums.
#[derive(Debug, Clone, SurrealValue)]
pub struct UnreadRow {
    pub id: Id<Unreads>,
}

/// A shape of a contract.
#[derive(Debug, Clone, SurrealValue)]
pub struct ShapeRow {
    pub id: Id<ShapesSeen>,
    pub block: u64,
    pub log: u32,
    pub sample: Body<wire::Block>,
}

/// A message with payments.
#[derive(Debug, Clone, SurrealValue)]
pub struct SentRow {
    pub id: Id<Messages>,
    pub sender: Text<Short>,
    pub token: Text<Short>,
    pub content_hash: Text<ShortHash>,
    pub message: String,
    pub block: u64,
    pub time_s: u64,
    pub tx: Text<ShortHash>,
}

/// What became of one recipient's part of a message.
#[derive(Debug, Clone, SurrealValue)]
pub struct PartRow {
    pub id: Id<Parts>,
    /// The row of `sent`, which comes with the last log of the transaction.
    pub message: Text<MessageName>,
    pub amount: Packed<Amount>,
    pub outcome: Text<PartOutcome>,
}

/// A row beside the deltas, and where the log is that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedRow {
    pub block: u64,
    pub log: u32,
    pub what: Added,
}

/// What such a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    Turn(Single),
    Unread {
        contract: Address,
        pipeline: Pipeline,
    },
    /// A log that was dead-lettered, and is taken now.
    Retried(Pipeline),
    Message {
        contract: Address,
        batch: U256,
    },
    Part {
        recipient: Address,
    },
}

impl Added {
    pub const TURN: &str = Turns::NAME;
    pub const UNREAD: &str = Unreads::NAME;
    pub const RETRIED: &str = Retries::NAME;
    pub const MESSAGE: &str = Messages::NAME;
    pub const PART: &str = Parts::NAME;

    pub const fn table(&self) -> &'static str {
        match self {
            Self::Turn(_) => Self::TURN,
            Self::Unread { .. } => Self::UNREAD,
            Self::Retried(_) => Self::RETRIED,
            Self::Message { .. } => Self::MESSAGE,
            Self::Part { .. } => Self::PART,
        }
    }
}

impl AddedRow {
    pub fn id(&self, chain: u64) -> RecordId {
        let Self { block, log, what } = *self;
        match what {
            Added::Turn(single) => turn_id(chain, &single, (block, log)).record(),
            Added::Unread { contract, pipeline } => {
                unread_id(chain, pipeline, &Unread { contract, block, log }).record()
            }
            Added::Retried(pipeline) => Id::<Retries>((Text(pipeline), chain, block, log)).record(),
            Added::Message { contract, batch } => message_id(MessageName { chain, contract, batch }).record(),
            Added::Part { recipient } => part_id(chain, recipient, (block, log)).record(),
        }
    }

    /// Whether the contract chose the key: it may have said the same of an earlier block, whose row stays.
    pub const fn is_named_by_contract(&self) -> bool {
        matches!(self.what, Added::Message { .. })
    }
}

/// All rows of a change.
#[derive(Debug, Default)]
pub struct ChangedRows {
    pub deltas: Vec<DeltaRow>,
    pub turns: Vec<TurnRow>,
    pub unread: Vec<UnreadRow>,
    pub sent: Vec<SentRow>,
    pub parts: Vec<PartRow>,
    /// Those that are no deltas, to be taken out again.
    pub added: Vec<AddedRow>,
}

impl ChangedRows {
    /// Effects become rows.
    pub fn new(key: DeltaKey, block_effects: &BlockEffects, final_height: u64) -> Self {
        let mut rows = Self { deltas: deltas(key, block_effects, final_height), ..Self::default() };
        for (single, turns) in &block_effects.turns {
            for turn in turns {
                rows.add_turn(key.chain, single, turn);
            }
        }
        for unread in &block_effects.noted.unread {
            rows.unread.push(UnreadRow { id: unread_id(key.chain, key.pipeline, unread) });
            // a shape goes with its row
            let Unread { contract, block, log } = *unread;
            if block > 0 {
                let what = Added::Unread { contract, pipeline: key.pipeline };
                rows.added.push(AddedRow { block, log, what });
            }
        }
        for sending in &block_effects.sendings {
            rows.add_sending(key.chain, sending);
        }
        rows
    }

    fn add_turn(&mut self, chain: u64, single: &Single, Turn { position, owner }: &Turn) {
        self.turns.push(TurnRow {
            id: turn_id(chain, single, (position.block, position.log)),
            owner: Text(Short(*owner)),
            time_s: position.time_s,
            tx: Text(ShortHash(position.transaction)),
        });
        self.added.push(AddedRow { block: position.block, log: position.log, what: Added::Turn(*single) });
    }

    fn add_sending(&mut self, chain: u64, Sending { effect, position }: &Sending) {
        let what = match effect {
            Effect::Sent { contract, batch, sender, token, content_hash, message } => {
                let (contract, batch) = (*contract, *batch);
                self.sent.push(SentRow {
                    id: message_id(MessageName { chain, contract, batch }),
                    sender: Text(Short(*sender)),
                    token: Text(Short(*token)),
                    content_hash: Text(ShortHash(*content_hash)),
                    message: message.clone(),
                    block: position.block,
                    time_s: position.time_s,
                    tx: Text(ShortHash(position.transaction)),
                });
                Added::Message { contract, batch }
            }
            Effect::Part { contract, batch, recipient, amount, outcome } => {
                self.parts.push(PartRow {
                    id: part_id(chain, *recipient, (position.block, position.log)),
                    message: Text(MessageName { chain, contract: *contract, batch: *batch }),
                    amount: Packed(*amount),
                    outcome: Text(*outcome),
                });
                Added::Part { recipient: *recipient }
            }
            _ => return,
        };
        self.added.push(AddedRow { block: position.block, log: position.log, what });
    }
}

/// One row for each holder with all that is final, and one for each block that may be orphaned.
fn deltas(key: DeltaKey, block_effects: &BlockEffects, final_height: u64) -> Vec<DeltaRow> {
    let mut bodies: BTreeMap<(Address, Option<u64>), Changed> = BTreeMap::new();
    for ((block, holding), delta) in &block_effects.deltas {
        let alone = (*block > final_height).then_some(*block);
        bodies.entry((holding.holder, alone)).or_default().add(*block, holding, delta);
    }
    let row = |((holder, _), body): ((Address, Option<u64>), Changed)| {
        Some(DeltaRow { id: key.row(&holder, body.blocks()?), body: Packed(body) })
    };
    bodies.into_iter().filter_map(row).collect()
}

fn turn_id(chain: u64, Single { origin, contract, token }: &Single, (block, log): (u64, u32)) -> Id<Turns> {
    Id((chain, Text(*origin), Text(Short(*contract)), Text(TokenHex(*token)), block, log))
}

/// The row of a message.
pub fn message_id(MessageName { chain, contract, batch }: MessageName) -> Id<Messages> {
    Id((chain, Text(Short(contract)), Text(TokenHex(batch))))
}

fn part_id(chain: u64, recipient: Address, (block, log): (u64, u32)) -> Id<Parts> {
    Id((chain, Text(Short(recipient)), block, log))
}

/// The row of something that is not in the sums.
pub fn unread_id(chain: u64, pipeline: Pipeline, Unread { contract, block, log }: &Unread) -> Id<Unreads> {
    Id((chain, Text(Short(*contract)), *block, *log, Text(pipeline)))
}

/// The row of a shape.
pub fn shape_id(chain: u64, pipeline: Pipeline, contract: &Address, topics: u8) -> Id<ShapesSeen> {
    Id((chain, Text(pipeline), Text(Short(*contract)), topics))
}

/// A shape as it is kept.
pub fn shape_row(id: Id<ShapesSeen>, shape: &Shape) -> ShapeRow {
    let (block, log) = shape.first;
    ShapeRow { id, block, log, sample: Body(shape.sample.clone()) }
}
