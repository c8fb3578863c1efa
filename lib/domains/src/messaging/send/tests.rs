//! The pure steps of a message's way. The others are tested with the whole, and in `two_people`.

use uuid::Uuid;

use super::*;

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
    let cleared = Cleared { request: true, counted: false, unsettled: true };
    let (recipient, own) = read.into_submissions((ME, 7.try_into().unwrap()), cleared, 0);
    let flags = |submission: &Submission| -> Vec<bool> {
        let envelopes = submission.copies.iter().map(|copy| Envelope::decode(copy.envelope.clone()).unwrap());
        envelopes.map(|envelope| envelope.request).collect()
    };
    assert_eq!((flags(&recipient), recipient.request), (vec![true, true], true));
    let own = own.unwrap();
    assert_eq!((flags(&own), own.request), (vec![false], false));
}
