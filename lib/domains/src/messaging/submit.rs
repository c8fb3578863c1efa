//! From a client's `SendDm` to messages in mailboxes: reading it, and wrapping its ciphertexts.

use bytes::Bytes;
use nepto_kit::Failure;
use nepto_proto::limits::CIPHERTEXT_BYTES_MAX;
use nepto_proto::wire::{CiphertextType, DeviceCiphertext, Envelope, SendDm};
use nepto_proto::{AccountId, ClientMsgId, DeviceId, ErrorCode};
use prost::Message;

use super::checks::Cleared;
use super::mailbox::{DeviceCopy, Submission};

/// A `SendDm` that is well-formed.
#[derive(Debug)]
pub struct ReadSend {
    /// Chosen by the sender.
    pub id: ClientMsgId,
    /// The recipient.
    pub to: AccountId,
    /// As sent.
    pub send: SendDm,
}

/// Reads a `SendDm` of this account.
pub fn read(from: AccountId, send: SendDm) -> Result<ReadSend, Failure> {
    let id = ClientMsgId::from_bytes(&send.client_msg_id)?;
    let to = AccountId::from_bytes(&send.to)?;
    if to == from && !send.own_devices.is_empty() {
        return Err(Failure::new(ErrorCode::ToSelf, "put all of them into to_devices"));
    }
    if send.recipient_only && !send.own_devices.is_empty() {
        return Err(Failure::new(ErrorCode::Malformed, "recipient_only means that own_devices is empty"));
    }
    check_copies(&send.to_devices)?;
    check_copies(&send.own_devices)?;
    Ok(ReadSend { id, to, send })
}

fn check_copies(copies: &[DeviceCiphertext]) -> Result<(), Failure> {
    let mut seen = [false; DeviceId::MAX as usize + 1];
    for copy in copies {
        let device = DeviceId::try_from(copy.device)?;
        if std::mem::replace(&mut seen[usize::from(device.get())], true) {
            return Err(Failure::new(ErrorCode::Malformed, format!("device {device} is named twice")));
        }
        if copy.r#type() == CiphertextType::Unspecified {
            return Err(Failure::new(ErrorCode::Malformed, "a ciphertext's type is missing"));
        }
        match copy.ciphertext.len() {
            0 => return Err(Failure::new(ErrorCode::Malformed, "a ciphertext is empty")),
            1..=CIPHERTEXT_BYTES_MAX => {}
            _ => {
                let detail = format!("a ciphertext has at most {CIPHERTEXT_BYTES_MAX} bytes");
                return Err(Failure::new(ErrorCode::TooLarge, detail));
            }
        }
    }
    Ok(())
}

impl ReadSend {
    /// What goes into the recipient's mailboxes and, if there is any, what goes into the sender's own.
    pub fn into_submissions(
        self,
        from: AccountId,
        device: DeviceId,
        cleared: Cleared,
    ) -> (Submission, Option<Submission>) {
        let wrap = |to: AccountId, copies: Vec<DeviceCiphertext>, request: bool| Submission {
            from: (from, device),
            id: self.id,
            recipient: self.to,
            to,
            request,
            copies: copies
                .into_iter()
                .filter_map(|copy| {
                    let envelope = Envelope {
                        from: from.to_vec(),
                        from_device: device.into(),
                        client_msg_id: self.id.to_vec(),
                        r#type: copy.r#type,
                        ciphertext: copy.ciphertext,
                        request,
                    };
                    Some(DeviceCopy {
                        device: DeviceId::try_from(copy.device).ok()?,
                        registration_id: copy.registration_id,
                        envelope: Bytes::from(envelope.encode_to_vec()),
                    })
                })
                .collect(),
        };
        let recipient = wrap(self.to, self.send.to_devices, cleared.request);
        let own = (!self.send.own_devices.is_empty()).then(|| wrap(from, self.send.own_devices, false));
        (recipient, own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn copy(device: u32) -> DeviceCiphertext {
        DeviceCiphertext {
            device,
            registration_id: 5,
            r#type: CiphertextType::Session.into(),
            ciphertext: Bytes::from_static(b"x"),
        }
    }

    fn send(to: u128, to_devices: Vec<DeviceCiphertext>, own_devices: Vec<DeviceCiphertext>) -> SendDm {
        SendDm {
            client_msg_id: vec![9; 16],
            to: AccountId::new(Uuid::from_u128(to)).to_vec(),
            to_devices,
            own_devices,
            recipient_only: false,
            automatic: false,
        }
    }

    const ME: AccountId = AccountId::new(Uuid::from_u128(1));

    #[test]
    fn what_is_not_well_formed_is_refused_with_its_code() {
        let code = |send| read(ME, send).unwrap_err().code;
        assert_eq!(code(send(2, vec![copy(0)], vec![])), ErrorCode::Malformed);
        assert_eq!(code(send(2, vec![copy(128)], vec![])), ErrorCode::Malformed);
        assert_eq!(code(send(2, vec![copy(1), copy(1)], vec![])), ErrorCode::Malformed);
        assert_eq!(code(send(1, vec![], vec![copy(2)])), ErrorCode::ToSelf);
        let large = DeviceCiphertext { ciphertext: vec![0; CIPHERTEXT_BYTES_MAX + 1].into(), ..copy(1) };
        assert_eq!(code(send(2, vec![large], vec![])), ErrorCode::TooLarge);
        let empty = DeviceCiphertext { ciphertext: Bytes::new(), ..copy(1) };
        assert_eq!(code(send(2, vec![empty], vec![])), ErrorCode::Malformed);
        let both = SendDm { recipient_only: true, ..send(2, vec![copy(1)], vec![copy(2)]) };
        assert_eq!(code(both), ErrorCode::Malformed);
        let untyped = DeviceCiphertext { r#type: 77, ..copy(1) };
        assert_eq!(code(send(2, vec![untyped], vec![])), ErrorCode::Malformed);
        assert_eq!(code(SendDm { client_msg_id: vec![1; 3], ..send(2, vec![], vec![]) }), ErrorCode::Malformed);
    }

    #[test]
    fn only_the_recipients_copies_are_a_request() {
        let read = read(ME, send(2, vec![copy(1), copy(2)], vec![copy(3)])).unwrap();
        let (recipient, own) = read.into_submissions(
            ME,
            7.try_into().unwrap(),
            Cleared { request: true, counted: false, unsettled: true },
        );
        let flags = |submission: &Submission| -> Vec<bool> {
            let envelopes = submission.copies.iter().map(|copy| Envelope::decode(copy.envelope.clone()).unwrap());
            envelopes.map(|envelope| envelope.request).collect()
        };
        assert_eq!((flags(&recipient), recipient.request), (vec![true, true], true));
        let own = own.unwrap();
        assert_eq!((flags(&own), own.request), (vec![false], false));
    }
}
