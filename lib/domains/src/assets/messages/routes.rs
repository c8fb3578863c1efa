//! The HTTP API of messages that were sent on chain.

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::ErrorCode;
use nepto_proto::api::assets::{MessageWithParts, Payments, SentMessages};
use nepto_proto::api::endpoints::assets::{GetMessage, ListMessages, ListPayments};

use crate::assets::ops::Assets;
use crate::request::{address, page_of, token_id};

pub fn routes(assets: Assets) -> Routes {
    Routes::new().on(all).on(one).on(payments).with_state(assets)
}

async fn all(assets: Assets, asked: Asked<ListMessages>) -> Result<SentMessages, Failure> {
    let (path, page) = (asked.path, asked.query);
    let after = page.after.as_deref().map(token_id).transpose()?;
    assets.messages(path.chain_id, &address(&path.contract)?, after, page_of(page.limit)?).await
}

async fn one(assets: Assets, asked: Asked<GetMessage>) -> Result<MessageWithParts, Failure> {
    let path = asked.path;
    assets.message(path.chain_id, &address(&path.contract)?, token_id(&path.batch)?).await
}

async fn payments(assets: Assets, asked: Asked<ListPayments>) -> Result<Payments, Failure> {
    let (path, page) = (asked.path, asked.query);
    let mark = |text: &str| {
        text.parse().map_err(|()| Failure::new(ErrorCode::Malformed, "`after` is the `next` of another page"))
    };
    let after = page.after.as_deref().map(mark).transpose()?;
    assets.payments(path.chain_id, &address(&path.wallet)?, after, page_of(page.limit)?).await
}
