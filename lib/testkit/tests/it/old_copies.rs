//! Copies of the past: a profile, or the server's keys, that come back from a backup.

use nepto_sdk::model::ConversationState;
use nepto_sdk::store::seal::Cost;
use nepto_sdk::{Client, Env, Event, LoginOptions, ProfileLocation, Wallet, store};
use nepto_testkit::{Stack, eventually, seconds};

use crate::people::Person;

#[tokio::test]
async fn who_writes_first_to_a_profile_that_was_put_back_is_read() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::system());
    let file = folder.path().join("carol");
    let location = || ProfileLocation::File { path: file.clone(), passphrase: "x".to_owned().into() };
    // it is opened again and again
    drop(store::file::create(&file, "x", Cost::LOW, &env).unwrap());
    let wallet = Wallet::random(&env).unwrap();
    let options = LoginOptions { location: location(), ..LoginOptions::new(stack.url()) };
    let carol = Client::login(options, &wallet).await.unwrap();
    let account = carol.account();
    let friend = Person::join(&stack).await.unwrap();
    carol.accept(friend.account()).await.unwrap();
    drop(carol);
    // the profile is locked until its last user has let it go
    let open = async || {
        let opened = async || Ok(Client::open(location(), env.clone()).await.is_ok());
        eventually(seconds(10), opened).await.unwrap();
        Client::open(location(), env.clone()).await.unwrap()
    };
    let before = open().await;
    assert_eq!(before.http().key_count().await.unwrap().ec, 100);
    drop(before);
    eventually(seconds(10), async || Ok(Client::open(location(), env.clone()).await.is_ok())).await.unwrap();
    std::fs::copy(&file, folder.path().join("copy")).unwrap();

    // everything that the copy knows of is handed out, and replaced
    for _ in 0..100 {
        friend.client.http().bundles(account, &[]).await.unwrap();
    }
    let carol = open().await;
    let events = carol.connect().await.unwrap();
    carol.wait_keys().await;
    let stock = carol.http().key_count().await.unwrap();
    assert_eq!((stock.ec, stock.next.ec), (100, 201));
    drop((carol, events));
    eventually(seconds(10), async || Ok(Client::open(location(), env.clone()).await.is_ok())).await.unwrap();
    std::fs::copy(folder.path().join("copy"), &file).unwrap();

    let mut erin = Person::join(&stack).await.unwrap();
    let texts = ["one", "two", "three"];
    let mut last = None;
    for text in texts {
        let message = erin.client.send_text(account, text, None, None).unwrap();
        erin.client.wait_sent(message.id.id).await.unwrap();
        last = Some(message.id.id);
    }
    let carol = open().await;
    let mut events = carol.connect().await.unwrap();
    let reset = erin.until(|event| matches!(event, Event::SessionReset { .. })).await.unwrap();
    let Event::SessionReset { resent, unread, .. } = reset else { unreachable!() };
    assert_eq!((resent.len(), unread.len()), (3, 0));
    assert_eq!(resent.last().copied(), last);
    let mut heard = Vec::new();
    while heard.len() < 3 {
        match events.next().await.unwrap() {
            Event::Request(message) => heard.push(message.body),
            Event::Message(message) => panic!("she accepted nobody: {message:?}"),
            _ => {}
        }
    }
    let wanted = texts.map(|text| nepto_sdk::model::Body::Text(text.to_owned()));
    assert_eq!(heard, wanted);
    assert_eq!(carol.conversation(erin.account()).unwrap().unwrap().state, ConversationState::Requested);
    let contacts = carol.http().contacts(None, 10).await.unwrap().contacts;
    let consent = contacts.iter().find(|contact| contact.account.account == erin.account()).unwrap().consent;
    assert_eq!(consent, nepto_proto::api::accounts::Consent::Requested, "the answer accepted nobody");

    // and whoever comes next meets keys that are hers
    carol.wait_keys().await;
    let stock = carol.http().key_count().await.unwrap();
    assert!(stock.ec == 100 && stock.next.ec > 300, "{stock:?}");
    let newcomer = Person::join(&stack).await.unwrap();
    let message = newcomer.client.send_text(account, "four", None, None).unwrap();
    newcomer.client.wait_sent(message.id.id).await.unwrap();
    loop {
        match events.next().await.unwrap() {
            Event::Request(message) if message.conversation == newcomer.account() => break,
            Event::Undecryptable { account, .. } => assert_ne!(account, newcomer.account()),
            _ => {}
        }
    }
}
