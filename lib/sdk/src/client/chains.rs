//! The nodes that this device asks about contract wallets.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use nepto_chain::block::Finality;
use nepto_chain::signature::{Claim, Moment, Nodes, OnChain, SignatureError, SignatureVerifier};
use nepto_proto::AccountId;
use nepto_proto::api::keys::DeviceDirectory;
use nepto_sdk_core::contract_signatures::{Answers, Attestation, Said};

use super::{Client, Inner};
use crate::SdkError;

/// Addresses of nodes, `http` or `https`, by the EIP-155 id of their chain. Several of one chain must agree.
pub type ChainNodes = BTreeMap<u64, Vec<String>>;

/// Questions at once.
const AT_ONCE: usize = 8;

/// Makes the nodes ready to be asked.
pub(super) fn on_chain(nodes: &ChainNodes) -> Result<OnChain, SdkError> {
    let chains = nodes.iter().filter(|(_, urls)| !urls.is_empty()).map(|(chain_id, urls)| {
        // clients look at the newest block alone
        let nodes = Nodes::new(urls, Finality::Finalized, AT_ONCE);
        nodes.map(|nodes| (*chain_id, nodes)).map_err(|_| SdkError::NodeUrl(*chain_id))
    });
    Ok(OnChain::new(chains.collect::<Result<Vec<_>, _>>()?))
}

impl Client {
    /// The nodes that this device asks about contract wallets.
    pub fn nodes(&self) -> Result<ChainNodes, SdkError> {
        Ok(self.inner.core().store.nodes()?)
    }

    /// Asks these nodes from now on. Without a node of its chain a contract wallet is not believed.
    pub fn set_nodes(&self, nodes: &ChainNodes) -> Result<(), SdkError> {
        let chains = Arc::new(on_chain(nodes)?);
        let core = self.inner.core();
        core.store.set_nodes(nodes)?;
        *self.inner.chains.write().unwrap_or_else(PoisonError::into_inner) = chains;
        Ok(())
    }
}

impl Inner {
    /// What the chains say about the signatures of a directory that no key made.
    pub(super) async fn ask_chains(&self, directory: &DeviceDirectory) -> Result<Answers, SdkError> {
        let (mut answers, attestations) = self.core().attestations(directory)?;
        let chains = self.chains.read().unwrap_or_else(PoisonError::into_inner).clone();
        let account = directory.account;
        let asked = stream::iter(attestations).map(|attestation| {
            let chains = chains.clone();
            async move { ask(&chains, account, &attestation).await.map(|said| (attestation, said)) }
        });
        let asked: Vec<(Attestation, Option<Said>)> = asked.buffered(AT_ONCE).try_collect().await?;
        for (attestation, said) in asked {
            if let Some(said) = said {
                answers.add(&attestation, said, self.env.now_ms());
            }
        }
        Ok(answers)
    }
}

/// `None`: nobody can say, and nothing depends on it.
async fn ask(chains: &OnChain, account: AccountId, attestation: &Attestation) -> Result<Option<Said>, SdkError> {
    let Attestation { chain_id, wallet, needed, held, .. } = *attestation;
    let claim = Claim { chain_id, wallet, text: &attestation.text, signature: &attestation.signature };
    match chains.verify(claim, Moment::Newest).await {
        Ok(_) => Ok(Some(Said::Yes)),
        Err(SignatureError::Invalid { .. }) => Ok(Some(Said::No)),
        Err(SignatureError::NoNode { .. }) if needed => Err(SdkError::NodeNeeded { account, chain_id }),
        Err(SignatureError::Unavailable { .. }) if held => Ok(Some(Said::YesBefore)),
        Err(SignatureError::Unavailable { why, .. }) if needed => Err(SdkError::Chain { chain_id, why }),
        Err(_) => Ok(None),
    }
}
