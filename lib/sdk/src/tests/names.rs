//! Handles and wallets that move to other accounts.

use std::sync::Arc;

use nepto_proto::AccountId;
use nepto_proto::api::auth::Wallets;

use super::DOMAIN;
use super::server::Server;
use crate::model::{Body, Notice};
use crate::{Client, Env, LoginOptions, SdkError, Verification, Wallet};

async fn client(server: &Server) -> Client {
    let options = LoginOptions { domain: Some(DOMAIN.to_owned()), ..LoginOptions::new(&server.url) };
    Client::login(options, &Wallet::random(&Env::system()).unwrap()).await.unwrap()
}

/// Alice has met who had the handle `bob`, which Mallory has now.
async fn moved() -> (Arc<Server>, [Client; 3]) {
    let server = Server::start().await;
    let [alice, bob, mallory] = [client(&server).await, client(&server).await, client(&server).await];
    let give = |to: &Client| server.handles.lock().unwrap().insert("bob".to_owned(), to.account());
    give(&bob);
    assert_eq!(alice.resolve("@bob").await.unwrap().account, bob.account());
    give(&mallory);
    (server, [alice, bob, mallory])
}

#[tokio::test]
async fn a_handle_means_whom_it_meant_first_until_the_user_decides() {
    let (server, [alice, bob, mallory]) = moved().await;
    let wallet = |of: &Client| server.world().accounts[&of.account()].wallets.root.clone();
    for name in ["bob", "@bob", "@BOB "] {
        let error = alice.resolve(name).await.unwrap_err();
        let SdkError::NameMoved { account, now, .. } = &error else { panic!("{error}") };
        assert_eq!((*account, *now), (bob.account(), mallory.account()));
        let said = error.to_string();
        assert!(said.contains(&wallet(&bob)) && said.contains(&wallet(&mallory)), "it names both: {said}");
        assert_eq!(alice.remembered(name).unwrap(), Some(bob.account()));
        assert_eq!(alice.known(name).unwrap(), None, "whether it moved is asked of the server");
    }
    assert_eq!(alice.accept_name("@bob").await.unwrap().account, mallory.account());
    assert_eq!(alice.resolve("@bob").await.unwrap().account, mallory.account());
    assert_eq!(alice.remembered("@bob").unwrap(), Some(mallory.account()));
    // and back again
    server.handles.lock().unwrap().insert("bob".to_owned(), bob.account());
    assert!(matches!(alice.resolve("@bob").await, Err(SdkError::NameMoved { .. })));
    // who has met nobody takes the server's word
    assert_eq!(mallory.resolve("@bob").await.unwrap().account, bob.account());
}

#[tokio::test]
async fn a_handle_that_nobody_has_any_more_means_whom_it_meant() {
    let (server, [alice, bob, _]) = moved().await;
    server.handles.lock().unwrap().clear();
    let found = alice.resolve("@bob").await.unwrap();
    assert_eq!((found.account, found.handle.as_deref()), (bob.account(), Some("bob")));
}

#[tokio::test]
async fn nobody_is_shown_with_a_handle_that_means_somebody_else() {
    let (_server, [alice, bob, mallory]) = moved().await;
    let shown = async |account: AccountId| {
        let said = alice.http().account(&account.to_string()).await.unwrap();
        alice.as_known(said).unwrap().handle
    };
    assert_eq!(shown(mallory.account()).await, None, "the server says bob");
    assert_eq!(shown(bob.account()).await.as_deref(), Some("bob"), "the server says nothing");
    let by_heart = alice.known_account(bob.account()).unwrap().unwrap();
    assert_eq!(by_heart.handle.as_deref(), Some("bob"));
    assert_eq!(by_heart.wallet, alice.resolve(&bob.account().to_string()).await.unwrap().wallet);
    assert_eq!(bob.known_account(alice.account()).unwrap(), None, "they have not met");
    alice.accept_name("bob").await.unwrap();
    assert_eq!(shown(mallory.account()).await.as_deref(), Some("bob"));
    assert_eq!(shown(bob.account()).await, None);
}

#[tokio::test]
async fn an_address_that_signed_in_again_elsewhere_is_asked_about_too() {
    let server = Server::start().await;
    let [alice, bob, mallory] = [client(&server).await, client(&server).await, client(&server).await];
    let wallet = server.world().accounts[&bob.account()].wallets.root.clone();
    assert_eq!(alice.resolve(&wallet).await.unwrap().account, bob.account());
    assert_eq!(alice.known(&wallet).unwrap(), Some(bob.account()));
    server.give_wallet(&wallet, mallory.account());
    let error = alice.resolve(&wallet).await.unwrap_err();
    assert!(matches!(&error, SdkError::NameMoved { name, .. } if *name == wallet), "{error}");
}

#[tokio::test]
async fn a_contact_is_found_by_the_wallet_that_was_unlinked_since() {
    let server = Server::start().await;
    let alice = client(&server).await;
    let (first, second) = (Wallet::random(&Env::system()).unwrap(), Wallet::random(&Env::system()).unwrap());
    let options = || LoginOptions { domain: Some(DOMAIN.to_owned()), ..LoginOptions::new(&server.url) };
    let bob = Client::login(options(), &first).await.unwrap();
    let typed = first.address().to_string();
    server.link(bob.account(), &first, &second);
    let found = alice.resolve(&typed).await.unwrap();
    assert_eq!(found.wallet, typed);
    alice.send_text(bob.account(), "waits", None, None).unwrap();
    // the phone signs in with the second wallet, and the first one is unlinked
    server.give_wallet(&second.address().to_string(), bob.account());
    let phone = Client::login(options(), &second).await.unwrap();
    assert_eq!(phone.account(), bob.account());
    {
        let mut world = server.world();
        world.remove_device(bob.account(), bob.device());
        let root = second.address().to_string();
        let wallets = Wallets { root: root.clone(), wallets: vec![root], links: vec![] };
        world.accounts.get_mut(&bob.account()).unwrap().wallets = wallets;
    }
    server.forget_wallet(&typed);
    // whatever the contact is called, it is the same one, under its new root
    for name in [typed.clone(), bob.account().to_string(), second.address().to_string()] {
        let found = alice.resolve(&name).await.unwrap();
        assert_eq!((found.account, found.wallet), (bob.account(), second.address().to_string()), "{name}");
    }
    alice.accept(bob.account()).await.unwrap();
    assert_eq!(alice.verification(bob.account()).unwrap(), Verification::Unverified);
    let sent = alice.send_text(bob.account(), "on the new phone", None, None).unwrap();
    let mut events = alice.connect().await.unwrap();
    let all = async { while events.next().await.is_some() {} };
    tokio::select! {
        sent = alice.wait_sent(sent.id.id) => sent.unwrap(),
        () = all => panic!("the events ended"),
    }
    let history = alice.history(bob.account(), None, 10).unwrap();
    assert!(history.iter().any(|m| matches!(m.body, Body::Notice(Notice::RootChanged { .. }))), "it is told");
}
