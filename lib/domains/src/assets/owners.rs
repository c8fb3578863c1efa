//! Who owns single tokens of an ERC-721.

use alloy_primitives::{Address, U256};
use nepto_kit::Failure;
use nepto_proto::ErrorCode;
use nepto_proto::api::assets as api;
use nepto_proto::svc::collector::Pipeline;

use super::model::{AssetClass, Single};
use super::ops::Assets;

impl Assets {
    /// Who owns a token of an ERC-721.
    pub async fn owner(
        &self,
        chain: u64,
        contract: &Address,
        token: &U256,
        at: Option<u64>,
    ) -> Result<api::Owner, Failure> {
        let is_one = self.pipelines_of(chain, contract, AssetClass::Token(*token))?.contains(&Pipeline::Erc721);
        let cursor = self.store.cursor(Pipeline::Erc721, chain).await?;
        let (height, final_height) = cursor.map_or((0, 0), |cursor| (cursor.height, cursor.final_height));
        let block = self.block_of(chain, contract, at, height)?.unwrap_or(height);
        let mains = self.store.mains(chain, &[*contract].into()).await?;
        let owner = match mains.of(Pipeline::Erc721, contract).filter(|_| is_one) {
            Some(origin) => {
                let single = Single { origin, contract: *contract, token: *token };
                self.store.owner(chain, &single, block).await?
            }
            None => None,
        };
        let (owner, since_block) = owner
            .filter(|(owner, _)| *owner != Address::ZERO)
            .ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("nobody owns token {token} at block {block}")))?;
        let is_final = block <= final_height && self.is_known(chain, contract, block).await?;
        Ok(api::Owner { owner: owner.to_string(), since_block, block, is_final })
    }
}
