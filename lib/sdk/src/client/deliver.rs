//! Takes deliveries in: fetches the directories that they need, and acknowledges what is stored.

use std::time::Duration;

use alloy_primitives::Address;
use nepto_proto::wire::Deliver;
use nepto_proto::{AccountId, DeviceId, ErrorCode};
use nepto_sdk_core::Received;

use super::Inner;
use crate::{Event, SdkError};

/// Before a directory is asked for again; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Before any further try.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A chain that must be asked about a sender is tried for so long. One whose nodes are away must not keep everybody else's
/// messages waiting.
const CHAIN_WITHIN: Duration = Duration::from_secs(60);

/// A verdict on who sent a message, for which it may be passed over. Everything else is no reason to lose one.
fn is_about_sender(error: &SdkError) -> bool {
    let refused =
        matches!(error, SdkError::BadKeys { .. } | SdkError::WrongWallet { .. } | SdkError::NodeNeeded { .. });
    refused || error.code() == Some(ErrorCode::AccountUnknown)
}

impl Inner {
    /// Takes one delivery in. Returns only when it is stored or passed over: later ones must not overtake it.
    pub(super) async fn deliver(&self, deliver: &Deliver) -> Result<Vec<Event>, SdkError> {
        let received = self.core().receive(deliver, false)?;
        let account = match received {
            Received::Done(events) => return Ok(events),
            Received::NeedDirectory(account) => account,
        };
        let mut events = Vec::new();
        let (mut unasked, began) = (None, tokio::time::Instant::now());
        for tries in 0u32.. {
            match self.fetch_directory(account, None).await {
                Ok(reported) => {
                    events.extend(reported);
                    break;
                }
                Err(error) if is_about_sender(&error) => {
                    tracing::warn!(%account, %error, "the directory of a sender does not hold");
                    unasked = matches!(error, SdkError::NodeNeeded { .. }).then(|| error.to_string());
                    break;
                }
                Err(error @ SdkError::Chain { .. }) if began.elapsed() >= CHAIN_WITHIN => {
                    tracing::warn!(%account, %error, "nobody can say whose wallet a sender's is");
                    unasked = Some(error.to_string());
                    break;
                }
                Err(error) if error.is_signed_out() || matches!(error, SdkError::Store(_)) => return Err(error),
                // the server can't be asked right now, which says nothing about the sender
                Err(error) => {
                    tracing::info!(%account, %error, "a directory will be asked for again");
                    let backoff = RETRY_FIRST.saturating_mul(2u32.saturating_pow(tries.min(10))).min(RETRY_MAX);
                    tokio::time::sleep(backoff / 2 + self.env.jitter(backoff / 2)).await;
                }
            }
        }
        match self.core().receive(deliver, true)? {
            Received::Done(mut reported) => {
                for event in &mut reported {
                    if let (Event::Uncertified { reason, .. }, Some(unasked)) = (event, &unasked) {
                        reason.clone_from(unasked);
                    }
                }
                events.extend(reported);
            }
            Received::NeedDirectory(_) => return Err(SdkError::Internal("a directory was asked for twice")),
        }
        Ok(events)
    }

    /// Fetches and checks the device directory of an account.
    pub(super) async fn fetch_directory(
        &self,
        account: AccountId,
        named: Option<Address>,
    ) -> Result<Vec<Event>, SdkError> {
        let _turn = self.lookups.take(account).await;
        let directory = self.http.directory(account).await?;
        if directory.account != account {
            return Err(SdkError::BadKeys { account, reason: "the server answered for another account" });
        }
        let answers = self.ask_chains(&directory).await?;
        let reported = self.core().apply_directory(&directory, named, &answers)?;
        if account == self.account {
            self.sync_joined(&reported).await;
        }
        Ok(reported)
    }

    /// The same, for the user: what it says is told to the program.
    pub(super) async fn look_up(&self, account: AccountId, named: Option<Address>) -> Result<(), SdkError> {
        let reported = self.fetch_directory(account, named).await?;
        self.announce(reported).await;
        Ok(())
    }

    /// Tells new devices of one's own what was written since they joined. Best effort: it is a matter of seconds.
    async fn sync_joined(&self, reported: &[Event]) {
        let added = |number: DeviceId| {
            reported.iter().any(|event| matches!(event, Event::DeviceAdded { device, .. } if *device == number))
        };
        if !reported.iter().any(|event| matches!(event, Event::DeviceAdded { .. })) {
            return;
        }
        let synced = async {
            let devices = self.http.own_devices().await?.devices;
            let joined = devices.iter().filter(|own| added(own.device)).map(|own| own.created_at).min();
            let Some(joined) = joined else { return Ok(()) };
            let joined_ms = u64::try_from(joined.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
            self.core().sync_recent(joined_ms)
        };
        if let Err(error) = synced.await {
            tracing::warn!(%error, "a new device was not told what was written since it joined");
        }
        self.queued.notify_one();
    }
}
