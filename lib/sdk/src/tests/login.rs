//! What signing in leaves behind, when it works and when it does not.

use std::path::Path;
use std::time::Duration;

use nepto_proto::ErrorCode;

use super::DOMAIN;
use super::server::{Answer, Server};
use crate::model::{Body, Message};
use crate::store::StoreError;
use crate::{Client, Env, LoginOptions, ProfileLocation, SdkError, Wallet};

fn location(path: &Path) -> ProfileLocation {
    ProfileLocation::File { path: path.to_owned(), passphrase: "secret".to_owned().into() }
}

async fn login(server: &Server, path: &Path, wallet: &Wallet) -> Result<Client, SdkError> {
    let location = location(path);
    let domain = Some(DOMAIN.to_owned());
    let options = LoginOptions { domain, location, keeps_name: true, ..LoginOptions::new(&server.url) };
    Client::login(options, wallet).await
}

#[tokio::test]
async fn a_profile_that_nobody_signed_in_with_is_not_kept() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let (path, wallet) = (folder.path().join("profile"), Wallet::random(&Env::system()).unwrap());
    let fails = async |answer: Answer| {
        server.faults.sign_ins.lock().unwrap().push(answer);
        login(&server, &path, &wallet).await.err().unwrap();
        std::fs::read_dir(folder.path()).unwrap().count()
    };
    assert_eq!(fails(Answer::Refusal(ErrorCode::DeviceLimit)).await, 0);
    // nobody knows whether there is a device now: its keys stay, for the next try
    assert_eq!(fails(Answer::Page).await, 1);
    assert_eq!(fails(Answer::Refusal(ErrorCode::DeviceLimit)).await, 1, "it was there before");
    let opened = Client::open(location(&path), Env::system()).await;
    assert!(matches!(opened.err(), Some(SdkError::NotSignedIn)));
    login(&server, &path, &wallet).await.unwrap();
    // and nothing is made by looking
    let nowhere = folder.path().join("nowhere");
    assert!(matches!(Client::open(location(&nowhere), Env::system()).await.err(), Some(SdkError::NotSignedIn)));
    assert!(!nowhere.exists());
}

#[tokio::test]
async fn a_profile_whose_device_was_removed_signs_in_with_new_keys() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let (path, wallet) = (folder.path().join("profile"), Wallet::random(&Env::system()).unwrap());
    let keys = |client: &Client| {
        let world = server.world();
        let devices = &world.accounts[&client.account()].devices;
        devices.values().map(|device| device.public.identity_key.clone()).collect::<Vec<_>>()
    };
    let options = LoginOptions {
        domain: Some(DOMAIN.to_owned()),
        location: location(&path),
        device_name: "desk".to_owned(),
        ..LoginOptions::new(&server.url)
    };
    let first = Client::login(options, &wallet).await.unwrap();
    let (number, known) = (first.device(), keys(&first));
    drop(first);
    let again = login(&server, &path, &wallet).await.unwrap();
    assert_eq!((again.device(), keys(&again)), (number, known.clone()), "the same device");
    server.world().remove_device(again.account(), number);
    drop(again);
    let renewed = login(&server, &path, &wallet).await.unwrap();
    let now = keys(&renewed);
    assert_ne!(renewed.device(), number);
    assert!(now.len() == 1 && now != known, "whoever heard of the removal would ask about the old key");
    assert!(server.device_names.lock().unwrap().iter().all(|name| name == "desk"), "it keeps its name");
}

#[tokio::test]
async fn a_file_is_opened_again_in_the_middle_of_a_conversation() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("profile");
    let mut ours = login(&server, &path, &Wallet::random(&Env::system()).unwrap()).await.unwrap();
    let options = LoginOptions { domain: Some(DOMAIN.to_owned()), ..LoginOptions::new(&server.url) };
    let theirs = Client::login(options, &Wallet::random(&Env::system()).unwrap()).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..4 {
        for (from, to, text) in [(&theirs, &ours, format!("a{round}")), (&ours, &theirs, format!("b{round}"))] {
            from.accept(to.account()).await.unwrap();
            let mut events = [from.connect().await.unwrap(), to.connect().await.unwrap()];
            let sent = from.send_text(to.account(), &text, None, None).unwrap();
            let arrived = async {
                while to.message(sent.id).unwrap().is_none() {
                    let [from, to] = &mut events;
                    tokio::select! {
                        event = from.next() => event.expect("the events ended"),
                        event = to.next() => event.expect("the events ended"),
                    };
                }
            };
            tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("it never came");
            from.close().await;
            to.close().await;
            expected.push(text);
        }
        drop(ours);
        ours = reopened(&path).await;
    }
    let texts = |of: &Client, peer: &Client| {
        let history = of.history(peer.account(), None, 100).unwrap();
        let text = |message: Message| if let Body::Text(text) = message.body { Some(text) } else { None };
        history.into_iter().rev().filter_map(text).collect::<Vec<_>>()
    };
    assert_eq!((texts(&ours, &theirs), texts(&theirs, &ours)), (expected.clone(), expected));
}

/// The client of a profile, once those before it have let go of its file.
async fn reopened(path: &Path) -> Client {
    let opened = async {
        loop {
            match Client::open(location(path), Env::system()).await {
                Err(SdkError::Store(StoreError::InUse)) => tokio::time::sleep(Duration::from_millis(10)).await,
                opened => return opened.unwrap(),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened).await.expect("its file is still in use")
}
