//! What the command-line client does when names move, devices come back, or its files are not what it wrote.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nepto_testkit::Stack;
use serde_json::Value;

use crate::cli::Home;
use crate::meddler::between;

/// Signs in by this server, with a new wallet.
async fn join_by(url: &str) -> Home {
    let home = Home::quick().unwrap();
    home.sign_up(url).await.unwrap();
    home
}

async fn wallet(home: &Home) -> String {
    home.nepto("whoami --json").await.unwrap().json().unwrap()[0]["wallet"].as_str().unwrap().to_owned()
}

async fn texts(home: &Home, line: &str) -> Vec<String> {
    let said = home.nepto(line).await.unwrap().json().unwrap();
    said.iter().filter_map(|message| Some(message["text"].as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn a_handle_that_the_server_gives_to_somebody_else_is_asked_about() {
    let stack = Stack::all().await.unwrap();
    let (bob, mallory) = (Home::join(&stack, "bob").await.unwrap(), Home::join(&stack, "mallory").await.unwrap());
    let mallory_said: Arc<Mutex<Option<Value>>> = Arc::default();
    let said = mallory_said.clone();
    let url = between(&stack, move |path, json| {
        if let (true, Some(mallory)) = (path.ends_with("/accounts/bob"), said.lock().unwrap().clone()) {
            *json = mallory;
            json["handle"] = "bob".into();
        }
    });
    let alice = join_by(&url.await.unwrap()).await;
    alice.nepto("send @bob hello").await.unwrap().well().unwrap();
    let mallory_is = mallory.nepto("whoami --json").await.unwrap().json().unwrap()[0].clone();
    *mallory_said.lock().unwrap() = Some(mallory_is.clone());
    for line in [
        "send @bob secret",
        "contacts accept @bob",
        "contacts block @bob",
        "safety-number @bob",
        "safety-number @bob --verify",
        "inbox --peer @bob",
        "history @bob",
        "chat @bob",
    ] {
        let refused = alice.nepto(&format!("{line} --json")).await.unwrap();
        for both in [wallet(&bob).await, wallet(&mallory).await] {
            assert!(refused.err.contains(&both), "{line}: {}", refused.err);
        }
        assert_eq!(refused.failure().unwrap(), (1, "name_moved".to_owned()), "{line}");
    }
    let who = alice.nepto("contacts who @bob --json").await.unwrap().json().unwrap();
    assert_eq!((&who[0]["moved"], &who[0]["now"]), (&true.into(), &mallory_is["account"]));
    // by what can't move, it is who it was
    let to_bob = format!("send {} still-you", wallet(&bob).await);
    alice.nepto(&to_bob).await.unwrap().well().unwrap();
    assert_eq!(texts(&mallory, "inbox --json").await, [] as [&str; 0]);
    assert_eq!(texts(&bob, "inbox --json --wait 20").await, ["hello", "still-you"]);
    alice.nepto("contacts who @bob --accept-change").await.unwrap().well().unwrap();
    alice.nepto("send @bob so-you-are-bob").await.unwrap().well().unwrap();
    assert_eq!(texts(&mallory, "inbox --json --wait 20").await, ["so-you-are-bob"]);
}

#[tokio::test]
async fn a_lost_device_that_the_server_lists_again_is_asked_about() {
    let stack = Stack::all().await.unwrap();
    let bob = Home::join(&stack, "bob").await.unwrap();
    let (kept, again) = (Arc::<Mutex<Option<Value>>>::default(), Arc::new(AtomicBool::new(false)));
    let is_again = again.clone();
    let url = between(&stack, move |path, json| {
        let Some(devices) = json.get_mut("devices").and_then(Value::as_array_mut) else { return };
        if !(path.starts_with("/v1/accounts/") && path.ends_with("/devices")) {
            return;
        }
        let mut kept = kept.lock().unwrap();
        match devices.iter().find(|device| device["device"] == 2) {
            Some(second) => *kept = Some(second.clone()),
            None if is_again.load(Ordering::SeqCst) => {
                devices.extend(kept.clone());
                json["removed"] = Value::Array(Vec::new());
            }
            None => {}
        }
    });
    let alice = join_by(&url.await.unwrap()).await;
    let phone = Home::quick().unwrap();
    std::fs::copy(bob.path().join("w.json"), phone.path().join("w.json")).unwrap();
    let login = format!("login --server {} --keystore w.json --keystore-password-file passphrase", stack.url());
    phone.nepto(&login).await.unwrap().well().unwrap();
    alice.nepto("send @bob to-both").await.unwrap().well().unwrap();
    bob.nepto("devices revoke 2").await.unwrap().well().unwrap();
    alice.nepto("send @bob to-one").await.unwrap().well().unwrap();
    again.store(true, Ordering::SeqCst);
    // the list is looked at, as after a mismatch
    let shown = alice.nepto("safety-number @bob --json").await.unwrap().json().unwrap();
    assert_eq!((&shown[0]["verification"], shown[0]["numbers"].as_array().unwrap().len()), (&"changed".into(), 1));
    let refused = alice.nepto("send @bob secret --json").await.unwrap().failure().unwrap();
    assert_eq!(refused, (1, "device_returned".to_owned()));
    let history = alice.nepto("history @bob").await.unwrap().well().unwrap();
    assert!(history.contains("was removed once and is listed again"), "{history}");
}

#[tokio::test]
async fn what_is_written_right_after_another_device_signed_in_reaches_it() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = (Home::join(&stack, "alice").await.unwrap(), Home::join(&stack, "bob").await.unwrap());
    let to_bob = wallet(&bob).await;
    alice.nepto(&format!("send {to_bob} before")).await.unwrap().well().unwrap();
    for number in 1..=3 {
        let phone = Home::quick().unwrap();
        std::fs::copy(alice.path().join("w.json"), phone.path().join("w.json")).unwrap();
        let login = format!("login --server {} --keystore w.json --keystore-password-file passphrase", stack.url());
        phone.nepto(&login).await.unwrap().well().unwrap();
        alice.nepto(&format!("send {to_bob} after-{number}")).await.unwrap().well().unwrap();
        phone.nepto("inbox --json").await.unwrap().well().unwrap();
        assert_eq!(texts(&phone, &format!("history {to_bob} --json")).await, [format!("after-{number}")]);
    }
}

#[tokio::test]
async fn a_login_that_fails_leaves_nothing_behind() {
    let stack = Stack::all().await.unwrap();
    let home = Home::new().unwrap();
    let key = format!("{:064x}\n", 4711);
    let is_clean = || std::fs::read_dir(home.path()).unwrap().count() == 1;
    assert!(is_clean(), "the passphrase alone");
    let url = stack.url();
    let lying = between(&stack, |path, json| {
        if path == "/v1/auth/nonce" {
            json["nonce"] = "abcdefgh1\nIssued At: 2027-01-15T08:00:00Z".into();
        }
    });
    let lying = lying.await.unwrap();
    for (server, domain, exit, code) in
        [("http://127.0.0.1:9", "", 5, "unreachable"), (&url, "evil.org", 1, "error"), (&lying, "", 1, "wallet")]
    {
        let mut line = vec!["login", "--server", server, "--key-stdin", "--json"];
        if !domain.is_empty() {
            line.extend(["--domain", domain]);
        }
        let refused = home.with_input(&line, &key).await.unwrap();
        assert_eq!(refused.failure().unwrap(), (exit, code.to_owned()), "{line:?}");
        assert!(is_clean(), "{line:?}");
    }
    // a wallet whose signature the server refuses
    let other = "0x00000000000000000000000000000000000a11CE";
    let line = ["login", "--server", &url, "--key-stdin", "--json", "--contract-wallet", other, "--chain-id", "1"];
    let line: Vec<&str> = line.into_iter().chain(["--node", "1=http://127.0.0.1:9"]).collect();
    let refused = home.with_input(&line, &key).await.unwrap().failure().unwrap();
    assert_eq!(refused.0, 4, "{refused:?}");
    assert!(is_clean());
}

#[tokio::test]
async fn a_damaged_profile_is_named_and_never_replaced() {
    let stack = Stack::all().await.unwrap();
    let alice = Home::join(&stack, "alice").await.unwrap();
    let file: PathBuf = alice.path().join(".local/share/nepto/default/profile.redb");
    let whole = std::fs::read(&file).unwrap();
    let login = format!("login --server {} --keystore w.json --keystore-password-file passphrase", stack.url());
    for broken in [&[][..], &whole[..whole.len() / 2], &[0; 4096]] {
        std::fs::write(&file, broken).unwrap();
        for line in ["whoami", "inbox", &login] {
            let said = alice.nepto(&format!("{line} --json")).await.unwrap();
            assert!(said.err.contains("profile.redb is damaged"), "{line}: {}", said.err);
            assert_eq!(said.failure().unwrap(), (1, "profile".to_owned()), "{line}");
            assert_eq!(std::fs::read(&file).unwrap(), broken, "{line} changed it");
        }
    }
    std::fs::write(&file, whole).unwrap();
    alice.nepto("whoami").await.unwrap().well().unwrap();
}
