//! The HTTP API under `/v1/assets`.

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::ErrorCode;
use nepto_proto::api::assets::{Balance, BalanceKind, Contracts, History, Holders, Holdings, Owner};
use nepto_proto::api::endpoints::assets::{
    GetBalance, GetOwner, ListChanges, ListContracts, ListHolders, ListHoldings, ListOwnHoldings,
};

use super::model::AssetClass;
use super::ops::{Assets, Question, Thing};
use crate::request::{address, page_of, token_id};

pub fn routes(assets: Assets) -> Routes {
    Routes::new().on(contracts).on(mine).on(wallet).on(history).on(balance).on(holders).on(owner).with_state(assets)
}

async fn contracts(assets: Assets, _: Asked<ListContracts>) -> Result<Contracts, Failure> {
    Ok(Contracts { contracts: assets.contracts().await? })
}

async fn mine(assets: Assets, asked: Asked<ListOwnHoldings>) -> Result<Holdings, Failure> {
    assets.of_account(asked.who.account, asked.query.only_final.unwrap_or_default()).await
}

async fn wallet(assets: Assets, asked: Asked<ListHoldings>) -> Result<Holdings, Failure> {
    let only_final = asked.query.only_final.unwrap_or_default();
    assets.holdings(asked.path.chain_id, &address(&asked.path.wallet)?, only_final).await
}

async fn history(assets: Assets, asked: Asked<ListChanges>) -> Result<History, Failure> {
    let (path, page) = (asked.path, asked.query);
    let (below, limit) = (page.below.unwrap_or(u64::MAX), page_of(page.limit)?);
    Ok(History { changes: assets.history(path.chain_id, &address(&path.wallet)?, below, limit).await? })
}

async fn holders(assets: Assets, asked: Asked<ListHolders>) -> Result<Holders, Failure> {
    let (path, page) = (asked.path, asked.query);
    let class = class(page.what, page.token.as_deref())?;
    let standard = page.standard.map(Into::into);
    let after = page.after.as_deref().map(address).transpose()?;
    let limit = page_of(page.limit)?;
    let thing = Thing { chain: path.chain_id, contract: address(&path.contract)?, class, standard };
    assets.holders(&thing, after, limit).await
}

async fn balance(assets: Assets, asked: Asked<GetBalance>) -> Result<Balance, Failure> {
    let (path, what) = (asked.path, asked.query);
    let class = class(what.what, what.token.as_deref())?;
    let standard = what.standard.map(Into::into);
    let thing = Thing { chain: path.chain_id, contract: address(&path.contract)?, class, standard };
    let (holder, only_final) = (address(&what.holder)?, what.only_final.unwrap_or_default());
    assets.balance(&Question { thing, holder, at: what.at, only_final }).await
}

async fn owner(assets: Assets, asked: Asked<GetOwner>) -> Result<Owner, Failure> {
    let path = asked.path;
    assets.owner(path.chain_id, &address(&path.contract)?, &token_id(&path.token)?, asked.query.at).await
}

fn class(what: Option<BalanceKind>, token: Option<&str>) -> Result<AssetClass, Failure> {
    match (what.unwrap_or(BalanceKind::Held), token) {
        (BalanceKind::Held, None) => Ok(AssetClass::Whole),
        (BalanceKind::Held, Some(token)) => Ok(AssetClass::Token(token_id(token)?)),
        (BalanceKind::Staked, None) => Ok(AssetClass::Staked),
        (BalanceKind::Rewarded, None) => Ok(AssetClass::Rewarded),
        (BalanceKind::Staked | BalanceKind::Rewarded, Some(_)) => {
            Err(Failure::new(ErrorCode::Malformed, "only what is `held` has a token"))
        }
    }
}
