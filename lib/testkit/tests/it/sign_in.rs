//! Signing in: every field, every token, every wallet.

use nepto_proto::api::auth::{RevokeByWallet, SignIn};
use nepto_proto::api::keys::{DeviceSetup, EcPrekey, SignedPrekey, UploadKeys};
use nepto_proto::certificate::{ByKey, Resource, SignedMessage};
use nepto_proto::limits::SIGNATURE_BYTES_MAX;
use nepto_proto::siwe::SiweMessage;
use nepto_proto::xeddsa::{public_key, sign};
use nepto_proto::{CloseCode, ErrorCode};
use nepto_sdk::env::Env;
use nepto_sdk::http::Http;
use nepto_sdk::{Client, Event, LoginOptions, ProfileLocation, SdkError, Wallet};
use nepto_testkit::{Stack, eventually, seconds};
use tokio::time::Instant;

use crate::people::{Person, Raw, env_off_by, friends};

/// A sign-in that is right, to be broken field by field.
struct Attempt {
    http: Http,
    wallet: Wallet,
    /// The private half of the device's identity key.
    identity: [u8; 32],
    message: SiweMessage,
}

impl Attempt {
    async fn new(stack: &Stack) -> Self {
        let env = Env::system();
        let http = Http::new(&stack.url(), env.clone(), Box::new(())).unwrap();
        let info = http.info().await.unwrap();
        let wallet = Wallet::random(&env).unwrap();
        let identity = env.bytes();
        let identity_key = public_key(&identity);
        let message = SiweMessage {
            scheme: None,
            domain: info.domain,
            address: wallet.address(),
            statement: None,
            uri: info.uri,
            chain_id: info.chains[0],
            nonce: http.nonce().await.unwrap().nonce,
            issued_at: env.date_time().into(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: vec![Resource::Device { registration_id: 77.try_into().unwrap(), identity_key }.to_string()],
        };
        Self { http, wallet, identity, message }
    }

    fn device(&self) -> DeviceSetup {
        device_of(&self.identity)
    }

    async fn send(&self, signed: SignedMessage) -> Result<(), ErrorCode> {
        let result = self.http.sign_in(&SignIn { signed, device: self.device(), invite: None }).await;
        result.map(drop).map_err(|error| error.code().unwrap_or_else(|| panic!("no code: {error}")))
    }

    /// Signs whatever the message says, which a careful client would not.
    async fn sign_and_send(&self) -> Result<(), ErrorCode> {
        let message = self.message.to_string();
        let signature = format!("0x{}", hex::encode(self.wallet.sign_text(&message).unwrap()));
        self.send(SignedMessage { message, signature }).await
    }
}

/// The keys that a device with this identity brings along.
fn device_of(identity: &[u8; 32]) -> DeviceSetup {
    let signed = |id: u32, public_key: Vec<u8>| {
        let signature = sign(identity, &public_key, &[1; 64]).to_vec().into();
        SignedPrekey { id, public_key: public_key.into(), signature }
    };
    DeviceSetup {
        name: "test".into(),
        signed_prekey: signed(1, public_key(&[9; 32]).to_vec()),
        last_resort: signed(2, [vec![8], vec![9; 1568]].concat()),
    }
}

#[tokio::test]
async fn every_field_of_the_message_is_checked_and_a_bad_one_changes_nothing() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let minutes = |minutes: i64| (Env::system().date_time() + time::Duration::minutes(minutes)).into();
    type Break = Box<dyn Fn(&mut SiweMessage)>;
    let cases: Vec<(ErrorCode, Break)> = vec![
        (ErrorCode::SiweDomain, Box::new(|message| message.domain = "evil.example.org".into())),
        (ErrorCode::SiweDomain, Box::new(|message| message.scheme = Some("ftp".into()))),
        (ErrorCode::SiweUri, Box::new(|message| message.uri = "https://evil.example.org".into())),
        (ErrorCode::SiweChain, Box::new(|message| message.chain_id = 31_337_000)),
        (ErrorCode::NonceInvalid, Box::new(|message| message.nonce = "neverissued1234".into())),
        (ErrorCode::ClockSkew, Box::new(move |message| message.issued_at = minutes(60))),
        (ErrorCode::ClockSkew, Box::new(move |message| message.issued_at = minutes(-60))),
        (ErrorCode::SiweExpired, Box::new(move |message| message.expiration_time = Some(minutes(-1)))),
        (ErrorCode::SiweNotYetValid, Box::new(move |message| message.not_before = Some(minutes(1)))),
        (ErrorCode::SiweMalformed, Box::new(|message| message.statement = Some("\u{202e}otpeN".into()))),
        (ErrorCode::SiweResource, Box::new(|message| message.resources.clear())),
        (
            ErrorCode::SiweResource,
            Box::new(|message| message.resources[0] = message.resources[0].replace(":77:", ":+77:")),
        ),
        (
            ErrorCode::SiweResource,
            Box::new(|message| message.resources[0] = message.resources[0].replace(":77:", ":077:")),
        ),
        (ErrorCode::SiweResource, Box::new(|message| message.resources.push("urn:nepto:revoke:1".into()))),
    ];
    for (code, break_it) in cases {
        let mut attempt = Attempt::new(&stack).await;
        let good = attempt.message.clone();
        break_it(&mut attempt.message);
        assert_eq!(attempt.sign_and_send().await, Err(code));
        // the nonce was not used up by what was refused
        attempt.message = good;
        assert_eq!(attempt.sign_and_send().await, Ok(()), "after {code}");
    }
}

/// EIP-4361 lets the scheme of the asking page stand before the domain; some wallets write it.
#[tokio::test]
async fn a_message_may_name_the_scheme_and_friends_take_the_certificate() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let mut attempt = Attempt::new(&stack).await;
    let scheme = attempt.message.uri.split_once(':').unwrap().0.to_owned();
    attempt.message.scheme = Some(scheme);
    let signed = attempt.wallet.sign(&attempt.message).unwrap();
    let tokens = attempt.http.sign_in(&SignIn { invite: None, signed, device: attempt.device() }).await.unwrap();
    let other = Person::join(&stack).await.unwrap();
    let directory = other.client.http().directory(tokens.account).await.unwrap();
    let certificate = &directory.devices[0].certificate;
    assert!(certificate.message.starts_with("http"), "{}", certificate.message);
    assert_eq!(certificate.verify(&attempt.message.domain, &ByKey).unwrap(), attempt.message);
}

#[tokio::test]
async fn however_a_wallet_writes_its_signature_friends_get_the_same_certificate() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let other = Person::join(&stack).await.unwrap();
    let capitals = |signature: &str| format!("0x{}", signature[2..].to_ascii_uppercase());
    let small_v = |signature: &str| {
        let (start, v) = signature.split_at(130);
        format!("{start}{}", if v == "1b" { "00" } else { "01" })
    };
    for write in [&capitals as &dyn Fn(&str) -> String, &small_v] {
        let attempt = Attempt::new(&stack).await;
        let signed = attempt.wallet.sign(&attempt.message).unwrap();
        let given = SignedMessage { signature: write(&signed.signature), ..signed.clone() };
        let request = SignIn { invite: None, signed: given, device: attempt.device() };
        let tokens = attempt.http.sign_in(&request).await.unwrap();
        let directory = other.client.http().directory(tokens.account).await.unwrap();
        assert_eq!(directory.devices[0].certificate, signed);
    }
    // as in a transaction (EIP-155)
    let attempt = Attempt::new(&stack).await;
    let signed = attempt.wallet.sign(&attempt.message).unwrap();
    let v = if signed.signature.ends_with("1b") { "25" } else { "26" };
    let given = SignedMessage { signature: format!("{}{v}", &signed.signature[..130]), ..signed };
    assert_eq!(attempt.send(given).await, Err(ErrorCode::ContractWallet), "not by a key");
}

#[tokio::test]
async fn signatures_and_nonces_work_for_their_owner_and_once() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let attempt = Attempt::new(&stack).await;
    let signed = attempt.wallet.sign(&attempt.message).unwrap();
    let stranger = Wallet::random(&Env::system()).unwrap();
    let by_stranger = format!("0x{}", hex::encode(stranger.sign_text(&signed.message).unwrap()));
    let with = |signature: &str| SignedMessage { signature: signature.to_owned(), ..signed.clone() };
    // it might be a contract that says yes to that, and this server knows no chain to ask
    assert_eq!(attempt.send(with(&by_stranger)).await, Err(ErrorCode::ContractWallet));
    assert_eq!(attempt.send(with("0xzz")).await, Err(ErrorCode::SignatureInvalid));
    // whoever reads certificates strictly would refuse the device
    assert_eq!(attempt.send(with(&signed.signature[2..])).await, Err(ErrorCode::SignatureInvalid));
    assert_eq!(attempt.send(with("0x1234")).await, Err(ErrorCode::ContractWallet));
    assert_eq!(
        attempt.send(with(&format!("0x{}", "00".repeat(SIGNATURE_BYTES_MAX + 1)))).await,
        Err(ErrorCode::TooLarge)
    );
    let changed = SignedMessage { message: signed.message.replace("Version: 1", "Version: 2"), ..signed.clone() };
    assert_eq!(attempt.send(changed).await, Err(ErrorCode::SiweMalformed));
    assert_eq!(attempt.send(signed.clone()).await, Ok(()));
    assert_eq!(attempt.send(signed).await, Err(ErrorCode::NonceInvalid), "a replay");
}

#[tokio::test]
async fn access_tokens_that_are_expired_tampered_or_absent_are_refused() {
    let stack = Stack::builder().set("tokens.access_ttl_s", 1).all().await.unwrap();
    let person = Person::join(&stack).await.unwrap();
    let token = person.client.http().access_token().await.unwrap();
    let ask = async |token: Option<&str>| {
        let request = crate::http::client().get(format!("{}/v1/accounts/me", stack.url()));
        let request =
            token.map_or_else(|| request.try_clone().unwrap(), |token| request.try_clone().unwrap().bearer_auth(token));
        request.send().await.unwrap().json::<serde_json::Value>().await.unwrap()
    };
    let mut tampered = token.clone();
    let at = token.rfind('.').unwrap() + 5;
    tampered.replace_range(at..=at, if &token[at..=at] == "A" { "B" } else { "A" });
    assert_eq!(ask(Some(&tampered)).await["code"], "token_invalid");
    assert_eq!(ask(Some("nonsense")).await["code"], "token_invalid");
    assert_eq!(ask(None).await["code"], "unauthenticated");
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(ask(Some(&token)).await["code"], "token_expired");
}

#[tokio::test]
async fn signing_out_everywhere_closes_open_sockets_within_a_second() {
    let stack = Stack::split(2).await.unwrap();
    let alice = Person::join(&stack).await.unwrap();
    let mut phone = alice.second_device(&stack).await.unwrap();
    let token = phone.client.http().access_token().await.unwrap();
    let started = Instant::now();
    alice.client.sign_out(true).await.unwrap();
    phone.until(|event| matches!(event, Event::SignedOut { .. })).await.unwrap();
    assert!(started.elapsed().as_millis() < 1_000, "{:?}", started.elapsed());
    let answer =
        crate::http::client().get(format!("{}/v1/accounts/me", stack.url())).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], "session_revoked");
}

#[tokio::test]
async fn a_clock_that_is_off_by_an_hour_is_told_so() {
    let stack = Stack::all().await.unwrap();
    for hours in [1, -1] {
        let options = LoginOptions { env: env_off_by(hours * 3_600_000), ..LoginOptions::new(stack.url()) };
        let wallet = Wallet::random(&Env::system()).unwrap();
        let error = Client::login(options, &wallet).await.err().expect("refused");
        assert_eq!(error.code(), Some(ErrorCode::ClockSkew));
        let text = error.to_string();
        assert!(text.contains("clock") && text.contains(if hours > 0 { "ahead" } else { "behind" }), "{text}");
    }
}

#[tokio::test]
async fn wallets_are_linked_by_two_signatures_and_the_last_one_stays() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    let (root, second) = (alice.wallet().unwrap(), Wallet::random(&Env::system()).unwrap());
    let wallets = alice.client.link_wallet(&root, &second).await.unwrap();
    assert_eq!(wallets.wallets, [root.address().to_string(), second.address().to_string()]);
    // a device certified by the linked wallet is trusted by peers
    let laptop = Client::login(LoginOptions::new(stack.url()), &second).await.unwrap();
    assert_eq!(laptop.account(), alice.account());
    bob.says(&alice, "still you?").await.unwrap();
    // a wallet belongs to one account
    let error = bob.client.link_wallet(&bob.wallet().unwrap(), &second).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::WalletLinked));
    // an approval by a stranger links nothing
    let (stranger, third) = (Wallet::random(&Env::system()).unwrap(), Wallet::random(&Env::system()).unwrap());
    let error = alice.client.link_wallet(&stranger, &third).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::WalletUnknown));
    let left = alice.client.unlink_wallet(second.address()).await.unwrap();
    assert_eq!(left.wallets, [root.address().to_string()]);
    let error = alice.client.unlink_wallet(root.address()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::WalletLast));
    // and its device goes
    eventually(seconds(10), async || Ok(alice.client.devices().await?.len() == 1)).await.unwrap();
    bob.until(|event| matches!(event, Event::DeviceAdded { .. } | Event::DeviceRemoved { .. })).await.unwrap();
}

#[tokio::test]
async fn a_wallet_alone_gets_its_owner_back_in_at_the_device_limit() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let alice = Person::join(&stack).await.unwrap();
    for _ in 1..10 {
        Client::login(LoginOptions::new(stack.url()), &alice.wallet().unwrap()).await.unwrap();
    }
    let refused = Client::login(LoginOptions::new(stack.url()), &alice.wallet().unwrap()).await.err().expect("refused");
    let SdkError::Server { code: ErrorCode::DeviceLimit, devices, .. } = refused else { panic!("{refused}") };
    assert_eq!(devices.len(), 10);
    let victim = devices[0].device;
    assert_eq!(victim, alice.client.device());
    nepto_sdk::revoke_device_by_wallet(&stack.url(), None, &alice.wallet().unwrap(), victim, &Env::system())
        .await
        .unwrap();
    Client::login(LoginOptions::new(stack.url()), &alice.wallet().unwrap()).await.unwrap();
    // nobody else's wallet can
    let http = Http::new(&stack.url(), Env::system(), Box::new(())).unwrap();
    let attempt = Attempt::new(&stack).await;
    let mut message = attempt.message.clone();
    message.resources = vec![Resource::Revoke(2.try_into().unwrap()).to_string()];
    let signed = attempt.wallet.sign(&message).unwrap();
    let error = http.revoke_by_wallet(&RevokeByWallet { signed }).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::AccountUnknown));
}

#[tokio::test]
async fn a_removed_device_loses_its_session_socket_and_mailbox() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = friends(&stack).await.unwrap();
    let phone = bob.second_device(&stack).await.unwrap();
    phone.client.disconnect();
    let mut raw = Raw::open(&stack, &phone.client, None).await.unwrap();
    bob.client.revoke_device(phone.client.device()).await.unwrap();
    let closed = loop {
        match raw.frame().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let closed: &nepto_sdk::socket::SocketError = closed.downcast_ref().unwrap();
    assert_eq!(closed.close_code(), Some(CloseCode::SessionRevoked));
    alice.says(&bob, "only to the one that is left").await.unwrap();
    assert!(phone.client.http().me().await.is_err());
}

#[tokio::test]
async fn what_a_device_sent_before_it_was_removed_still_arrives() {
    let stack = Stack::all().await.unwrap();
    let (mut alice, bob) = friends(&stack).await.unwrap();
    let phone = bob.second_device(&stack).await.unwrap();
    phone.says(&alice, "from the phone").await.unwrap();
    alice.hears_text("from the phone").await.unwrap();
    let tablet = bob.second_device(&stack).await.unwrap();
    alice.client.disconnect();
    phone.says(&alice, "the last of the phone").await.unwrap();
    tablet.says(&alice, "the only one of the tablet").await.unwrap();
    for device in [phone.client.device(), tablet.client.device()] {
        bob.client.revoke_device(device).await.unwrap();
    }
    alice.events = alice.client.connect().await.unwrap();
    alice.hears_text("the last of the phone").await.unwrap();
    alice.hears_text("the only one of the tablet").await.unwrap();
    alice.says(&bob, "to the one that is left").await.unwrap();
}

#[tokio::test]
async fn a_profile_that_was_removed_signs_in_as_a_new_device_and_loses_nothing() {
    let stack = Stack::all().await.unwrap();
    let (alice, mut bob) = friends(&stack).await.unwrap();
    let (folder, env) = (tempfile::tempdir().unwrap(), Env::system());
    let location = || ProfileLocation::File { path: folder.path().join("profile"), passphrase: "x".to_owned().into() };
    let login = async || {
        let options = LoginOptions { location: location(), ..LoginOptions::new(stack.url()) };
        Client::login(options, &alice.wallet().unwrap()).await
    };
    let phone = login().await.unwrap();
    let first = phone.device();
    let mut events = phone.connect().await.unwrap();
    let message = phone.send_text(bob.account(), "before", None, None).unwrap();
    phone.wait_sent(message.id.id).await.unwrap();
    bob.hears_text("before").await.unwrap();
    alice.client.revoke_device(first).await.unwrap();
    while events.next().await.is_some() {}
    drop((phone, events));
    // the profile is locked until its last user has let it go
    eventually(seconds(10), async || Ok(Client::open(location(), env.clone()).await.is_ok())).await.unwrap();
    let again = login().await.unwrap();
    assert_ne!(again.device(), first);
    assert_eq!(again.history(bob.account(), None, 10).unwrap().len(), 1, "its history is its own");
    let _events = again.connect().await.unwrap();
    for text in ["after 1", "after 2"] {
        let message = again.send_text(bob.account(), text, None, None).unwrap();
        again.wait_sent(message.id.id).await.unwrap();
        bob.hears_text(text).await.unwrap();
    }
    alice.says(&bob, "from the other device").await.unwrap();
    bob.hears_text("from the other device").await.unwrap();
}

#[tokio::test]
async fn keys_that_are_not_keys_are_refused() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let attempt = Attempt::new(&stack).await;
    let signed = attempt.wallet.sign(&attempt.message).unwrap();
    let tokens = attempt.http.sign_in(&SignIn { signed, device: attempt.device(), invite: None }).await.unwrap();
    attempt.http.adopt(tokens).await.unwrap();
    let before = attempt.http.key_count().await.unwrap();
    let good = attempt.device();
    let bad = |change: &dyn Fn(&mut SignedPrekey)| {
        let mut key = SignedPrekey { id: 5, ..good.signed_prekey.clone() };
        change(&mut key);
        UploadKeys { signed_prekey: Some(key), ..UploadKeys::default() }
    };
    let zero = [vec![5], vec![0; 32]].concat();
    let by_other = device_of(&[6; 32]);
    for upload in [
        bad(&|key| key.id = 0),
        bad(&|key| key.id = 1 << 24),
        bad(&|key| key.public_key = vec![5; 10].into()),
        bad(&|key| key.public_key = [vec![6], vec![1; 32]].concat().into()),
        bad(&|key| key.public_key = zero.clone().into()),
        bad(&|key| key.signature = vec![1; 63].into()),
        bad(&|key| key.signature.0[7] ^= 1),
        bad(&|key| *key = by_other.signed_prekey.clone()),
        UploadKeys { last_resort: Some(good.signed_prekey.clone()), ..UploadKeys::default() },
        UploadKeys { last_resort: Some(by_other.last_resort.clone()), ..UploadKeys::default() },
        UploadKeys { kyber: vec![by_other.last_resort.clone()], ..UploadKeys::default() },
        UploadKeys { ec: vec![EcPrekey { id: 1, public_key: zero.clone().into() }], ..UploadKeys::default() },
    ] {
        let error = attempt.http.upload_keys(&upload).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::KeyInvalid), "{upload:?}");
    }
    let many = UploadKeys { kyber: vec![good.last_resort.clone(); 101], ..UploadKeys::default() };
    let error = attempt.http.upload_keys(&many).await.unwrap_err();
    assert!(matches!(error.code(), Some(ErrorCode::KeyLimit | ErrorCode::TooLarge)), "{error}");
    assert_eq!(attempt.http.key_count().await.unwrap(), before);
    let one = UploadKeys { kyber: vec![good.last_resort.clone()], ..UploadKeys::default() };
    attempt.http.upload_keys(&one).await.unwrap();
    let again = attempt.http.upload_keys(&one).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::KeyUsed));
    assert_eq!(attempt.http.key_count().await.unwrap().next.kyber, 3);
}

#[tokio::test]
async fn an_identity_key_is_its_own_accounts_and_of_who_has_the_private_half() {
    let stack = Stack::builder().unlimited().all().await.unwrap();
    let first = Attempt::new(&stack).await;
    assert_eq!(first.sign_and_send().await, Ok(()));
    // somebody else who names that key: with prekeys of their own, and with those that everybody can fetch
    let mut thief = Attempt::new(&stack).await;
    let resources = first.message.resources.clone();
    thief.message.resources = resources;
    assert_eq!(thief.sign_and_send().await, Err(ErrorCode::KeyInvalid));
    thief.identity = first.identity;
    assert_eq!(thief.sign_and_send().await, Err(ErrorCode::IdentityTaken));
    assert_eq!(first.device().signed_prekey.signature, thief.device().signed_prekey.signature, "a replay");
}
