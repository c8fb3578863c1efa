//! Use-cases: register and remove devices, upload keys, hand out bundles.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use nepto_kit::domain::Parts;
use nepto_kit::job::Run;
use nepto_kit::limit::{self, Cost, Limit};
use nepto_kit::outbox::{Outbox, Row};
use nepto_kit::{Ctx, Failure};
use nepto_proto::api::auth::Wallets;
use nepto_proto::api::keys::{
    DeviceDirectory, KeyCount, KeyStock, OwnDevice, PrekeyBundles, PublicDevice, UploadKeys, repeated_use_digest,
};
use nepto_proto::certificate::SignedMessage;
use nepto_proto::event::{DeviceRemoved, KeysNotice, WalletUnlinked};
use nepto_proto::limits::{
    DEVICES_PER_ACCOUNT_MAX, ONE_TIME_PREKEYS_LOW, ONE_TIME_PREKEYS_MAX, ONE_TIME_PREKEYS_RESERVED,
};
use nepto_proto::subject::Live;
use nepto_proto::svc::accounts::WhoAccepts;
use nepto_proto::svc::auth::{EndSessions, FindAccount};
use nepto_proto::svc::keys::DeviceList;
use nepto_proto::svc::keys::{CanRegister, Certified, RegisterDevice};
use nepto_proto::{AccountId, DeviceId, ErrorCode};

use super::config::{Limits, Mailbox};
use super::model::{check_fits, check_ids, check_keys, check_setup, identity_taken, key_limit, key_used};
use super::signatures::Threads;
use super::store::{DeviceRow, LowDevice, RemovedRow, Store, Taken};

/// A device that was not heard of for so long is removed: its mailbox has expired by then.
const IDLE_AFTER: Duration = Duration::from_secs(180 * 86_400);

/// Removed devices in a directory.
const REMOVED_SHOWN_MAX: i64 = 20;

/// What became of devices that were not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Those that were removed.
    pub removed: usize,
    /// Whether there are more.
    pub are_left: bool,
}

/// The use-cases of the domain.
#[derive(Clone)]
pub struct Keys {
    ctx: Ctx,
    store: Store,
    outbox: Outbox,
    limits: Arc<Limits>,
    threads: Threads,
}

impl Keys {
    pub fn new(parts: &Parts) -> anyhow::Result<Self> {
        let ctx = parts.ctx.clone();
        Ok(Self {
            store: Store::new(parts.db()?.clone(), ctx.redis.clone()),
            outbox: parts.outbox()?.clone(),
            limits: ctx.config.section(),
            threads: Threads::all_but_one(),
            ctx,
        })
    }

    pub async fn register(&self, request: RegisterDevice) -> Result<DeviceId, Failure> {
        check_setup(&request.setup, &request.identity_key.0)?;
        let row = DeviceRow::new(&request, self.ctx.clock.now_ms());
        let device = self.store.register(request.account, row, DEVICES_PER_ACCOUNT_MAX).await.map_err(|error| {
            match Failure::from(error) {
                failure if failure.code == ErrorCode::IdentityTaken => identity_taken(),
                failure => failure,
            }
        })?;
        self.changed(request.account).await?;
        Ok(device)
    }

    /// Removes a device, if it has this certificate, where one is given, and ends its sessions before it answers: the event
    /// that says the same may be late. A removal that got no further than the row is finished by the next try.
    pub async fn remove(
        &self,
        account: AccountId,
        device: DeviceId,
        certificate: Option<SignedMessage>,
    ) -> Result<(), Failure> {
        let event = Row::new(&DeviceRemoved { account, device }, &self.ctx.clock, &self.ctx.random)?;
        let now_ms = self.ctx.clock.now_ms();
        // with another certificate it is another device by now, whose sessions live
        let whatever_it_is = certificate.is_none();
        let unknown = match self.store.remove(account, device, certificate, now_ms, event).await.map_err(Failure::from)
        {
            Ok(()) => None,
            Err(failure) if failure.code == ErrorCode::DeviceUnknown => {
                Some(Failure::new(failure.code, format!("this account has no device {device}")))
            }
            Err(failure) => return Err(failure),
        };
        self.outbox.wake();
        match unknown {
            Some(unknown) if !whatever_it_is => Err(unknown),
            unknown => {
                // neither waits for the other to go well
                let end = EndSessions { account, device };
                let (told, ended) = tokio::join!(self.changed(account), self.ctx.call(&end));
                told?;
                match (ended?, unknown) {
                    (0, Some(unknown)) => Err(unknown),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Another list: gateways compare with it from now on, and the account's devices that are connected fetch it again.
    async fn changed(&self, account: AccountId) -> Result<(), Failure> {
        let list = self.list(account).await?;
        for (device, _) in list.devices {
            self.notify(account, device, &KeysNotice::DevicesChanged).await;
        }
        Ok(())
    }

    /// Removes the devices that a wallet had certified when it left its account.
    pub async fn wallet_unlinked(&self, event: WalletUnlinked) -> Result<(), Failure> {
        self.remove_those(event.account, |row| row.ends_with(&event.wallet, event.version)).await.map(drop)
    }

    /// Removes the devices that a wallet certified; how many.
    pub async fn remove_devices_of(&self, account: AccountId, wallet: &str) -> Result<u32, Failure> {
        self.remove_those(account, |row| row.wallet == wallet).await
    }

    async fn remove_those(&self, account: AccountId, which: impl Fn(&DeviceRow) -> bool) -> Result<u32, Failure> {
        let mut removed = 0;
        for row in self.store.devices(account).await? {
            if which(&row) {
                match self.remove(account, row.number(), None).await {
                    Err(failure) if failure.code == ErrorCode::DeviceUnknown => {}
                    done => {
                        done?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }

    /// A device's key stays with the account that it signed in to first. [`Self::register`] sees to it; a wallet that is new here
    /// must not get an account before that is refused.
    pub async fn can_register(&self, CanRegister { account, identity_key, setup }: CanRegister) -> Result<(), Failure> {
        check_setup(&setup, &identity_key.0)?;
        match self.store.identity_owner(&identity_key.0).await? {
            Some(owner) if account != Some(owner) => Err(identity_taken()),
            _ => Ok(()),
        }
    }

    /// The compact list; what is read is put into Redis.
    pub async fn list(&self, account: AccountId) -> Result<DeviceList, Failure> {
        let list = self.store.list(account).await?;
        // an account that does not exist must not fill the cache
        if list.revision > 0 {
            self.store.cache(account, &list).await?;
        }
        Ok(list)
    }

    pub async fn certificates(&self, account: AccountId) -> Result<Vec<Certified>, Failure> {
        let certified = |device: PublicDevice| Certified { device: device.device, certificate: device.certificate };
        Ok(self.store.devices(account).await?.iter().map(DeviceRow::to_public).map(certified).collect())
    }

    pub async fn own_devices(&self, account: AccountId) -> Result<Vec<OwnDevice>, Failure> {
        Ok(self.store.devices(account).await?.iter().map(DeviceRow::to_own).collect())
    }

    pub async fn seen(&self, account: AccountId, device: DeviceId) -> Result<(), Failure> {
        if self.ctx.clock_check.is_wrong().await {
            // the time only grows: one that is ahead would stay, and the next day is early enough
            return Ok(());
        }
        Ok(self.store.seen(account, device, self.ctx.clock.now_ms()).await?)
    }

    pub async fn directory(&self, account: AccountId) -> Result<DeviceDirectory, Failure> {
        let wallets = self.wallets(account).await?;
        let devices = self.store.devices(account).await?.iter().map(DeviceRow::to_public).collect();
        let removed = self.store.removed(account, REMOVED_SHOWN_MAX).await?;
        Ok(DeviceDirectory { account, wallets, devices, removed: removed.iter().map(RemovedRow::to_public).collect() })
    }

    /// Bundles for some or all devices of an account, each with one-time keys while there are any and the limits allow.
    pub async fn bundles(
        &self,
        caller: AccountId,
        target: AccountId,
        devices: Option<Vec<DeviceId>>,
    ) -> Result<PrekeyBundles, Failure> {
        let limits = &self.limits;
        let per_pair =
            Limit { kind: "bundles", max: limits.bundles_per_pair_per_10_minutes, window: Duration::from_secs(600) };
        // first, so that ids of nobody leave nothing in Redis
        let wallets = self.wallets(target).await?;
        let member = Some(target.random_half().to_vec());
        per_pair.take_of(&self.ctx.redis, &self.ctx.clock, &caller.to_string(), member, 1).await?;
        let devices = match devices {
            Some(devices) => devices,
            None => self.store.list(target).await?.devices.into_iter().map(|(device, _)| device).collect(),
        };
        let is_stranger = !self.is_welcome(caller, target).await;
        let taken = devices.iter().map(|device| self.bundle(caller, target, *device, is_stranger));
        let taken = try_join_all(taken).await?;
        Ok(PrekeyBundles {
            account: target,
            wallets,
            bundles: taken.into_iter().flatten().map(|taken| taken.bundle).collect(),
        })
    }

    /// Whether the target is oneself or has accepted the caller. If nobody can say, the caller counts as a stranger.
    async fn is_welcome(&self, caller: AccountId, target: AccountId) -> bool {
        if caller == target {
            return true;
        }
        match self.ctx.call(&WhoAccepts { asker: caller, accounts: vec![target] }).await {
            Ok(accepting) => accepting.contains(&target),
            Err(failure) => {
                failure.log();
                false
            }
        }
    }

    /// A bundle, with one-time keys if the caller may have some.
    async fn bundle(
        &self,
        caller: AccountId,
        target: AccountId,
        device: DeviceId,
        is_stranger: bool,
    ) -> Result<Option<Taken>, Failure> {
        let (redis, clock) = (&self.ctx.redis, &self.ctx.clock);
        let mut share = limit::Taken::default();
        let found = share.add(redis, clock, &self.shares(caller, target, device, is_stranger)).await?;
        let taken = if found.is_ok() {
            let reserved = if is_stranger { ONE_TIME_PREKEYS_RESERVED } else { 0 };
            self.store.take_bundle(target, device, reserved).await?
        } else {
            self.store.bundle(target, device).await?
        };
        match taken.as_ref().filter(|taken| taken.has_one_time) {
            // who gets nothing makes nobody look again
            Some(taken) => self.nudge_if_low(target, device, taken.left).await,
            None => {
                metrics::counter!("nepto_prekey_drain_refused_total").increment(1);
                // who got nothing has used nothing up
                share.give_back(redis).await?;
            }
        }
        Ok(taken)
    }

    /// What a one-time key counts against: what a caller may have of a device's, and what all strangers together may have.
    fn shares(&self, caller: AccountId, target: AccountId, device: DeviceId, is_stranger: bool) -> Vec<Cost> {
        let limits = &self.limits;
        let (kind, max) = match is_stranger {
            true => ("one_time_prekeys_of_stranger", limits.one_time_prekeys_per_stranger_per_day),
            false => ("one_time_prekeys_of_contact", limits.one_time_prekeys_per_contact_per_day),
        };
        let of_caller = Limit { kind, max, window: Duration::from_secs(86_400) };
        let mut shares = vec![Cost {
            limit: of_caller,
            subject: caller.to_string(),
            member: Some([&target.random_half()[..], &[device.get()]].concat()),
            amount: 1,
            refundable: true,
        }];
        if is_stranger {
            let max = limits.one_time_prekeys_to_strangers_per_10_minutes;
            let window = Duration::from_secs(600);
            let of_strangers = Limit { kind: "one_time_prekeys_of_strangers", max, window };
            shares.push(Cost {
                limit: of_strangers,
                subject: format!("{target}:{device}"),
                member: None,
                amount: 1,
                refundable: true,
            });
        }
        shares
    }

    pub async fn upload(&self, account: AccountId, device: DeviceId, keys: UploadKeys) -> Result<KeyCount, Failure> {
        let max = self.limits.key_uploads_per_device_per_minute;
        let limit = Limit { kind: "key_uploads", max, window: Duration::from_secs(60) };
        limit.take(&self.ctx.redis, &self.ctx.clock, &format!("{account}:{device}"), 1).await?;
        check_ids(&keys)?;
        let row = self.device(account, device).await?;
        let (signed, last_resort) = row.repeated_use();
        check_fits(&keys, &row.stock(), [&signed, &last_resort])?;
        let identity = row.identity_key;
        let keys = self.threads.run(move || check_keys(&keys, &identity).map(|()| keys)).await??;
        self.store.upload(account, device, &keys, ONE_TIME_PREKEYS_MAX).await.map_err(|error| {
            match Failure::from(error) {
                failure if failure.code == ErrorCode::KeyLimit => key_limit(),
                failure if failure.code == ErrorCode::KeyUsed => key_used(),
                failure => failure,
            }
        })
    }

    /// What there is of a device's one-time keys.
    pub async fn stock(&self, account: AccountId, device: DeviceId) -> Result<KeyStock, Failure> {
        Ok(self.device(account, device).await?.stock())
    }

    /// Whether the device's idea of its repeated-use keys is ours.
    pub async fn check(&self, account: AccountId, device: DeviceId, digest: &[u8]) -> Result<bool, Failure> {
        let row = self.device(account, device).await?;
        let (signed, last_resort) = row.repeated_use();
        let ours = repeated_use_digest(
            &row.identity_key,
            (signed.id, &signed.public_key.0),
            (last_resort.id, &last_resort.public_key.0),
        );
        Ok(ours == digest)
    }

    /// Reminds connected devices whose pools are low. All that are low are gone through, also those that are away for long: a run
    /// that is broken off is gone on with.
    pub async fn nudge_low(&self, run: &Run) -> anyhow::Result<usize> {
        const BATCH: i64 = 1_000;
        let (mut after, mut count): (LowDevice, usize) = run.progress().unwrap_or_default();
        loop {
            let rows = self.store.low_on_prekeys(&after, BATCH).await?;
            let Some(last) = rows.last() else { return Ok(count) };
            for row in &rows {
                self.nudge_if_low(row.account(), row.number(), row.left()).await;
            }
            (after, count) = (last.into(), count + rows.len());
            run.save(&(&after, count)).await?;
        }
    }

    /// Removes devices that were not heard of for half a year, so many and no more: many at once may be a time that was wrong, and
    /// whoever reads that some are left has hours to look.
    pub async fn retire_idle(&self, max: usize) -> Result<Retired, Failure> {
        let before_ms = self.ctx.clock.now_ms() - IDLE_AFTER.as_millis() as i64;
        let mut rows = self.store.idle_since(before_ms, max as i64 + 1).await?;
        let are_left = rows.len() > max;
        rows.truncate(max);
        for row in &rows {
            self.remove(row.account(), row.number(), None).await?;
        }
        if are_left {
            metrics::counter!("nepto_idle_devices_left_total").increment(1);
            tracing::warn!(
                removed = rows.len(),
                "more devices are idle than one run removes; `nepto admin jobs pause` keeps the others"
            );
        }
        Ok(Retired { removed: rows.len(), are_left })
    }

    /// Forgets removed devices when nothing of them can be on its way any more; a bounded number.
    pub async fn forget_removed(&self) -> Result<usize, Failure> {
        const BATCH: i64 = 1_000;
        let expire_after_ms = self.ctx.config.section::<Mailbox>().expire_after_s.saturating_mul(1_000) as i64;
        Ok(self.store.forget_removed(self.ctx.clock.now_ms() - expire_after_ms, BATCH).await?)
    }

    /// Reaches the device if it is connected; otherwise it counts its keys when it comes back.
    async fn nudge_if_low(&self, account: AccountId, device: DeviceId, left: KeyCount) {
        if left.ec.min(left.kyber) as usize >= ONE_TIME_PREKEYS_LOW {
            return;
        }
        self.notify(account, device, &KeysNotice::PrekeysLow { ec: left.ec, kyber: left.kyber }).await;
    }

    /// To the connections of a device, if it has one. What it does not hear it learns when it connects.
    async fn notify(&self, account: AccountId, device: DeviceId, notice: &KeysNotice) {
        let Ok(notice) = serde_json::to_vec(notice) else { return };
        if let Err(error) = self.ctx.nats.publish(Live::Keys.subject(account, device), notice.into()).await {
            tracing::warn!(%error, "a device was not notified");
        }
    }

    async fn device(&self, account: AccountId, device: DeviceId) -> Result<DeviceRow, Failure> {
        let row = self.store.device(account, device).await?;
        row.ok_or_else(|| Failure::new(ErrorCode::DeviceUnknown, "this device was removed; sign in again"))
    }

    async fn wallets(&self, account: AccountId) -> Result<Wallets, Failure> {
        let found = self.ctx.call(&FindAccount::Id(account)).await?;
        let found =
            found.ok_or_else(|| Failure::new(ErrorCode::AccountUnknown, format!("no account {}", account.uuid())))?;
        Ok(found.wallets)
    }
}
