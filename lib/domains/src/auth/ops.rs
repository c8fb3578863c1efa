//! Use-cases: nonces, and checking what a wallet signed.

use std::sync::Arc;
use std::time::Duration;

use nepto_chain::rpc::RpcError;
use nepto_chain::signature::{Claim, Moment, Nodes, OnChain, SignatureError, SignatureVerifier, Signer};
use nepto_kit::domain::Parts;
use nepto_kit::limit::Limit;
use nepto_kit::outbox::{Outbox, Row, Unwritable};
use nepto_kit::{Ctx, Failure};
use nepto_proto::ErrorCode;
use nepto_proto::api::auth::Nonce;
use nepto_proto::certificate::{CertificateError, SignedMessage};
use nepto_proto::event::Event;
use nepto_proto::siwe::{Expected, SiweMessage};

use super::config::{Limits, Tokens};
use super::store::Store;
use crate::chains::{Chain, Chains, finality_of, urls_of};

/// Characters of a nonce: 5 bits each.
const NONCE_LENGTH: usize = 24;

/// The use-cases of the domain.
#[derive(Clone)]
pub struct Auth {
    pub(super) ctx: Ctx,
    pub(super) store: Store,
    pub(super) outbox: Outbox,
    pub(super) verifier: Arc<dyn SignatureVerifier>,
    pub(super) tokens: Arc<Tokens>,
}

impl Auth {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        let chains = ctx.config.section::<Chains>().iter().map(nodes_of).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            store: Store::new(parts.db()?.clone(), ctx.redis.clone()),
            outbox: parts.outbox()?.clone(),
            verifier: Arc::new(OnChain::new(chains)),
            tokens: ctx.config.section(),
            ctx,
        })
    }

    /// Takes one from the allowance of an address that is not signed in.
    pub async fn limit_address(&self, address: &str) -> Result<(), Failure> {
        let max = self.ctx.config.section::<Limits>().sign_ins_per_address_per_minute;
        let limit = Limit { kind: "sign_in", max, window: Duration::from_secs(60) };
        limit.take(&self.ctx.redis, &self.ctx.clock, address, 1).await
    }

    pub async fn nonce(&self) -> Result<Nonce, Failure> {
        let nonce = self.ctx.random.alphanumeric(NONCE_LENGTH);
        let ttl = Duration::from_secs(self.tokens.nonce_ttl_s);
        self.store.put_nonce(&nonce, ttl).await?;
        Ok(Nonce { nonce, expires_at: self.ctx.clock.now() + ttl })
    }

    pub(super) fn event<E: Event>(&self, event: &E) -> Result<Row, Unwritable> {
        Row::new(event, &self.ctx.clock, &self.ctx.random)
    }

    /// An event about a wallet, whose number is written with the change.
    pub(super) fn event_about<E: Event>(&self, wallet: &str, event: &E) -> Result<Row, Unwritable> {
        Row::about(event, wallet, &self.ctx.clock, &self.ctx.random)
    }

    /// Reads a message and checks all that needs no nonce: form, fields, signature. Also says who signed: the wallet's key,
    /// or its contract on the chain that the message names. That must be the chain that the contract is known on: on another
    /// one somebody else may own this address. What others check after us is made canonical before it is checked.
    pub(super) async fn check_message(&self, signed: &mut SignedMessage) -> Result<(SiweMessage, Signer), Failure> {
        let public = &self.ctx.config.public;
        let message: SiweMessage = signed.message.parse()?;
        message.check(&Expected {
            domain: &public.domain,
            uri: &public.uri,
            chains: &public.chains,
            now: self.ctx.clock.now(),
        })?;
        signed.make_canonical(message.address);
        let signature = signed.signature_bytes().map_err(|error| {
            let too_long = error == CertificateError::TooLong;
            let code = if too_long { ErrorCode::TooLarge } else { ErrorCode::SignatureInvalid };
            Failure::new(code, error.to_string())
        })?;
        let (chain_id, wallet) = (message.chain_id, message.address);
        let claim = Claim { chain_id, wallet, text: &signed.message, signature: &signature };
        let signer = self.verifier.verify(claim, Moment::Newest).await.map_err(|error| match error {
            SignatureError::Invalid { .. } => Failure::new(ErrorCode::SignatureInvalid, error.to_string()),
            SignatureError::NoNode { .. } => {
                let ask =
                    format!("; if it is, ask the operator to add chain {chain_id}, or sign in with a key's wallet");
                Failure::new(ErrorCode::ContractWallet, format!("{error}{ask}"))
            }
            SignatureError::Unavailable { .. } => Failure::unavailable(&format!("chain {chain_id}"), error),
        })?;
        if signer != Signer::Key
            && let Some(known) = self.store.contract_wallet(&wallet.to_string()).await?
            && known.chain_id != chain_id
        {
            return Err(Failure::new(
                ErrorCode::WalletChain,
                format!("{wallet} is known on chain {}; sign for that chain", known.chain_id),
            ));
        }
        Ok((message, signer))
    }

    /// Remembers that a contract said yes. Whatever it has signed is asked for again soon: a new owner signs in first thing.
    pub(super) async fn note_contract(&self, message: &SiweMessage, signer: Signer) -> Result<(), Failure> {
        let Signer::Contract(block) = signer else { return Ok(()) };
        let (wallet, now_ms) = (message.address.to_string(), self.ctx.clock.now_ms());
        Ok(self.store.note_contract_wallet(&wallet, message.chain_id, block.number, now_ms).await?)
    }

    pub(super) async fn use_nonce(&self, message: &SiweMessage) -> Result<(), Failure> {
        match self.store.take_nonce(&message.nonce).await? {
            true => Ok(()),
            false => Err(Failure::new(ErrorCode::NonceInvalid, "ask for a new one: POST /v1/auth/nonce")),
        }
    }
}

/// The nodes of a chain, to ask contract wallets. They are not those that blocks are collected from: each pool knows for
/// itself how its endpoints do.
fn nodes_of(chain: &Chain) -> Result<(u64, Nodes), RpcError> {
    Ok((chain.id, Nodes::new(urls_of(chain), finality_of(chain), chain.concurrency_max)?))
}
