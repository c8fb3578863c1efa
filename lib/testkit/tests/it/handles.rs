//! Handles: one means one account, for those who read it and for some time after it was given up.

use nepto_proto::ErrorCode;
use nepto_proto::api::accounts::UpdateProfile;
use nepto_testkit::Stack;

use crate::people::Person;

/// Takes a handle, or gives up the one that there is.
async fn take(person: &Person, handle: &str) -> Result<(), ErrorCode> {
    let change = UpdateProfile { handle: Some(handle.to_owned()), ..UpdateProfile::default() };
    let changed = person.client.http().update_profile(&change).await;
    changed.map(drop).map_err(|error| error.code().unwrap_or_else(|| panic!("no code: {error}")))
}

#[tokio::test]
async fn nobody_gets_a_name_that_others_know_somebody_else_by() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (bob, mallory) = (Person::join(&stack).await.unwrap(), Person::join(&stack).await.unwrap());
    take(&bob, "Bob").await.unwrap();
    for alike in ["bob", "b0b", "bob__"] {
        assert_eq!(take(&mallory, alike).await, Err(ErrorCode::HandleTaken), "{alike}");
    }
    for reserved in ["admin", "Adm1n", "nepto_support", "everyone"] {
        assert_eq!(take(&mallory, reserved).await, Err(ErrorCode::HandleReserved), "{reserved}");
    }
    assert_eq!(take(&mallory, "x").await, Err(ErrorCode::HandleInvalid));
    take(&bob, "robert").await.unwrap();
    assert_eq!(take(&mallory, "bob").await, Err(ErrorCode::HandleResting));
    let unknown = mallory.client.http().account("bob").await.unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::AccountUnknown), "it means nobody while it rests");
    take(&bob, "bob").await.unwrap();
    assert_eq!(mallory.client.http().account("bob").await.unwrap().account, bob.account());
    // an operator can free it earlier
    take(&bob, "").await.unwrap();
    let release = async |handle: &str| {
        let url = format!("{}/handles/{handle}/release", stack.api.admin_url());
        crate::http::client().post(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!((release("b0b").await, release("bob").await), (200, 404));
    take(&mallory, "bob").await.unwrap();
    assert_eq!(take(&bob, "bob").await, Err(ErrorCode::HandleTaken));
}
