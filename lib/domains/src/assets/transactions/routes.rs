//! The HTTP API under `/v1/assets/transactions`.

use alloy_primitives::B256;
use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::ErrorCode;
use nepto_proto::api::assets::{Transaction, Transactions};
use nepto_proto::api::endpoints::assets::{GetTransaction, ListTransactions, TrackTransaction};

use crate::assets::ops::Assets;

pub fn routes(assets: Assets) -> Routes {
    Routes::new().on(track).on(all).on(one).with_state(assets)
}

async fn track(assets: Assets, asked: Asked<TrackTransaction>) -> Result<Transaction, Failure> {
    assets.track(asked.who.account, asked.body.chain_id, hash(&asked.body.hash)?).await
}

async fn all(assets: Assets, asked: Asked<ListTransactions>) -> Result<Transactions, Failure> {
    Ok(Transactions { transactions: assets.transactions(asked.who.account).await? })
}

async fn one(assets: Assets, asked: Asked<GetTransaction>) -> Result<Transaction, Failure> {
    assets.transaction(asked.who.account, asked.path.chain_id, hash(&asked.path.hash)?).await
}

fn hash(text: &str) -> Result<B256, Failure> {
    let hash = text.strip_prefix("0x").filter(|digits| digits.len() == 64).and_then(|digits| digits.parse().ok());
    hash.ok_or_else(|| Failure::new(ErrorCode::Malformed, format!("{text:?} is not the hash of a transaction")))
}
