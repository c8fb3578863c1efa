//! A device's keys: drawn once, certified by the wallet, topped up and rotated.
//!
//! A private half is on disk before its public half leaves the device. Ids only grow, also past those of a life that this
//! store has forgotten: it may be an older copy, and so may the server's. Whoever of the two went back in time, the stock on
//! the server is then not the one that is known here, and is replaced.

use std::time::Duration;

use libsignal_protocol::{
    GenericSignedPreKey, IdentityKeyPair, KeyPair, KyberPreKeyRecord, PreKeyRecord, PrivateKey, SignedPreKeyRecord,
    Timestamp, kem,
};
use nepto_proto::RegistrationId;
use nepto_proto::api::keys::{
    CheckKeys, DeviceSetup, EcPrekey, KeyCount, KeyStock, NextIds, SignedPrekey, UploadKeys, one_time_tag,
    repeated_use_digest, sum_of_tags,
};
use nepto_proto::limits::ONE_TIME_PREKEYS_MAX;
use rand::Rng;

use crate::SdkError;
use crate::core::Core;
use crate::env::Env;
use crate::signal;
use crate::store::backend::Durability;
use crate::store::prekeys::PrekeyRow;
use crate::store::profile::{Counter, Installation, KeyState};
use crate::store::{Store, Table, Txn};

/// A signed prekey is replaced after this time.
const ROTATE_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// A replaced one is kept this long, for messages on their way.
const KEEP_RETIRED: Duration = Duration::from_secs(30 * 24 * 3600);
/// One-time prekeys of each kind that are kept, the newest. The server hands out the oldest first and has at most
/// [`ONE_TIME_PREKEYS_MAX`], so the others went to people who never wrote. Their age says nothing: who meets nobody has
/// the same stock for years.
const ONE_TIME_KEPT: usize = 5 * ONE_TIME_PREKEYS_MAX;
/// Ids that the server may be ahead of an older copy of this store. There are 16 million, and a server that says what is not
/// true must not use them up.
const IDS_AHEAD_MAX: u64 = 100_000;

/// The installation of a store.
pub(crate) struct SetUp {
    pub installation: Installation,
    /// What to register it with.
    pub device: DeviceSetup,
    /// It was drawn just now: the store had none.
    pub is_fresh: bool,
}

/// The installation of a store and the keys to register it with; drawn if the store is new.
pub(crate) fn set_up(store: &Store, env: &Env, name: &str) -> Result<SetUp, SdkError> {
    let txn = store.begin();
    let known = txn.installation()?;
    let is_fresh = known.is_none();
    let installation = match known {
        Some(installation) => installation,
        None => {
            let mut rng = env.rng();
            let identity = IdentityKeyPair::generate(&mut rng);
            let installation = Installation {
                registration_id: rng.random_range(1..=RegistrationId::MAX),
                identity: identity.serialize().into_vec().into(),
            };
            txn.set_installation(&installation)?;
            installation
        }
    };
    let identity = installation.key_pair()?;
    let (signed_prekey, last_resort) = repeated_use(&txn, env, &identity)?;
    txn.commit(Durability::Now)?;
    let device = DeviceSetup { name: name.to_owned(), signed_prekey, last_resort };
    Ok(SetUp { installation, device, is_fresh })
}

/// Forgets the installation, whose device was removed. The next one has other keys.
pub(crate) fn replace_identity(store: &Store) -> Result<(), SdkError> {
    let txn = store.begin();
    txn.forget_installation();
    let state = txn.key_state()?;
    txn.delete_prekey(Table::SignedPrekey, state.signed_prekey);
    txn.delete_prekey(Table::KyberPrekey, state.last_resort);
    txn.set_key_state(&KeyState::default())?;
    txn.delete_all_sessions()?;
    Ok(txn.commit(Durability::Now)?)
}

/// The current signed prekey and last-resort Kyber prekey; made if there are none.
fn repeated_use(
    txn: &Txn<'_>,
    env: &Env,
    identity: &IdentityKeyPair,
) -> Result<(SignedPrekey, SignedPrekey), SdkError> {
    let mut state = txn.key_state()?;
    let stored =
        (txn.prekey(Table::SignedPrekey, state.signed_prekey)?, txn.prekey(Table::KyberPrekey, state.last_resort)?);
    if let (Some(signed), Some(last_resort)) = stored {
        let signed = SignedPreKeyRecord::deserialize(&signed.record.0)?;
        let last_resort = KyberPreKeyRecord::deserialize(&last_resort.record.0)?;
        return Ok((public_ec(&signed)?, public_kyber(&last_resort)?));
    }
    let signed = make_signed(txn, env, identity.private_key())?;
    let last_resort = make_kyber(txn, env, identity.private_key(), false)?;
    state = KeyState { signed_prekey: signed.id, last_resort: last_resort.id, rotated_at_ms: env.now_ms(), ..state };
    txn.set_key_state(&state)?;
    Ok((signed, last_resort))
}

fn make_signed(txn: &Txn<'_>, env: &Env, identity: &PrivateKey) -> Result<SignedPrekey, SdkError> {
    let mut rng = env.rng();
    let id = txn.next_prekey(Counter::SignedPrekey)?;
    let pair = KeyPair::generate(&mut rng);
    let signature = signed_by(identity, &pair.public_key.serialize(), env)?;
    let record = SignedPreKeyRecord::new(id.into(), timestamp(env), &pair, &signature);
    keep(txn, Table::SignedPrekey, id, signal::serialize(&record)?, false)?;
    public_ec(&record)
}

fn make_kyber(txn: &Txn<'_>, env: &Env, identity: &PrivateKey, one_time: bool) -> Result<SignedPrekey, SdkError> {
    let mut rng = env.rng();
    let id = txn.next_prekey(Counter::KyberPrekey)?;
    let pair = kem::KeyPair::generate(kem::KeyType::Kyber1024, &mut rng);
    let signature = signed_by(identity, &pair.public_key.serialize(), env)?;
    let record = KyberPreKeyRecord::new(id.into(), timestamp(env), &pair, &signature);
    keep(txn, Table::KyberPrekey, id, signal::serialize(&record)?, one_time)?;
    public_kyber(&record)
}

fn make_ec(txn: &Txn<'_>, env: &Env) -> Result<EcPrekey, SdkError> {
    let id = txn.next_prekey(Counter::EcPrekey)?;
    let pair = KeyPair::generate(&mut env.rng());
    keep(txn, Table::EcPrekey, id, PreKeyRecord::new(id.into(), &pair).serialize()?, true)?;
    Ok(EcPrekey { id, public_key: pair.public_key.serialize().into_vec().into() })
}

fn keep(txn: &Txn<'_>, table: Table, id: u32, record: Vec<u8>, one_time: bool) -> Result<(), SdkError> {
    let row = PrekeyRow { record: record.into(), one_time, retired_at_ms: None };
    Ok(txn.set_prekey(table, id, &row)?)
}

fn timestamp(env: &Env) -> Timestamp {
    Timestamp::from_epoch_millis(env.now_ms())
}

fn signed_by(identity: &PrivateKey, public: &[u8], env: &Env) -> Result<Vec<u8>, SdkError> {
    let signature = identity.calculate_signature(public, &mut env.rng());
    Ok(signature.map_err(|_| SdkError::Internal("a prekey could not be signed"))?.into_vec())
}

/// The public half of a one-time prekey, serialized.
fn public_half(table: Table, row: &PrekeyRow) -> Result<Vec<u8>, SdkError> {
    Ok(match table {
        Table::EcPrekey => PreKeyRecord::deserialize(&row.record.0)?.public_key()?.serialize().into_vec(),
        _ => KyberPreKeyRecord::deserialize(&row.record.0)?.public_key()?.serialize().into_vec(),
    })
}

fn public_ec(record: &SignedPreKeyRecord) -> Result<SignedPrekey, SdkError> {
    let public_key = record.public_key()?.serialize().into_vec().into();
    Ok(SignedPrekey { id: record.id()?.into(), public_key, signature: record.signature()?.into() })
}

fn public_kyber(record: &KyberPreKeyRecord) -> Result<SignedPrekey, SdkError> {
    let public_key = record.public_key()?.serialize().into_vec().into();
    Ok(SignedPrekey { id: record.id()?.into(), public_key, signature: record.signature()?.into() })
}

impl Core {
    fn identity(&self, txn: &Txn<'_>) -> Result<IdentityKeyPair, SdkError> {
        Ok(txn.installation()?.ok_or(SdkError::NotSignedIn)?.key_pair()?)
    }

    /// The identity key that others see.
    pub(crate) fn identity_key(&self) -> Result<libsignal_protocol::IdentityKey, SdkError> {
        Ok(*self.identity(&self.store.begin())?.identity_key())
    }

    /// What the server's copy of the repeated-use keys is compared with.
    pub fn key_check(&mut self) -> Result<CheckKeys, SdkError> {
        let txn = self.store.begin();
        let identity = self.identity(&txn)?;
        let (signed, last_resort) = repeated_use(&txn, &self.env, &identity)?;
        txn.commit(Durability::Later)?;
        let digest = repeated_use_digest(
            &identity.identity_key().serialize(),
            (signed.id, &signed.public_key.0),
            (last_resort.id, &last_resort.public_key.0),
        );
        Ok(CheckKeys { digest: digest.to_vec().into() })
    }

    /// Both repeated-use keys, to repair the server's copy: new ones, if it had newer ones than this store knows of.
    pub fn key_repair(&mut self, next: NextIds) -> Result<UploadKeys, SdkError> {
        let txn = self.store.begin();
        let state = txn.key_state()?;
        if state.signed_prekey < next.signed_prekey || state.last_resort < next.last_resort {
            return self.replace_repeated_use(txn);
        }
        let (signed, last_resort) = repeated_use(&txn, &self.env, &self.identity(&txn)?)?;
        txn.commit(Durability::Now)?;
        Ok(UploadKeys { signed_prekey: Some(signed), last_resort: Some(last_resort), ..UploadKeys::default() })
    }

    /// New repeated-use keys, when the old ones are a week old. Cleans up what nobody can use any more.
    ///
    /// Old keys count as retired from now on, so a crash before the upload costs nothing: the next check repairs it.
    pub fn rotate_keys(&mut self) -> Result<Option<UploadKeys>, SdkError> {
        let txn = self.store.begin();
        let state = txn.key_state()?;
        let now_ms = self.env.now_ms();
        let older = |than: Duration, at_ms: u64| now_ms.saturating_sub(at_ms) >= than.as_millis() as u64;
        if !older(ROTATE_EVERY, state.rotated_at_ms) {
            return Ok(None);
        }
        for table in [Table::EcPrekey, Table::SignedPrekey, Table::KyberPrekey] {
            txn.clean_prekeys(table, |retired_at_ms| older(KEEP_RETIRED, retired_at_ms), ONE_TIME_KEPT)?;
        }
        self.replace_repeated_use(txn).map(Some)
    }

    fn replace_repeated_use(&self, txn: Txn<'_>) -> Result<UploadKeys, SdkError> {
        let (state, identity, now_ms) = (txn.key_state()?, self.identity(&txn)?, self.env.now_ms());
        txn.retire_prekey(Table::SignedPrekey, state.signed_prekey, now_ms)?;
        txn.retire_prekey(Table::KyberPrekey, state.last_resort, now_ms)?;
        let signed = make_signed(&txn, &self.env, identity.private_key())?;
        let last_resort = make_kyber(&txn, &self.env, identity.private_key(), false)?;
        let (signed_prekey, last_resort_id) = (signed.id, last_resort.id);
        txn.set_key_state(&KeyState { signed_prekey, last_resort: last_resort_id, rotated_at_ms: now_ms, ..state })?;
        txn.commit(Durability::Now)?;
        Ok(UploadKeys { signed_prekey: Some(signed), last_resort: Some(last_resort), ..UploadKeys::default() })
    }

    /// Goes on from the ids that the server says come next. Whether its stock of one-time keys is the one that is known
    /// here: the newest ones, with nothing missing that it had taken.
    pub fn knows_stock(&mut self, stock: &KeyStock) -> Result<bool, SdkError> {
        let txn = self.store.begin();
        let (state, next) = (txn.key_state()?, stock.next);
        let ahead = [
            (Counter::EcPrekey, next.ec),
            (Counter::SignedPrekey, next.signed_prekey),
            (Counter::KyberPrekey, next.kyber.max(next.last_resort)),
        ];
        for (counter, number) in ahead {
            let number = u64::from(number);
            if number > txn.upcoming(counter)?.saturating_add(IDS_AHEAD_MAX) {
                let reason = "the server names ids of prekeys that this device can't have reached";
                return Err(SdkError::BadKeys { account: self.me.account, reason });
            }
            txn.skip_to(counter, number)?;
        }
        let sum = |table, below, count: u32| {
            let newest = txn.newest_one_time(table, below, count as usize)?;
            let tags = newest.iter().map(|(id, row)| Ok(one_time_tag(*id, &public_half(table, row)?)));
            let tags = tags.collect::<Result<Vec<_>, SdkError>>()?;
            Ok::<_, SdkError>((tags.len() == count as usize).then(|| sum_of_tags(tags)))
        };
        let known = sum(Table::EcPrekey, next.ec, stock.ec)? == Some(stock.ec_sum)
            && sum(Table::KyberPrekey, next.kyber, stock.kyber)? == Some(stock.kyber_sum)
            && state.uploaded_ec < next.ec
            && state.uploaded_kyber < next.kyber;
        txn.commit(Durability::Later)?;
        Ok(known)
    }

    /// One-time prekeys for all that the server has, none of which are known here.
    pub fn other_one_time_keys(&mut self) -> Result<UploadKeys, SdkError> {
        let keys = self.one_time_keys(KeyCount { ec: 0, kyber: 0 })?.unwrap_or_default();
        Ok(UploadKeys { replace: true, ..keys })
    }

    /// The server has taken one-time keys.
    pub fn uploaded(&mut self, keys: &UploadKeys) -> Result<(), SdkError> {
        let txn = self.store.begin();
        let before = txn.key_state()?;
        let uploaded_ec = keys.ec.iter().map(|key| key.id).fold(before.uploaded_ec, u32::max);
        let uploaded_kyber = keys.kyber.iter().map(|key| key.id).fold(before.uploaded_kyber, u32::max);
        txn.set_key_state(&KeyState { uploaded_ec, uploaded_kyber, ..before })?;
        Ok(txn.commit(Durability::Later)?)
    }

    /// One-time prekeys that fill the server's stock up. `None` if it is full.
    pub fn one_time_keys(&mut self, stock: KeyCount) -> Result<Option<UploadKeys>, SdkError> {
        let missing = |count: u32| ONE_TIME_PREKEYS_MAX.saturating_sub(count as usize);
        if missing(stock.ec) == 0 && missing(stock.kyber) == 0 {
            return Ok(None);
        }
        let txn = self.store.begin();
        let identity = self.identity(&txn)?;
        let ec = (0..missing(stock.ec)).map(|_| make_ec(&txn, &self.env)).collect::<Result<_, _>>()?;
        let kyber = (0..missing(stock.kyber))
            .map(|_| make_kyber(&txn, &self.env, identity.private_key(), true))
            .collect::<Result<_, _>>()?;
        txn.commit(Durability::Now)?;
        Ok(Some(UploadKeys { ec, kyber, ..UploadKeys::default() }))
    }
}
