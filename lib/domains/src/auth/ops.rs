//! Use-cases: sign in, and checking what a wallet signed.

use std::sync::Arc;
use std::time::Duration;

use nepto_chain::signature::{Claim, Moment, SignatureError, SignatureVerifier, Signer};
use nepto_kit::domain::Parts;
use nepto_kit::limit::Limit;
use nepto_kit::outbox::{Outbox, Row};
use nepto_kit::{Ctx, Failure};
use nepto_proto::ErrorCode;
use nepto_proto::api::auth::{Nonce, SignIn, Tokens};
use nepto_proto::certificate::{CertificateError, Resource, SignedMessage};
use nepto_proto::event::Event;
use nepto_proto::siwe::{Expected, SiweMessage};

use super::invites::Code;
use super::sessions::NewSession;
use super::sign_up::Gate;
use super::signing::Keys;
use super::store::Store;
use crate::keys::{OwnDevices, RegisterDevice, check_setup};

/// Characters of a nonce: 5 bits each.
const NONCE_LENGTH: usize = 24;

/// The use-cases of the domain.
#[derive(Clone)]
pub struct Auth {
    pub(super) ctx: Ctx,
    pub(super) store: Store,
    pub(super) keys: Arc<Keys>,
    pub(super) outbox: Outbox,
    pub(super) verifier: Arc<dyn SignatureVerifier>,
    pub(super) gate: Arc<Gate>,
}

impl Auth {
    pub fn new(parts: &Parts, verifier: Arc<dyn SignatureVerifier>) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        Ok(Self {
            store: Store::new(parts.db.clone(), ctx.redis.clone()),
            keys: Arc::new(Keys::load(&ctx.config.tokens)?),
            outbox: parts.outbox.clone(),
            gate: Arc::new(Gate::new(&ctx.config)?),
            ctx,
            verifier,
        })
    }

    /// Takes one from the allowance of an address that is not signed in.
    pub async fn limit_address(&self, address: &str) -> Result<(), Failure> {
        let max = self.ctx.config.limits.sign_ins_per_address_per_minute;
        let limit = Limit { kind: "sign_in", max, window: Duration::from_secs(60) };
        limit.take(&self.ctx.redis, &self.ctx.clock, address, 1).await
    }

    pub async fn nonce(&self) -> Result<Nonce, Failure> {
        let nonce = self.ctx.random.alphanumeric(NONCE_LENGTH);
        let ttl = Duration::from_secs(self.ctx.config.tokens.nonce_ttl_s);
        self.store.put_nonce(&nonce, ttl).await?;
        Ok(Nonce { nonce, expires_at: self.ctx.clock.now() + ttl })
    }

    /// A device's key stays with the account that it signed in to first. `keys` sees to it when the device is registered; a
    /// wallet that is new here must not get an account before that is refused.
    async fn check_identity(&self, message: &SiweMessage, identity_key: &[u8]) -> Result<(), Failure> {
        let owner = crate::keys::IdentityOwner { identity_key: identity_key.to_vec().into() };
        let Some(owner) = self.ctx.call(&owner).await? else { return Ok(()) };
        match self.store.account_of_wallet(&message.address.to_string()).await? {
            Some(account) if account == owner => Ok(()),
            _ => Err(crate::keys::identity_taken()),
        }
    }

    /// `address`: where it comes from.
    pub async fn sign_in(&self, request: SignIn, address: &str) -> Result<Tokens, Failure> {
        let (message, signer) = self.check_message(&request.signed).await?;
        let Some(Resource::Device { registration_id, identity_key }) = message.resource() else {
            return Err(Failure::new(
                ErrorCode::SiweResource,
                "exactly one resource urn:nepto:device:<registration_id>:<identity key> is needed, the id without sign and \
                 leading zeros",
            ));
        };
        // before anything is used up or made
        check_setup(&request.device, &identity_key)?;
        self.check_identity(&message, &identity_key).await?;
        let wallet = message.address.to_string();
        let invite = request.invite.as_deref().filter(|code| !code.trim().is_empty());
        let account = match self.store.account_of_wallet(&wallet).await? {
            Some(account) => {
                self.use_nonce(&message).await?;
                account
            }
            None => {
                let invite = invite.map(Code::read).transpose()?;
                self.sign_up(message.clone(), address.to_owned(), invite).await?
            }
        };
        self.note_contract(&message, signer).await?;
        let register = RegisterDevice {
            account,
            wallet: wallet.clone(),
            registration_id,
            identity_key: identity_key.to_vec().into(),
            certificate: request.signed,
            setup: request.device,
        };
        let device = match self.ctx.call(&register).await {
            Ok(device) => device,
            Err(mut failure) if failure.code == ErrorCode::DeviceLimit => {
                // the wallet signed: its owner may see the devices and choose one to revoke
                failure.devices = self.ctx.call(&OwnDevices { account }).await?;
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        self.begin(NewSession { account, device, wallet: &wallet, identity_key: &identity_key }).await
    }

    pub(super) fn event<E: Event>(&self, event: &E) -> Row {
        Row::new(event, &self.ctx.clock, &self.ctx.random)
    }

    /// Reads a message and checks all that needs no nonce: form, fields, signature. Also says who signed: the wallet's key,
    /// or its contract on the chain that the message names. That must be the chain that the contract is known on: on another
    /// one somebody else may own this address.
    pub(super) async fn check_message(&self, signed: &SignedMessage) -> Result<(SiweMessage, Signer), Failure> {
        let public = &self.ctx.config.public;
        let message: SiweMessage = signed.message.parse()?;
        message.check(&Expected {
            domain: &public.domain,
            uri: &public.uri,
            chains: &public.chains,
            now: self.ctx.clock.now(),
        })?;
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
            && known.chain_id.cast_unsigned() != chain_id
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
        let (chain_id, block) = (message.chain_id.cast_signed(), block.number.cast_signed());
        let now_ms = self.ctx.clock.now_ms();
        Ok(self.store.note_contract_wallet(&message.address.to_string(), chain_id, block, now_ms).await?)
    }

    pub(super) async fn use_nonce(&self, message: &SiweMessage) -> Result<(), Failure> {
        match self.store.take_nonce(&message.nonce).await? {
            true => Ok(()),
            false => Err(Failure::new(ErrorCode::NonceInvalid, "ask for a new one: POST /v1/auth/nonce")),
        }
    }
}
