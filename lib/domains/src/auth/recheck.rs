//! Contract wallets are asked again, at a final block, about everything that they signed: who owns a wallet may change.
//!
//! A definite no takes back what rests on that attestation: the device that it certified, with its sessions, or the link of two
//! wallets. What can't be asked stays as it is, and is asked again soon.

use std::fmt;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use nepto_chain::signature::{Claim, Moment, SignatureError};
use nepto_kit::Failure;
use nepto_proto::api::auth::Wallets;
use nepto_proto::certificate::SignedMessage;
use nepto_proto::event::WalletUnlinked;
use nepto_proto::siwe::SiweMessage;
use nepto_proto::svc::keys::{Certificates, Certified, RemoveDevice};
use nepto_proto::{AccountId, DeviceId, ErrorCode};

use super::model::{halves, signer_of, without_attestations};
use super::ops::Auth;
use super::store::ContractWalletRow;

/// Wallets of one run.
const WALLETS_MAX: i64 = 64;
/// Wallets that are asked at once.
const WALLETS_AT_ONCE: usize = 8;
/// A wallet is asked so often.
const EVERY_MS: i64 = 10 * 60_000;
/// One that could not be asked, or whose attestation is too young to be final, so soon again.
const AGAIN_AFTER_MS: i64 = 60_000;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rechecked {
    wallets: usize,
    unsure: usize,
    ended: usize,
}

/// What a wallet says now of something that it signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Holds,
    Broken,
    Unsure,
}

impl fmt::Display for Rechecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wallets, unsure, ended } = self;
        write!(f, "{wallets} contract wallets asked, {unsure} of them in vain; {ended} of their attestations ended")
    }
}

impl Auth {
    /// Asks wallets that are due; a bounded number, so that a job's run is short.
    pub async fn recheck_contract_wallets(&self) -> Result<Rechecked, Failure> {
        let due = self.store.due_contract_wallets(self.ctx.clock.now_ms(), WALLETS_MAX).await?;
        let asked = stream::iter(due).map(|row| {
            let auth = self.clone();
            async move { auth.recheck_and_note(&row).await }
        });
        let asked: Vec<Rechecked> = asked.buffer_unordered(WALLETS_AT_ONCE).try_collect().await?;
        Ok(asked.into_iter().fold(Rechecked::default(), |all, one| Rechecked {
            wallets: all.wallets + one.wallets,
            unsure: all.unsure + one.unsure,
            ended: all.ended + one.ended,
        }))
    }

    async fn recheck_and_note(&self, row: &ContractWalletRow) -> Result<Rechecked, Failure> {
        let (done, again_after_ms) = match self.recheck(row).await {
            Ok(done) if done.unsure == 0 => (done, EVERY_MS),
            Ok(done) => (done, AGAIN_AFTER_MS),
            // one that fails must not keep the others from being asked
            Err(failure) => {
                failure.log();
                (Rechecked { wallets: 1, unsure: 1, ended: 0 }, AGAIN_AFTER_MS)
            }
        };
        self.store.contract_wallet_asked(row, self.ctx.clock.now_ms() + again_after_ms).await?;
        Ok(done)
    }

    async fn recheck(&self, row: &ContractWalletRow) -> Result<Rechecked, Failure> {
        let wallet = row.wallet();
        let Some(account) = self.store.account_of_wallet(wallet).await? else {
            self.store.forget_contract_wallet(row).await?;
            return Ok(Rechecked::default());
        };
        let wallets = self.wallets(account).await?;
        let devices = self.ctx.call(&Certificates { account }).await?;
        let devices = devices.into_iter().map(|Certified { device, certificate }| (Some(device), certificate));
        let links = wallets.links.iter().flat_map(halves).map(|half| (None, half.clone()));
        let mut attestations: Vec<(Option<DeviceId>, SignedMessage)> = devices.chain(links).collect();
        attestations.retain(|(_, signed)| signer_of(signed).as_deref() == Some(wallet));
        let answers = join_all(attestations.iter().map(|(_, signed)| self.ask_again(row, signed))).await;
        let (mut ended, mut broken) = (0, Vec::new());
        let no = attestations.into_iter().zip(&answers).filter(|(_, answer)| **answer == Answer::Broken);
        for ((device, signed), _) in no {
            match device {
                Some(device) => ended += usize::from(self.end_device(account, device, signed).await?),
                None => broken.push(signed),
            }
        }
        if !broken.is_empty() {
            ended += broken.len();
            self.end_links(account, wallets, &broken).await?;
        }
        Ok(Rechecked { wallets: 1, unsure: usize::from(answers.contains(&Answer::Unsure)), ended })
    }

    /// Asks at a final block that is not before the one at which the wallet said yes last.
    async fn ask_again(&self, row: &ContractWalletRow, signed: &SignedMessage) -> Answer {
        let (Ok(signature), Ok(message)) = (signed.signature_bytes(), signed.message.parse::<SiweMessage>()) else {
            return Answer::Broken;
        };
        let (chain_id, wallet) = (message.chain_id, message.address);
        let claim = Claim { chain_id, wallet, text: &signed.message, signature: &signature };
        let at = Moment::Final { from: row.block };
        let (answer, outcome) = match self.verifier.verify(claim, at).await {
            Ok(_) => (Answer::Holds, "holds"),
            Err(SignatureError::Invalid { .. }) => (Answer::Broken, "ended"),
            Err(error) => {
                tracing::debug!(%error, "a contract wallet was not asked again");
                (Answer::Unsure, "unsure")
            }
        };
        metrics::counter!("nepto_contract_rechecks_total", "outcome" => outcome).increment(1);
        answer
    }

    /// Removes a device and ends its sessions. `false`: somebody was quicker, or it has another certificate by now.
    async fn end_device(
        &self,
        account: AccountId,
        device: DeviceId,
        certificate: SignedMessage,
    ) -> Result<bool, Failure> {
        let remove = RemoveDevice { account, device, certificate: Some(certificate) };
        match self.ctx.call(&remove).await {
            Err(failure) if failure.code == ErrorCode::DeviceUnknown => return Ok(false),
            removed => removed?,
        }
        tracing::info!(%account, %device, "a device ended with the attestation of the contract wallet that certified it");
        Ok(true)
    }

    /// Takes links apart, and unlinks the wallets that the account's root does not vouch for any more.
    async fn end_links(&self, account: AccountId, seen: Wallets, broken: &[SignedMessage]) -> Result<(), Failure> {
        let left = without_attestations(account, &seen, broken, &self.ctx.config.public.domain);
        let gone = seen.wallets.iter().filter(|wallet| !left.wallets.contains(wallet));
        let gone: Vec<String> = gone.cloned().collect();
        let event =
            |wallet: &String| self.event_about(wallet, &WalletUnlinked { account, wallet: wallet.clone(), version: 0 });
        let events = gone.iter().map(event).collect::<Result<_, _>>()?;
        tracing::info!(%account, wallets = gone.len(), "links ended with the attestation of a contract wallet");
        self.store.unlink(account, seen, left, &gone, events).await?;
        self.outbox.wake();
        for wallet in gone {
            self.end_devices_of(account, &wallet).await?;
        }
        Ok(())
    }
}
