//! Messages that were sent on chain through a MultiSender, and what each recipient got with them.

mod routes;
mod store;

use alloy_primitives::{Address, U256};
use nepto_kit::Failure;
use nepto_proto::ErrorCode;
use nepto_proto::api::assets::{MessageWithParts, Payment, Payments, SentMessage, SentMessages};
use nepto_proto::svc::collector::Pipeline;

use super::ops::Assets;

pub use routes::routes;
pub use store::PartMark;

impl Assets {
    /// Messages of a contract, the newest first: those before a batch, up to a bound.
    pub async fn messages(
        &self,
        chain: u64,
        contract: &Address,
        before: Option<U256>,
        limit: usize,
    ) -> Result<SentMessages, Failure> {
        self.contract(chain, contract)?;
        let mut messages = self.store.messages(chain, contract, before, limit).await?;
        self.mark_final(chain, messages.iter_mut()).await?;
        let next = messages.last().filter(|_| messages.len() == limit).map(|message| message.batch.clone());
        Ok(SentMessages { messages, next })
    }

    /// One message, with what each recipient got.
    pub async fn message(&self, chain: u64, contract: &Address, batch: U256) -> Result<MessageWithParts, Failure> {
        self.contract(chain, contract)?;
        let found = self.store.message(chain, contract, batch).await?;
        let mut found =
            found.ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("{contract} has sent no batch {batch}")))?;
        self.mark_final(chain, std::iter::once(&mut found.message)).await?;
        Ok(found)
    }

    /// Payments to a wallet, the newest first: those before a place, up to a bound.
    pub async fn payments(
        &self,
        chain: u64,
        wallet: &Address,
        before: Option<PartMark>,
        limit: usize,
    ) -> Result<Payments, Failure> {
        self.chain(chain)?;
        let (mut payments, next): (Vec<Payment>, _) = self.store.payments(chain, wallet, before, limit).await?;
        self.mark_final(chain, payments.iter_mut().map(|payment| &mut payment.message)).await?;
        Ok(Payments { payments, next: next.map(|next| next.to_string()) })
    }

    async fn mark_final<'a>(
        &self,
        chain: u64,
        messages: impl Iterator<Item = &'a mut SentMessage>,
    ) -> Result<(), Failure> {
        let cursor = self.store.cursor(Pipeline::Multisend, chain).await?;
        let final_height = cursor.map_or(0, |cursor| cursor.final_height);
        messages.for_each(|message| message.is_final = message.block <= final_height);
        Ok(())
    }
}
