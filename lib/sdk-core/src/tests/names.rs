//! Wallets that contacts were named by.

use super::world::{Device, World};
use crate::contract_signatures::Answers;
use crate::{Event, SdkError};

#[test]
fn a_wallet_that_a_contact_was_named_by_and_that_left_is_told() {
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let mut a: Device = world.device(&alice);
    let _b = world.device(&bob);
    let second = world.wallet();
    world.link(&bob, &second);
    let answers = Answers::default();
    a.core.apply_directory(&world.directory(bob.account), Some(second.address()), &answers).unwrap();
    world.accounts.get_mut(&bob.account).unwrap().wallets.links.clear();
    let events = a.core.apply_directory(&world.directory(bob.account), None, &answers).unwrap();
    let wallet = second.address().to_string();
    assert_eq!(events, [Event::WalletUnlinked { account: bob.account, wallet: wallet.clone() }]);
    assert_eq!(a.core.apply_directory(&world.directory(bob.account), None, &answers).unwrap(), [], "once");
    assert_eq!(a.core.store.begin().peer(bob.account).unwrap().unwrap().named, None);
    // who types it now means whoever has it now
    let wrong = a.core.apply_directory(&world.directory(bob.account), Some(second.address()), &answers);
    assert!(matches!(wrong, Err(SdkError::WrongWallet { wallet: named, .. }) if named == wallet));
}
