//! libsignal's stores over a transaction: what decryption changes is collected and committed with the message.
//!
//! An identity is trusted when a checked directory names it for that device, and in no other way: libsignal's own
//! trust on first use is switched off.

use async_trait::async_trait;
use libsignal_protocol::{
    Direction, GenericSignedPreKey, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore, KyberPreKeyId,
    KyberPreKeyRecord, KyberPreKeyStore, PreKeyId, PreKeyRecord, PreKeyStore, ProtocolAddress, PublicKey,
    SessionRecord, SessionStore, SignalProtocolError as Error, SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore,
};
use nepto_proto::{AccountId, DeviceId};

use super::{Range, StoreError, Table, Txn};

type Result<T> = std::result::Result<T, Error>;

/// A view of a transaction as libsignal's stores. It takes several at once, so it is copied.
#[derive(Clone, Copy)]
pub(crate) struct SignalStores<'a>(pub &'a Txn<'a>);

fn failed(method: &'static str) -> impl FnOnce(StoreError) -> Error {
    Error::for_application_callback(method)
}

/// Who an address means. Names are account ids from the start, as newer versions of libsignal will bind them.
fn who(address: &ProtocolAddress) -> Option<(AccountId, DeviceId)> {
    Some((address.name().parse().ok()?, u32::from(address.device_id()).try_into().ok()?))
}

impl Txn<'_> {
    pub fn session(&self, address: &ProtocolAddress) -> std::result::Result<Option<SessionRecord>, StoreError> {
        let record = self.get(Table::Session, &self.session_key(address)?)?;
        let record = record.map(|bytes| SessionRecord::deserialize(&bytes)).transpose();
        record.map_err(|error| StoreError::Record(error.to_string()))
    }

    pub fn set_session(
        &self,
        address: &ProtocolAddress,
        record: &SessionRecord,
    ) -> std::result::Result<(), StoreError> {
        let bytes = record.serialize().map_err(|error| StoreError::Record(error.to_string()))?;
        self.put(Table::Session, &self.session_key(address)?, bytes);
        Ok(())
    }

    pub fn delete_session(&self, address: &ProtocolAddress) -> std::result::Result<(), StoreError> {
        self.delete(Table::Session, &self.session_key(address)?);
        Ok(())
    }

    /// Forgets every session: those of another device number are no sessions of this one.
    pub fn delete_all_sessions(&self) -> std::result::Result<(), StoreError> {
        for (key, _) in self.scan(Table::Session, Range::all(&[], usize::MAX))? {
            self.delete(Table::Session, &key);
        }
        Ok(())
    }

    fn session_key(&self, address: &ProtocolAddress) -> std::result::Result<[u8; 16], StoreError> {
        self.blind(Table::Session, &[address.name().as_bytes(), &[u8::from(address.device_id())]])
    }
}

#[async_trait(?Send)]
impl SessionStore for SignalStores<'_> {
    async fn load_session(&self, address: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        self.0.session(address).map_err(failed("load_session"))
    }

    async fn store_session(&mut self, address: &ProtocolAddress, record: &SessionRecord) -> Result<()> {
        self.0.set_session(address, record).map_err(failed("store_session"))
    }
}

#[async_trait(?Send)]
impl IdentityKeyStore for SignalStores<'_> {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        let installation = self.0.installation().map_err(failed("get_identity_key_pair"))?;
        let missing = || Error::InvalidState("get_identity_key_pair", "no installation".into());
        installation.ok_or_else(missing)?.key_pair().map_err(failed("get_identity_key_pair"))
    }

    async fn get_local_registration_id(&self) -> Result<u32> {
        let installation = self.0.installation().map_err(failed("get_local_registration_id"))?;
        let missing = || Error::InvalidState("get_local_registration_id", "no installation".into());
        Ok(installation.ok_or_else(missing)?.registration_id)
    }

    async fn save_identity(&mut self, _: &ProtocolAddress, _: &IdentityKey) -> Result<IdentityChange> {
        // only a checked directory pins identities
        Ok(IdentityChange::NewOrUnchanged)
    }

    async fn is_trusted_identity(
        &self,
        address: &ProtocolAddress,
        identity: &IdentityKey,
        _: Direction,
    ) -> Result<bool> {
        Ok(self.get_identity(address).await?.as_ref() == Some(identity))
    }

    async fn get_identity(&self, address: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        let Some((account, device)) = who(address) else { return Ok(None) };
        let peer = self.0.peer(account).map_err(failed("get_identity"))?;
        let known = peer.as_ref().and_then(|peer| peer.identity(device));
        known.map(|known| IdentityKey::decode(&known.identity_key.0)).transpose()
    }
}

#[async_trait(?Send)]
impl PreKeyStore for SignalStores<'_> {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        let row = self.0.prekey(Table::EcPrekey, id.into()).map_err(failed("get_pre_key"))?;
        PreKeyRecord::deserialize(&row.ok_or(Error::InvalidPreKeyId)?.record.0)
    }

    async fn save_pre_key(&mut self, _: PreKeyId, _: &PreKeyRecord) -> Result<()> {
        Err(Error::InvalidState("save_pre_key", "prekeys are made by crate::keys".into()))
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> Result<()> {
        self.0.delete_prekey(Table::EcPrekey, id.into());
        Ok(())
    }
}

#[async_trait(?Send)]
impl SignedPreKeyStore for SignalStores<'_> {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        let row = self.0.prekey(Table::SignedPrekey, id.into()).map_err(failed("get_signed_pre_key"))?;
        SignedPreKeyRecord::deserialize(&row.ok_or(Error::InvalidSignedPreKeyId)?.record.0)
    }

    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, _: &SignedPreKeyRecord) -> Result<()> {
        Err(Error::InvalidState("save_signed_pre_key", "prekeys are made by crate::keys".into()))
    }
}

#[async_trait(?Send)]
impl KyberPreKeyStore for SignalStores<'_> {
    async fn get_kyber_pre_key(&self, id: KyberPreKeyId) -> Result<KyberPreKeyRecord> {
        let row = self.0.prekey(Table::KyberPrekey, id.into()).map_err(failed("get_kyber_pre_key"))?;
        KyberPreKeyRecord::deserialize(&row.ok_or(Error::InvalidKyberPreKeyId)?.record.0)
    }

    async fn save_kyber_pre_key(&mut self, _: KyberPreKeyId, _: &KyberPreKeyRecord) -> Result<()> {
        Err(Error::InvalidState("save_kyber_pre_key", "prekeys are made by crate::keys".into()))
    }

    async fn mark_kyber_pre_key_used(
        &mut self,
        id: KyberPreKeyId,
        ec: SignedPreKeyId,
        base_key: &PublicKey,
    ) -> Result<()> {
        let method = "mark_kyber_pre_key_used";
        let row = self.0.prekey(Table::KyberPrekey, id.into()).map_err(failed(method))?;
        if row.is_some_and(|row| row.one_time) {
            self.0.delete_prekey(Table::KyberPrekey, id.into());
            return Ok(());
        }
        if self.0.first_use(id.into(), ec.into(), &base_key.serialize()).map_err(failed(method))? {
            return Ok(());
        }
        let kind = libsignal_protocol::CiphertextMessageType::PreKey;
        Err(Error::InvalidMessage(kind, "reused base key"))
    }
}
