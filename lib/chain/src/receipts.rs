//! Receipts of a block, and the proof that they are all of them.
//!
//! A node that lags or prunes leaves logs out without an error, under the right block hash. But the header commits to the
//! receipts: their trie's root must be its `receiptsRoot` (Yellow Paper, 4.3.2; [EIP-2718]). The bloom filter of each
//! receipt is computed from its logs, not taken from the node.
//!
//! [EIP-2718]: https://eips.ethereum.org/EIPS/eip-2718

use alloy_consensus::{Eip658Value, Receipt, RlpEncodableReceipt};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log as PrimitiveLog, U64};
use alloy_rlp::{BufMut, Encodable, Header as RlpHeader};
use alloy_trie::root::ordered_trie_root_with_encoder;
use serde::Deserialize;

use crate::block::{Log, SealedHeader};
use crate::rpc::RpcError;

/// How a chain encodes receipts in the trie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As Ethereum: type byte, then status, gas, bloom, logs.
    Ethereum,
    /// As the OP stack: deposits (type `0x7e`) also carry their nonce and a version.
    Optimism,
    /// In a way that is not known here: nothing can be proven, and answers of several nodes are compared.
    Unknown,
}

/// The type of a deposit transaction of the OP stack.
const DEPOSIT_TYPE: u8 = 0x7e;

/// What `eth_getBlockReceipts` answers for one transaction, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RpcReceipt {
    transaction_hash: B256,
    cumulative_gas_used: U64,
    status: Option<U64>,
    root: Option<B256>,
    logs: Vec<RpcLog>,
    #[serde(default)]
    r#type: U64,
    deposit_nonce: Option<U64>,
    deposit_receipt_version: Option<U64>,
}

#[derive(Deserialize)]
struct RpcLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

/// Reads the receipts of a block and proves that they are complete, then returns all its logs. `null` and `[]` for a block
/// that has receipts are what lagging nodes say; both count as a node that does not have them.
pub fn prove(answer: &str, header: &SealedHeader, encoding: Encoding) -> Result<Vec<Log>, RpcError> {
    let receipts: Option<Vec<RpcReceipt>> = serde_json::from_str(answer).map_err(RpcError::unreadable)?;
    let receipts = receipts.ok_or(RpcError::Missing)?;
    let receipts: Vec<(B256, Typed)> = receipts.into_iter().map(Typed::read).collect::<Result<_, _>>()?;
    let root = ordered_trie_root_with_encoder(&receipts, |(_, receipt), out| receipt.encode(encoding, out));
    if root != header.header().receipts_root {
        let number = header.number();
        return Err(RpcError::Lie(match receipts.len() {
            0 => format!("no receipts for block {number}, which has some"),
            count => format!("{count} receipts of block {number} do not add up to its header's root"),
        }));
    }
    let all = receipts
        .into_iter()
        .flat_map(|(transaction, receipt)| receipt.receipt.logs.into_iter().map(move |log| (transaction, log)));
    let log = |(index, (transaction, log)): (usize, (B256, PrimitiveLog))| {
        let (topics, data) = log.data.split();
        Log { index: index as u32, address: log.address, topics, data, transaction }
    };
    Ok(all.enumerate().map(log).collect())
}

/// A receipt with what its encoding needs.
struct Typed {
    r#type: u8,
    receipt: Receipt,
    deposit: (Option<u64>, Option<u64>),
}

impl Typed {
    fn read(rpc: RpcReceipt) -> Result<(B256, Self), RpcError> {
        let status = match (rpc.status, rpc.root) {
            (Some(status), _) => Eip658Value::Eip658(status == U64::from(1)),
            (None, Some(root)) => Eip658Value::PostState(root),
            (None, None) => return Err(RpcError::unreadable("a receipt with neither status nor root")),
        };
        let log = |log: RpcLog| {
            PrimitiveLog::new(log.address, log.topics, log.data)
                .ok_or_else(|| RpcError::unreadable("a log with more than four topics"))
        };
        let receipt = Receipt {
            status,
            cumulative_gas_used: rpc.cumulative_gas_used.to(),
            logs: rpc.logs.into_iter().map(log).collect::<Result<_, _>>()?,
        };
        let r#type = u8::try_from(rpc.r#type.to::<u64>()).map_err(RpcError::unreadable)?;
        let deposit = (rpc.deposit_nonce.map(|nonce| nonce.to()), rpc.deposit_receipt_version.map(|v| v.to()));
        Ok((rpc.transaction_hash, Self { r#type, receipt, deposit }))
    }

    fn encode(&self, encoding: Encoding, out: &mut Vec<u8>) {
        if self.r#type != 0 {
            out.put_u8(self.r#type);
        }
        let bloom: Bloom = self.receipt.logs.iter().collect();
        if encoding == Encoding::Optimism && self.r#type == DEPOSIT_TYPE {
            self.encode_deposit(&bloom, out);
        } else {
            self.receipt.rlp_encode_with_bloom(&bloom, out);
        }
    }

    fn encode_deposit(&self, bloom: &Bloom, out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        self.receipt.status.encode(&mut fields);
        self.receipt.cumulative_gas_used.encode(&mut fields);
        bloom.encode(&mut fields);
        self.receipt.logs.encode(&mut fields);
        // the nonce since Regolith, the version since Canyon (OP stack specification, deposits)
        let (nonce, version) = self.deposit;
        for field in [nonce, version].into_iter().flatten() {
            field.encode(&mut fields);
        }
        RlpHeader { list: true, payload_length: fields.len() }.encode(out);
        out.extend(fields);
    }
}
