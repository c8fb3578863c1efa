//! Which of some accounts are connected. Only an account that has accepted the asker shows it.

use std::time::Duration;

use bytes::Bytes;
use nepto_kit::frames::Refusal;
use nepto_kit::limit::Limit;
use nepto_kit::{Ctx, Failure};
use nepto_proto::frame::encode_server;
use nepto_proto::limits::PRESENCE_QUERY_MAX;
use nepto_proto::svc::accounts::WhoAccepts;
use nepto_proto::svc::keys::{DeviceList, ListDevices};
use nepto_proto::wire::{self, server_frame};
use nepto_proto::{AccountId, DeviceId, ErrorCode};
use redis::AsyncCommands;

use super::config::Limits;
use crate::gateway::connected;

/// Keys of one MGET: 0.3 ms of Redis for each hundred.
const CHUNK: usize = 500;

/// Reads a query.
pub fn read(query: &wire::PresenceQuery) -> Result<Vec<AccountId>, Failure> {
    if query.accounts.len() > PRESENCE_QUERY_MAX {
        return Err(Failure::new(ErrorCode::TooLarge, format!("at most {PRESENCE_QUERY_MAX} accounts")));
    }
    let accounts: Result<Vec<_>, _> = query.accounts.iter().map(|id| AccountId::from_bytes(id)).collect();
    Ok(accounts?)
}

/// Answers it, within the asker's limit.
pub async fn answer(ctx: Ctx, reply_to: u32, asker: AccountId, accounts: Vec<AccountId>) -> Option<Bytes> {
    let online = async {
        let max = ctx.config.section::<Limits>().presence_accounts_per_minute;
        let limit = Limit { kind: "presence", max, window: Duration::from_secs(60) };
        limit.take(&ctx.redis, &ctx.clock, &asker.to_string(), accounts.len() as u32).await?;
        online(&ctx, asker, &accounts).await
    };
    Some(match online.await {
        Ok(online) => {
            let online = online.into_iter().map(AccountId::to_vec).collect();
            encode_server(reply_to, server_frame::Kind::Presence(wire::Presence { online }))
        }
        Err(failure) => {
            failure.log();
            Refusal { reply_to, failure, client_msg_id: Vec::new() }.into_frame()
        }
    })
}

/// Which of these accounts have a connected device, among those that have accepted the asker (and the asker itself).
async fn online(ctx: &Ctx, asker: AccountId, accounts: &[AccountId]) -> Result<Vec<AccountId>, Failure> {
    let others: Vec<AccountId> = accounts.iter().copied().filter(|account| *account != asker).collect();
    let mut visible = match others.is_empty() {
        true => Vec::new(),
        false => ctx.call(&WhoAccepts { asker, accounts: others }).await?,
    };
    visible.extend(accounts.iter().copied().find(|account| *account == asker));
    let devices = device_lists(ctx, &visible).await?;
    let asked: Vec<(AccountId, DeviceId)> =
        devices.iter().flat_map(|(account, list)| list.devices.iter().map(|(device, _)| (*account, *device))).collect();
    let mut found: Vec<AccountId> = connected(ctx, &asked).await?.into_iter().map(|(account, _)| account).collect();
    found.dedup();
    Ok(found)
}

async fn device_lists(ctx: &Ctx, accounts: &[AccountId]) -> Result<Vec<(AccountId, DeviceList)>, Failure> {
    let mut lists = Vec::with_capacity(accounts.len());
    for chunk in accounts.chunks(CHUNK) {
        let keys: Vec<String> = chunk.iter().map(|account| DeviceList::cache_key(*account)).collect();
        let known: Vec<Option<String>> = ctx.redis.clone().mget(&keys).await?;
        for (account, text) in chunk.iter().zip(known) {
            let list = match text.as_deref().and_then(DeviceList::decode) {
                Some(list) => list,
                None => ctx.call(&ListDevices { account: *account }).await?,
            };
            lists.push((*account, list));
        }
    }
    Ok(lists)
}
