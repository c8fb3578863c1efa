//! libsignal's operations as plain functions, with every check that the library leaves to us.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use libsignal_protocol::{
    CiphertextMessage, GenericSignedPreKey, IdentityKey, KyberPreKeyId, PreKeyBundle, PreKeyId, PreKeySignalMessage,
    PrivateKey, ProtocolAddress, PublicKey, SessionRecord, SessionUsabilityRequirements, SignalMessage,
    SignalProtocolError, SignedPreKeyId, kem, message_decrypt_prekey, message_decrypt_signal, message_encrypt,
    process_prekey_bundle,
};
use nepto_proto::api::keys;
use nepto_proto::wire::CiphertextType;
use nepto_proto::{AccountId, DeviceId};

use crate::SdkError;
use crate::env::Env;
use crate::guard;
use crate::model::KnownDevice;
use crate::store::Txn;
use crate::store::protocol::SignalStores;

/// The name of a device for libsignal: the account's UUID as text, and the device number.
pub(crate) fn address(account: AccountId, device: DeviceId) -> Result<ProtocolAddress, SdkError> {
    let number = libsignal_protocol::DeviceId::new(device.get()).map_err(|_| SdkError::Internal("a device id of 0"))?;
    Ok(ProtocolAddress::new(account.uuid().hyphenated().to_string(), number))
}

/// Runs a future of libsignal. Our stores never wait, so it is ready at once.
fn at_once<T>(future: impl Future<Output = Result<T, SignalProtocolError>>) -> Result<T, SdkError> {
    Ok(future.now_or_never().ok_or(SdkError::Internal("a store waited"))??)
}

/// What arrived, read and guarded, not decrypted yet.
pub(crate) enum Ciphertext {
    Session(SignalMessage),
    Prekey(PreKeySignalMessage),
}

impl Ciphertext {
    /// Reads a ciphertext. Nothing that this refuses may reach the ratchet.
    pub fn read(kind: i32, bytes: &[u8]) -> Result<Self, SdkError> {
        match CiphertextType::try_from(kind) {
            Ok(CiphertextType::Session) => {
                let message = SignalMessage::try_from(bytes)?;
                guard::check_session(&message)?;
                Ok(Self::Session(message))
            }
            Ok(CiphertextType::Prekey) => {
                let message = PreKeySignalMessage::try_from(bytes)?;
                guard::check_prekey(&message)?;
                refuse_weak(message.base_key())?;
                Ok(Self::Prekey(message))
            }
            _ => Err(SdkError::Signal(SignalProtocolError::InvalidArgument("unknown type of ciphertext".into()))),
        }
    }
}

/// Decrypts. On an error the transaction must be dropped: it may hold half of the work.
pub(crate) fn decrypt(
    txn: &Txn<'_>,
    from: &ProtocolAddress,
    ciphertext: &Ciphertext,
    env: &Env,
) -> Result<Vec<u8>, SdkError> {
    let mut rng = env.rng();
    let work = || match ciphertext {
        Ciphertext::Session(message) => {
            let (mut sessions, mut identities) = (SignalStores(txn), SignalStores(txn));
            at_once(message_decrypt_signal(message, from, &mut sessions, &mut identities, &mut rng))
        }
        Ciphertext::Prekey(message) => {
            let stores = SignalStores(txn);
            let (mut sessions, mut identities, mut ec, mut kyber) = (stores, stores, stores, stores);
            at_once(message_decrypt_prekey(
                message,
                from,
                &mut sessions,
                &mut identities,
                &mut ec,
                &stores,
                &mut kyber,
                &mut rng,
            ))
        }
    };
    // a second net below the guard
    let plain = catch_unwind(AssertUnwindSafe(work)).map_err(|_| SdkError::Crashed)??;
    match txn.session(from)? {
        Some(session) if has_pq_ratchet(&session) => Ok(plain),
        _ => Err(SdkError::NoPostQuantum),
    }
}

/// Encrypts for a device with a usable session.
pub(crate) fn encrypt(
    txn: &Txn<'_>,
    to: &ProtocolAddress,
    plain: &[u8],
    env: &Env,
) -> Result<(CiphertextType, Vec<u8>), SdkError> {
    let (mut sessions, mut identities) = (SignalStores(txn), SignalStores(txn));
    let now = env.system_time();
    let message = at_once(message_encrypt(plain, to, &mut sessions, &mut identities, now, &mut env.rng()))?;
    match message {
        CiphertextMessage::SignalMessage(message) => Ok((CiphertextType::Session, message.serialized().to_vec())),
        CiphertextMessage::PreKeySignalMessage(message) => Ok((CiphertextType::Prekey, message.serialized().to_vec())),
        _ => Err(SdkError::Internal("an unexpected kind of ciphertext")),
    }
}

/// Whether messages can be sent to this installation with what is stored: fresh enough, post-quantum, the same keys.
pub(crate) fn has_session(
    txn: &Txn<'_>,
    address: &ProtocolAddress,
    device: &KnownDevice,
    env: &Env,
) -> Result<bool, SdkError> {
    let Some(session) = txn.session(address)? else { return Ok(false) };
    let all = SessionUsabilityRequirements::all();
    Ok(session.has_usable_sender_chain(env.system_time(), all)?
        && has_pq_ratchet(&session)
        && session.remote_registration_id()? == device.registration_id
        && session.remote_identity_key_bytes()?.as_deref() == Some(device.identity_key.0.as_slice()))
}

fn has_pq_ratchet(session: &SessionRecord) -> bool {
    session.current_pq_state().is_some_and(|state| !state.is_empty())
}

/// Starts a session from a bundle whose device was checked before.
pub(crate) fn start_session(
    txn: &Txn<'_>,
    address: &ProtocolAddress,
    bundle: &keys::PrekeyBundle,
    env: &Env,
) -> Result<(), SdkError> {
    let bundle = read_bundle(bundle, address)?;
    let (mut sessions, mut identities) = (SignalStores(txn), SignalStores(txn));
    let now = env.system_time();
    at_once(process_prekey_bundle(address, &mut sessions, &mut identities, &bundle, now, &mut env.rng()))?;
    match txn.session(address)? {
        Some(session) if has_pq_ratchet(&session) => Ok(()),
        _ => Err(SdkError::NoPostQuantum),
    }
}

/// The bundle as libsignal takes it. Only Kyber-1024 will do for the post-quantum prekey.
fn read_bundle(bundle: &keys::PrekeyBundle, address: &ProtocolAddress) -> Result<PreKeyBundle, SdkError> {
    let kyber_prekey = bundle.kyber_prekey.as_ref().ok_or(SdkError::NoPostQuantum)?;
    let kyber = kem::PublicKey::deserialize(&kyber_prekey.public_key.0)?;
    if kyber.key_type() != kem::KeyType::Kyber1024 {
        return Err(SdkError::NoPostQuantum);
    }
    let ec = match &bundle.ec_prekey {
        Some(prekey) => Some((PreKeyId::from(prekey.id), PublicKey::deserialize(&prekey.public_key.0).map_err(curve)?)),
        None => None,
    };
    let signed = PublicKey::deserialize(&bundle.signed_prekey.public_key.0).map_err(curve)?;
    for key in ec.iter().map(|(_, key)| key).chain([&signed]) {
        refuse_weak(key)?;
    }
    Ok(PreKeyBundle::new(
        bundle.device.registration_id.get(),
        address.device_id(),
        ec,
        SignedPreKeyId::from(bundle.signed_prekey.id),
        signed,
        bundle.signed_prekey.signature.0.clone(),
        KyberPreKeyId::from(kyber_prekey.id),
        kyber,
        kyber_prekey.signature.0.clone(),
        IdentityKey::decode(&bundle.device.identity_key.0)?,
    )?)
}

/// A key of small order agrees with every other on zero. libsignal does not look, and a one-time prekey is not signed.
fn refuse_weak(key: &PublicKey) -> Result<(), SdkError> {
    // any private key shows it: all of them are multiples of the curve's cofactor
    let any = PrivateKey::deserialize(&[0x55; 32]).map_err(curve)?;
    let agreed = any.calculate_agreement(key).map_err(curve)?;
    if agreed.iter().all(|byte| *byte == 0) { Err(SdkError::WeakKey) } else { Ok(()) }
}

fn curve(error: impl Into<SignalProtocolError>) -> SdkError {
    SdkError::Signal(error.into())
}

/// Sets a session aside, so that the next message needs a new one. Late messages of the old one can still be read.
pub(crate) fn archive_session(txn: &Txn<'_>, address: &ProtocolAddress) -> Result<(), SdkError> {
    let Some(mut session) = txn.session(address)? else { return Ok(()) };
    session.archive_current_state()?;
    Ok(txn.set_session(address, &session)?)
}

/// A signed record as stored bytes.
pub(crate) fn serialize<R: GenericSignedPreKey>(record: &R) -> Result<Vec<u8>, SdkError> {
    Ok(record.serialize()?)
}
