//! Uploads of keys: what they are refused for, and how many a device may make.

use nepto_proto::ErrorCode;
use nepto_proto::api::keys::{EcPrekey, SignedPrekey, UploadKeys};
use nepto_sdk::Client;
use nepto_testkit::{Stack, seconds};

use crate::people::{Person, early_in_window};

async fn refusal(client: &Client, keys: &UploadKeys) -> ErrorCode {
    let refused = client.http().upload_keys(keys).await.unwrap_err();
    refused.code().unwrap_or_else(|| panic!("no code: {refused}"))
}

/// An EC prekey that is one. The base point has the coordinate 9.
fn ec(id: u32) -> EcPrekey {
    let public_key = [&[5, 9][..], &[0; 31]].concat();
    EcPrekey { id, public_key: public_key.into() }
}

#[tokio::test]
async fn uploads_are_refused_for_their_numbers_before_their_signatures_and_are_counted() {
    let stack = Stack::builder().unlimited().set("limits.key_uploads_per_device_per_minute", 5).all().await.unwrap();
    early_in_window(seconds(60)).await;
    // it uploads once by itself
    let kim = Person::join(&stack).await.unwrap();
    let http = kim.client.http();
    let stock = http.key_count().await.unwrap();
    let forged = |id: u32| {
        let public_key = [&[8][..], &[9; 1_568]].concat().into();
        SignedPrekey { id, public_key, signature: vec![0; 64].into() }
    };
    let kyber = |id: u32| UploadKeys { kyber: vec![forged(id)], replace: true, ..UploadKeys::default() };
    assert_eq!(refusal(&kim.client, &kyber(stock.next.kyber - 1)).await, ErrorCode::KeyUsed);
    let more = UploadKeys { replace: false, ..kyber(stock.next.kyber) };
    assert_eq!(refusal(&kim.client, &more).await, ErrorCode::KeyLimit, "it has as many as it may");
    assert_eq!(refusal(&kim.client, &kyber(stock.next.kyber)).await, ErrorCode::KeyInvalid, "nobody signed it");
    let twice = UploadKeys { ec: vec![ec(stock.next.ec); 2], replace: true, ..UploadKeys::default() };
    assert_eq!(refusal(&kim.client, &twice).await, ErrorCode::KeyInvalid);
    assert_eq!(http.key_count().await.unwrap(), stock, "nothing of it was taken in");
    let once = UploadKeys { ec: vec![ec(stock.next.ec)], ..twice };
    assert_eq!(refusal(&kim.client, &once).await, ErrorCode::RateLimited);
    // others may
    let lee = Person::join(&stack).await.unwrap();
    lee.client.http().upload_keys(&UploadKeys { ec: vec![ec(101)], ..once }).await.unwrap();
}
