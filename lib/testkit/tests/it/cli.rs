//! `nepto`, the command-line client, as a person or a script uses it: a process, its streams and its exit code.

use std::os::unix::fs::DirBuilderExt;
use std::process::Stdio;
use std::time::Duration;

use alloy_sol_types::SolValue;
use anyhow::{Context, Result, ensure};
use nepto_sdk::Env;
use nepto_sdk::store::file;
use nepto_sdk::store::seal::Cost;
use nepto_testkit::contracts::deploy;
use nepto_testkit::{Anvil, Stack, WatchedChain, folder, program};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cli_running::{Printed, event, interrupt};

/// A command may take this long; a keystore alone takes a second or two.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PHRASE: &str = "test test test test test test test test test test test junk";
const PASSPHRASE: &str = "correct horse";
/// Where a profile is, in somebody's folder.
const PROFILE: &str = ".local/share/nepto/default";

/// Somebody's folder, with the passphrase of a profile in it.
pub struct Home(TempDir);

/// What a command said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Of a command that must have worked.
    pub fn well(self) -> Result<String> {
        ensure!(self.code == 0, "exit code {}: {}{}", self.code, self.out, self.err);
        Ok(self.out)
    }

    /// The objects of a command that must have worked, one a line.
    pub fn json(self) -> Result<Vec<Value>> {
        let out = self.well()?;
        out.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// The exit code and the stable code of a command with `--json` that must have failed.
    pub fn failure(self) -> Result<(i32, String)> {
        ensure!(self.code != 0, "it worked: {}", self.out);
        let error: Value = serde_json::from_str(&self.err).with_context(|| self.err.clone())?;
        ensure!(!error["detail"].as_str().unwrap_or_default().is_empty(), "no word for people: {error}");
        Ok((self.code, error["code"].as_str().unwrap_or_default().to_owned()))
    }
}

impl Home {
    /// Of somebody who never signed in. The profile that signing in makes is as for a person: each command that opens it
    /// computes for a quarter of a second.
    pub fn new() -> Result<Self> {
        let home = folder("nepto-home-")?;
        std::fs::write(home.path().join("passphrase"), format!("{PASSPHRASE}\n"))?;
        Ok(Self(home))
    }

    /// The same, with a profile of nobody yet under a passphrase that costs little to try.
    pub fn quick() -> Result<Self> {
        let home = Self::new()?;
        let profile = home.path().join(PROFILE);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&profile)?;
        file::create(&profile.join("profile.redb"), PASSPHRASE, Cost::LOW, &Env::system())?;
        Ok(home)
    }

    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    fn command(&self, line: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("nepto")?);
        command.current_dir(self.0.path()).args(line).kill_on_drop(true);
        command.env_clear().env("HOME", self.0.path()).env("NEPTO_PASSPHRASE_FILE", "passphrase");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs a command with this on its standard input.
    pub async fn with_input(&self, line: &[&str], input: &str) -> Result<Said> {
        let mut child = self.command(line)?.spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // a command that reads nothing may have ended
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = timeout(PATIENCE, child.wait_with_output()).await.with_context(|| format!("{line:?} hangs"))??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) })
    }

    pub async fn nepto(&self, line: &str) -> Result<Said> {
        self.with_input(&line.split_whitespace().collect::<Vec<_>>(), "").await
    }

    /// A command that goes on, and the lines that it prints.
    pub fn start(&self, line: &str) -> Result<(Child, Printed)> {
        let mut child = self.command(&line.split_whitespace().collect::<Vec<_>>())?.spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        Ok((child, BufReader::new(out).lines()))
    }

    /// Signs in with a new wallet.
    pub async fn sign_up(&self, url: &str) -> Result<()> {
        let login = format!("login --server {url} --new-keystore w.json --keystore-password-file passphrase");
        self.nepto(&login).await?.well().map(drop)
    }

    /// Somebody who signed in with a new wallet and took a handle.
    pub async fn join(stack: &Stack, handle: &str) -> Result<Self> {
        let home = Self::quick()?;
        home.sign_up(&stack.url()).await?;
        home.nepto(&format!("profile --handle {handle}")).await?.well()?;
        Ok(home)
    }
}

#[tokio::test]
async fn two_people_talk_from_the_command_line() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = (Home::join(&stack, "alice").await.unwrap(), Home::join(&stack, "bob").await.unwrap());

    let me = alice.nepto("whoami --json").await.unwrap().json().unwrap();
    assert_eq!((&me[0]["handle"], &me[0]["device"]), (&"alice".into(), &1.into()));

    let sent = alice.nepto("send @bob gm to you --json").await.unwrap().json().unwrap();
    assert_eq!(sent[0]["status"], "stored");
    let inbox = bob.nepto("inbox --json --wait 20").await.unwrap().json().unwrap();
    assert_eq!((&inbox[0]["event"], &inbox[0]["text"]), (&"request".into(), &"gm to you".into()));
    assert_eq!(inbox[0]["id"], sent[0]["id"]);
    assert!(bob.nepto("inbox --json").await.unwrap().json().unwrap().is_empty(), "it was read");

    bob.nepto("contacts accept @alice").await.unwrap().well().unwrap();
    let (following, mut lines) = alice.start("inbox --follow --json").unwrap();
    // a pipe is a chat too: each line a message
    bob.with_input(&["chat", "@alice"], "first line\nsecond line\n").await.unwrap().well().unwrap();
    for text in ["first line", "second line"] {
        assert_eq!(event(&mut lines, "message").await.unwrap()["text"], text);
    }
    // what is still to be told is told
    interrupt(following).await.unwrap();

    let number = |said: Said| said.json().unwrap()[0]["numbers"][0]["digits"].as_str().unwrap().to_owned();
    let seen_by_alice = number(alice.nepto("safety-number @bob --json").await.unwrap());
    assert_eq!(seen_by_alice, number(bob.nepto("safety-number @alice --json").await.unwrap()));
    assert_eq!(seen_by_alice.len(), 60);
    let code = alice.nepto("safety-number @bob --qr").await.unwrap().well().unwrap();
    assert!(code.contains('█') && code.contains(&seen_by_alice[..5]), "{code}");

    let history = alice.nepto("history @bob --json").await.unwrap().json().unwrap();
    let texts: Vec<&str> = history.iter().filter_map(|message| message["text"].as_str()).collect();
    assert_eq!(texts, ["gm to you", "first line", "second line"]);
    // receipts came back to who has been accepted
    bob.nepto("inbox --json").await.unwrap().json().unwrap();
    let history = bob.nepto("history @alice --json").await.unwrap().json().unwrap();
    assert_eq!((&history[1]["text"], &history[1]["status"]), (&"first line".into(), &"read".into()));
}

#[tokio::test]
async fn without_the_server_history_is_read_and_messages_wait() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = (Home::join(&stack, "alice").await.unwrap(), Home::join(&stack, "bob").await.unwrap());
    let wallet = bob.nepto("whoami --json").await.unwrap().json().unwrap()[0]["wallet"].as_str().unwrap().to_owned();
    alice.nepto("send @bob one --json").await.unwrap().json().unwrap();
    stack.api.kill9().unwrap();
    let texts = async |said: Said| -> Vec<String> {
        said.json().unwrap().iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
    };
    for peer in ["@bob", wallet.as_str()] {
        let history = alice.nepto(&format!("history {peer} --json")).await.unwrap();
        assert_eq!(texts(history).await, ["one"]);
    }
    let nothing = alice.nepto(&format!("history {wallet} --before 1")).await.unwrap();
    assert!(nothing.err.contains("with @bob here"), "{}", nothing.err);
    let queued = alice.nepto(&format!("send {wallet} two --timeout 3")).await.unwrap();
    assert!(queued.err.contains("waits in the queue"), "{}", queued.err);
    assert_eq!(queued.code, 5);
    let told = format!("Can't reach {}/ yet, trying again for up to", stack.url());
    assert_eq!(queued.err.matches(&told).count(), 1, "{}", queued.err);
    // a handle means whom it meant before; one that was never used means nobody
    let queued = alice.nepto("send @bob three --timeout 2 --json").await.unwrap();
    assert!(queued.code == 5 && queued.err.contains("waits in the queue"), "{}", queued.err);
    let refused = alice.nepto("send @carol three --timeout 2 --json").await.unwrap();
    assert!(refused.code == 5 && refused.err.contains("nothing was queued"), "{}", refused.err);
    stack.api.restart().await.unwrap();
    alice.nepto("inbox --json").await.unwrap().json().unwrap();
    let inbox = bob.nepto("inbox --json --wait 20").await.unwrap();
    assert_eq!(texts(inbox).await, ["one", "two", "three"]);
    // signed out, it is still there
    alice.nepto("sign-out").await.unwrap().well().unwrap();
    assert_eq!(texts(alice.nepto("history @bob --json").await.unwrap()).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn safety_numbers_are_compared_and_changes_stop_what_is_sent() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = (Home::join(&stack, "alice").await.unwrap(), Home::join(&stack, "bob").await.unwrap());
    let scannable = async |home: &Home, peer: &str| {
        let said = home.nepto(&format!("safety-number {peer} --json")).await.unwrap().json().unwrap();
        said[0]["numbers"][0]["scannable"].as_str().unwrap().to_owned()
    };
    let code = scannable(&bob, "@alice").await;
    let same = alice.nepto(&format!("safety-number @bob --compare {code} --json")).await.unwrap().json().unwrap();
    assert_eq!(same[0]["matches"], true);
    let own = scannable(&alice, "@bob").await;
    let other = alice.nepto(&format!("safety-number @bob --compare {own} --json")).await.unwrap().failure().unwrap();
    assert_eq!(other, (1, "mismatch".into()), "one's own code is not the other's");
    assert_eq!(alice.nepto("safety-number @bob --compare aGVsbG8 --json").await.unwrap().code, 2);
    let verified = alice.nepto("safety-number @bob --verify --json").await.unwrap().json().unwrap();
    assert_eq!(verified[0]["verification"], "verified");
    // another device of Bob's
    let phone = Home::quick().unwrap();
    std::fs::copy(bob.0.path().join("w.json"), phone.0.path().join("w.json")).unwrap();
    let login = format!("login --server {} --keystore w.json --keystore-password-file passphrase", stack.url());
    phone.nepto(&login).await.unwrap().well().unwrap();
    let stopped = alice.nepto("send @bob secret --json").await.unwrap().failure().unwrap();
    assert_eq!(stopped, (1, "keys_changed".into()));
    alice.nepto("safety-number @bob --accept-change --json").await.unwrap().json().unwrap();
    alice.nepto("send @bob fine --json").await.unwrap().json().unwrap();
}

#[tokio::test]
async fn a_profile_is_encrypted_at_rest_and_a_wrong_passphrase_opens_nothing() {
    let stack = Stack::all().await.unwrap();
    let (alice, _bob) = (Home::new().unwrap(), Home::join(&stack, "bob").await.unwrap());
    alice.sign_up(&stack.url()).await.unwrap();
    alice.nepto("profile --handle alice").await.unwrap().well().unwrap();
    let secret = "the treasure lies beneath the old oak";
    alice.with_input(&["send", "@bob"], secret).await.unwrap().well().unwrap();
    assert!(alice.nepto("history @bob").await.unwrap().well().unwrap().contains("treasure"));
    let profile = alice.0.path().join(PROFILE);
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(&profile).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(bytes.len() > 10_000, "there is a store");
    for word in ["treasure", "alice", &stack.url()] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word:?} stands in the clear");
    }
    std::fs::write(alice.0.path().join("passphrase"), "wrong horse\n").unwrap();
    let refused = alice.nepto("history @bob --json").await.unwrap().failure().unwrap();
    assert_eq!(refused, (1, "wrong_passphrase".to_owned()));
}

#[tokio::test]
async fn devices_of_one_phrase_are_listed_and_revoked() {
    let stack = Stack::all().await.unwrap();
    let (desk, phone) = (Home::quick().unwrap(), Home::quick().unwrap());
    let url = stack.url();
    let login = ["login", "--server", &url, "--mnemonic-stdin", "--json"];
    for (home, number) in [(&desk, 1), (&phone, 2)] {
        let signed_in = home.with_input(&login, PHRASE).await.unwrap().json().unwrap();
        // the first account of the phrase that every development chain uses
        assert_eq!(signed_in[0]["address"], "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(signed_in[0]["device"], number);
    }
    let devices = desk.nepto("devices list --json").await.unwrap().json().unwrap();
    assert_eq!(devices.len(), 2);
    assert!(devices[0]["this"] == true && devices[1]["this"] == false, "{devices:?}");
    let send = "send 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 --json";
    phone.nepto(&format!("{send} early")).await.unwrap().json().unwrap();
    desk.nepto("devices revoke 2").await.unwrap().well().unwrap();
    let late = phone.nepto(&format!("{send} late")).await.unwrap();
    assert!(late.err.contains("waits in the queue") && late.err.contains("signed in again"), "{}", late.err);
    assert_eq!(late.failure().unwrap(), (3, "session_revoked".to_owned()));
    let later = phone.nepto(&format!("{send} later")).await.unwrap();
    assert!(later.err.contains("nothing was queued"), "{}", later.err);
    assert_eq!(later.failure().unwrap().0, 3);
    assert_eq!(phone.nepto("whoami --json").await.unwrap().failure().unwrap().0, 3, "signed out");
    // the wallet alone can do it too, without a profile
    let stranger = Home::new().unwrap();
    let revoke = ["devices", "revoke", "1", "--server", &url, "--mnemonic-stdin"];
    stranger.with_input(&revoke, PHRASE).await.unwrap().well().unwrap();
    assert_eq!(desk.nepto("whoami --json").await.unwrap().failure().unwrap().0, 3, "signed out");
}

#[tokio::test]
async fn who_owns_a_contract_signs_in_for_it() {
    let anvil = Anvil::start().await.unwrap();
    let owner = anvil.accounts()[0].abi_encode();
    let wallet = deploy(&anvil, "Wallets.sol/OwnedWallet", &owner).await.unwrap().to_string();
    let chain = WatchedChain::of(&anvil, 2);
    let stack = Stack::builder().set("public.chains", vec![31_337]).chain(&chain).all().await.unwrap();
    let (url, node) = (stack.url(), format!("31337={}", anvil.url()));
    let home = Home::quick().unwrap();
    let mut login = vec!["login", "--server", &url, "--mnemonic-stdin", "--json", "--contract-wallet", &wallet];
    login.extend(["--chain-id", "31337"]);
    let refused = home.with_input(&login, PHRASE).await.unwrap().failure().unwrap();
    assert_eq!(refused, (2, "node_needed".to_owned()));
    login.extend(["--node", &node]);
    let signed_in = home.with_input(&login, PHRASE).await.unwrap().json().unwrap();
    assert_eq!(signed_in[0]["address"], wallet.as_str());
    // the second account of the phrase does not own it
    login.extend(["--index", "1"]);
    let other = Home::new().unwrap();
    let refused = other.with_input(&login, PHRASE).await.unwrap().failure().unwrap();
    assert_eq!(refused, (4, "signature_invalid".to_owned()));
    // who wants to write to it names a node as well
    let bob = Home::join(&stack, "bob").await.unwrap();
    let send = format!("send {wallet} hello --json");
    assert_eq!(bob.nepto(&send).await.unwrap().failure().unwrap(), (1, "node_needed".to_owned()));
    let settings = bob.nepto(&format!("settings --node {node} --json")).await.unwrap().json().unwrap();
    assert_eq!(settings[0]["nodes"][0]["node"], anvil.url());
    assert_eq!(bob.nepto(&send).await.unwrap().json().unwrap()[0]["status"], "stored");
    let inbox = home.nepto("inbox --json --wait 20").await.unwrap().json().unwrap();
    assert_eq!(inbox[0]["text"], "hello");
}

#[tokio::test]
async fn a_token_opens_the_http_api_to_other_programs() {
    let stack = Stack::all().await.unwrap();
    let alice = Home::join(&stack, "alice").await.unwrap();
    let mine = async |token: &str| {
        let request = crate::http::client().get(format!("{}/v1/assets/mine", stack.url())).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    let said = alice.nepto("token").await.unwrap();
    assert_eq!(said.err, "", "nothing but the token");
    let token = said.well().unwrap();
    assert_eq!(mine(token.strip_suffix('\n').unwrap()).await, 200);
    let json = alice.nepto("token --json").await.unwrap().json().unwrap();
    assert_eq!(mine(json[0]["token"].as_str().unwrap()).await, 200);
    // neither who signed out has one, nor who never signed in
    alice.nepto("sign-out").await.unwrap().well().unwrap();
    for home in [alice, Home::new().unwrap()] {
        let refused = home.nepto("token --json").await.unwrap();
        assert_eq!(refused.out, "");
        assert_eq!(refused.failure().unwrap(), (3, "not_signed_in".to_owned()));
    }
}

#[tokio::test]
async fn scripts_can_tell_what_went_wrong() {
    let stack = Stack::all().await.unwrap();
    let home = Home::new().unwrap();
    let url = stack.url();
    let code = async |line: &str| home.nepto(&format!("{line} --json")).await.unwrap().failure().unwrap();
    assert_eq!(code("whoami").await, (3, "not_signed_in".to_owned()));
    assert_eq!(code("send").await, (2, "usage".to_owned()));
    assert_eq!(code(&format!("login --server {url}")).await.0, 2, "no wallet was named");
    assert_eq!(code(&format!("login --server {url} --keystore none.json")).await.0, 2);
    let folder = home.nepto(&format!("login --server {url} --keystore .")).await.unwrap();
    assert!(folder.code == 2 && folder.err.contains(". is a folder"), "{}", folder.err);
    let file = home.nepto("whoami --profile passphrase").await.unwrap();
    assert!(file.code == 2 && file.err.contains("passphrase is a file"), "{}", file.err);
    let login = ["login", "--server", &url, "--key-stdin", "--json"];
    let bad_key = home.with_input(&login, "not a key\n").await.unwrap().failure().unwrap();
    assert_eq!(bad_key, (1, "wallet".to_owned()));
    let nobody = ["login", "--server", "http://127.0.0.1:9", "--key-stdin", "--json"];
    let key = format!("{:064x}\n", 4711);
    let unreachable = home.with_input(&nobody, &key).await.unwrap();
    assert!(unreachable.err.contains(" at http://127.0.0.1:9/; check the address"), "{}", unreachable.err);
    assert_eq!(unreachable.failure().unwrap(), (5, "unreachable".to_owned()));
    let with_tls = url.replace("http://", "https://");
    let plain = home.with_input(&["login", "--server", &with_tls, "--key-stdin"], &key).await.unwrap();
    assert!(plain.code == 5 && plain.err.contains("did you mean http://"), "{}", plain.err);
    home.with_input(&login, &key).await.unwrap().well().unwrap();
    assert_eq!(code("send @nobody hello").await, (6, "account_unknown".to_owned()));
    assert_eq!(code("profile --handle A!").await, (4, "handle_invalid".to_owned()));
    // a wallet that certified this device does not go by surprise
    let wallet = home.nepto("whoami --json").await.unwrap().json().unwrap()[0]["wallet"].as_str().unwrap().to_owned();
    assert_eq!(code(&format!("wallets unlink {wallet}")).await, (2, "usage".to_owned()));
    home.nepto("sign-out").await.unwrap().well().unwrap();
    assert_eq!(code("whoami").await.0, 3);
}

#[tokio::test]
async fn who_is_signed_out_reads_the_command_that_signs_in_here() {
    let stack = Stack::all().await.unwrap();
    let home = Home::new().unwrap();
    let url = format!("{}/", stack.url());
    let login = format!("login --server {url} --new-keystore w.json --keystore-password-file passphrase --profile own");
    home.nepto(&login).await.unwrap().well().unwrap();
    let wanted = format!("nepto --profile own login --server {url} --keystore FILE");
    let out = home.nepto("--profile own sign-out").await.unwrap();
    assert!(out.code == 0 && out.err.contains(&wanted), "{}", out.err);
    let refused = home.nepto("--profile own whoami").await.unwrap();
    assert!(refused.code == 3 && refused.err.contains(&wanted), "{}", refused.err);
    // as it is pasted, with the file
    let pasted = format!("{} --keystore-password-file passphrase", wanted.replace("FILE", "w.json"));
    home.nepto(pasted.strip_prefix("nepto ").unwrap()).await.unwrap().well().unwrap();
    home.nepto("--profile own whoami").await.unwrap().well().unwrap();
    // nobody knows yet where somebody who never signed in would
    let nobody = home.nepto("--profile other whoami").await.unwrap();
    assert!(nobody.err.contains("sign in: nepto --profile other login --server URL"), "{}", nobody.err);
}

#[tokio::test]
async fn whom_a_command_waits_for_is_said_once_and_to_people_alone() {
    let stack = Stack::all().await.unwrap();
    let alice = Home::join(&stack, "alice").await.unwrap();
    let wanted = format!("Waiting for {}/ …\n", stack.url());
    for (line, said) in [("whoami", wanted.as_str()), ("whoami --json", "")] {
        stack.api.pause().unwrap();
        let goes_on = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            stack.api.resume().unwrap();
        };
        let (answer, ()) = tokio::join!(alice.nepto(line), goes_on);
        let answer = answer.unwrap();
        assert_eq!((answer.code, answer.err.as_str()), (0, said), "{line}");
    }
    let soon = alice.nepto("whoami").await.unwrap();
    assert_eq!((soon.code, soon.err.as_str()), (0, ""));
}

#[tokio::test]
async fn what_others_write_can_not_harm_a_terminal() {
    let stack = Stack::all().await.unwrap();
    let (alice, bob) = (Home::join(&stack, "alice").await.unwrap(), Home::join(&stack, "bob").await.unwrap());
    alice.with_input(&["send", "@bob"], "red \u{1b}[31m alert \u{7}\u{202e}txt.exe").await.unwrap().well().unwrap();
    let shown = bob.nepto("inbox --wait 20").await.unwrap().well().unwrap();
    assert!(shown.contains("alert"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown:?}");
}

#[tokio::test]
async fn completions_know_the_commands() {
    let home = Home::new().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.nepto(&format!("completions {shell}")).await.unwrap().well().unwrap();
        assert!(script.contains("safety-number") && script.contains("devices"), "{shell}");
    }
    let help = home.nepto("--help").await.unwrap().well().unwrap();
    assert!(help.contains("Exit codes") && help.contains("NEPTO_PASSPHRASE_FILE"));
}

#[tokio::test]
async fn an_operator_invites_somebody_and_frees_a_handle() {
    let stack = Stack::builder().set("sign_up.proof", "invite").all().await.unwrap();
    let (operator, guest) = (Home::new().unwrap(), Home::quick().unwrap());
    let admin = async |line: &str| {
        let line = format!("admin {line} --operator {} --json", stack.api.admin_url());
        operator.nepto(&line).await.unwrap()
    };
    let login = async |more: &str| {
        let line = format!("login --server {} --mnemonic-stdin --json {more}", stack.url());
        guest.with_input(&line.split_whitespace().collect::<Vec<_>>(), PHRASE).await.unwrap()
    };
    assert_eq!(login("").await.failure().unwrap(), (4, "invite_needed".to_owned()));
    assert_eq!(login("--invite abc").await.failure().unwrap(), (4, "invite_invalid".to_owned()));
    let made = admin("invites new --expires 1h").await.json().unwrap();
    let code = made[0]["codes"][0].as_str().unwrap().to_owned();
    let listed = admin("invites list").await.json().unwrap();
    assert_eq!((listed.len(), &listed[0]["uses_left"]), (1, &1.into()));
    assert_eq!(listed[0]["id"], made[0]["ids"][0], "the id that stands beside the code");
    login(&format!("--invite {code}")).await.json().unwrap();
    assert!(admin("invites list").await.json().unwrap().is_empty());
    // handles
    guest.nepto("profile --handle guest").await.unwrap().well().unwrap();
    assert_eq!(admin("handles release guest").await.failure().unwrap().1, "not_found");
    guest.nepto("profile --handle visitor").await.unwrap().well().unwrap();
    assert_eq!(admin("handles release @gue5t").await.json().unwrap()[0]["handle"], "guest");
}

#[tokio::test]
async fn a_command_that_is_over_soon_fills_the_stock_of_prekeys_up() -> Result<()> {
    let stack = Stack::builder().unlimited().all().await?;
    let alice = Home::join(&stack, "alice").await?;
    let asker = crate::people::Person::join(&stack).await?;
    let account = asker.client.resolve("@alice").await?.account;
    let next = async || {
        let bundles = asker.client.http().bundles(account, &[]).await?.bundles;
        anyhow::Ok(bundles.first().and_then(|bundle| bundle.ec_prekey.as_ref()).map(|key| key.id))
    };
    // strangers get half of them
    let mut taken = 0;
    while next().await?.is_some() {
        taken += 1;
    }
    ensure!(taken == 50, "{taken}");
    for command in ["inbox", "send @alice hello"] {
        let note = if command == "inbox" { "" } else { " --json" };
        alice.nepto(&format!("{command}{note}")).await?.well()?;
        ensure!(next().await?.is_some(), "nepto {command} left the stock as it was");
        while next().await?.is_some() {}
    }
    Ok(())
}
