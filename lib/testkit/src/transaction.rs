//! Transactions that tests send, and what became of them.

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rpc::quantity;

/// Enough for any single call of our contracts.
const GAS: u64 = 1_000_000;

/// A transaction that anvil signs for one of its accounts, or for one that it was told to [unlock](crate::Anvil::unlock).
///
/// Gas is said, never estimated: anvil estimates against the last block, so that a transaction that builds on one before
/// it in the same block would fail there, and then takes the gas of a whole block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Who sends it.
    pub from: Address,
    /// To whom; nobody for a new contract.
    pub to: Option<Address>,
    /// The call, or the code of a new contract.
    pub data: Bytes,
    /// Wei that go with it.
    pub value: U256,
    /// The most that it may use.
    pub gas: u64,
    /// Its place among the sender's transactions, if not the next one.
    pub nonce: Option<u64>,
}

impl Transaction {
    /// A call of a contract.
    pub fn call(from: Address, to: Address, data: impl Into<Bytes>) -> Self {
        Self { from, to: Some(to), data: data.into(), value: U256::ZERO, gas: GAS, nonce: None }
    }

    /// Wei for somebody.
    pub fn ether(from: Address, to: Address, value: U256) -> Self {
        Self { value, ..Self::call(from, to, Bytes::new()) }
    }

    /// A new contract, from its code and encoded constructor arguments.
    pub fn create(from: Address, code: impl Into<Bytes>) -> Self {
        Self { from, to: None, data: code.into(), value: U256::ZERO, gas: 6 * GAS, nonce: None }
    }

    /// The same with wei.
    #[must_use]
    pub fn value(mut self, value: U256) -> Self {
        self.value = value;
        self
    }

    /// The same with this much gas.
    #[must_use]
    pub fn gas(mut self, gas: u64) -> Self {
        self.gas = gas;
        self
    }

    /// The same at a given place among the sender's transactions.
    #[must_use]
    pub fn nonce(mut self, nonce: u64) -> Self {
        self.nonce = Some(nonce);
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = json!({ "from": self.from, "data": self.data, "value": self.value, "gas": quantity(self.gas) });
        if let Some(to) = self.to {
            json["to"] = json!(to);
        }
        if let Some(nonce) = self.nonce {
            json["nonce"] = quantity(nonce);
        }
        json
    }
}

/// A transaction in a block that [`Anvil::reorg`](crate::Anvil::reorg) makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Included {
    /// One that was in a block before, as [`Anvil::raw_transaction`](crate::Anvil::raw_transaction) gave it.
    Again(Bytes),
    /// One that was in no block yet.
    New(Transaction),
}

impl Included {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Again(raw) => json!(raw),
            Self::New(transaction) => transaction.to_json(),
        }
    }
}

impl From<Bytes> for Included {
    fn from(raw: Bytes) -> Self {
        Self::Again(raw)
    }
}

impl From<Transaction> for Included {
    fn from(transaction: Transaction) -> Self {
        Self::New(transaction)
    }
}

/// What became of a transaction that is in a block.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Of the transaction.
    pub transaction_hash: B256,
    /// The block that it is in.
    pub block_hash: B256,
    block_number: U64,
    status: U64,
    /// Where the new contract is, if it made one.
    pub contract_address: Option<Address>,
    /// As the node wrote them.
    pub logs: Vec<Value>,
}

impl Receipt {
    /// The height of its block.
    pub fn block_number(&self) -> u64 {
        self.block_number.to()
    }

    /// Whether it did what it should; a transaction that was reverted is in a block too.
    pub fn succeeded(&self) -> bool {
        self.status == U64::from(1)
    }
}
