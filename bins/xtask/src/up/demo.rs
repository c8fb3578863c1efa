//! `--demo`: two people sign in and talk, through the command-line client that everybody else uses too.
//!
//! What is shown is what was typed and what was answered. A message that does not arrive as it was sent fails the demo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use nepto_files::Readers;

use super::chain::Dev;
use crate::paths::short;

/// Where the demo takes place.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The command-line client.
    pub program: &'a Path,
    /// How a person would call it.
    pub shown: String,
    /// Folder of the two profiles; the next demo finds them there.
    pub folder: PathBuf,
    /// Where to sign in.
    pub server: String,
    /// The chain that fills their wallets, if it is ours.
    pub chain: Option<&'a Dev>,
    /// Set when the user has seen enough.
    pub interrupted: &'a AtomicBool,
}

/// The handles of the two.
const PEOPLE: [&str; 2] = ["demo_alice", "demo_bob"];
pub const ALICE: &str = PEOPLE[0];
pub const BOB: &str = PEOPLE[1];

/// Plays it, and says how to go on.
pub fn play(stage: &Stage<'_>) -> Result<()> {
    fs::create_dir_all(&stage.folder)?;
    write_passphrase(&stage.passphrase())?;
    println!("\nTwo people talk. Each line after a $ can be typed as it stands.\n");
    for who in PEOPLE {
        stage.sign_in(who)?;
    }
    stage.fill_wallets()?;
    stage.says(ALICE, BOB, "gm! this was encrypted before it left me")?;
    stage.hears(BOB, "gm! this was encrypted before it left me")?;
    stage.shown(BOB, &["contacts", "accept", &at(ALICE)])?;
    stage.says(BOB, ALICE, "gm to you. let us compare safety numbers")?;
    stage.hears(ALICE, "gm to you. let us compare safety numbers")?;
    let numbers = [stage.safety_number(ALICE, BOB)?, stage.safety_number(BOB, ALICE)?];
    if numbers[0] != numbers[1] {
        bail!("the two see different safety numbers: {numbers:?}");
    }
    println!("  They see the same digits: nobody is in between.\n");
    let passphrase = short(&stage.passphrase());
    println!("Go on in two other terminals:\n");
    for (who, peer) in [(ALICE, BOB), (BOB, ALICE)] {
        let Stage { shown, .. } = stage;
        let profile = short(&stage.profile(who));
        println!("  {shown} --profile {profile} --passphrase-file {passphrase} chat @{peer}");
    }
    println!("\nCtrl-C stops everything.");
    Ok(())
}

fn at(handle: &str) -> String {
    format!("@{handle}")
}

/// The demo's profiles hold nothing that is worth a secret, but a profile has a passphrase.
fn write_passphrase(path: &Path) -> Result<()> {
    Ok(nepto_files::write(path, "a passphrase for show\n", Readers::Owner)?)
}

impl Stage<'_> {
    fn passphrase(&self) -> PathBuf {
        self.folder.join("passphrase")
    }

    fn profile(&self, who: &str) -> PathBuf {
        self.folder.join(who)
    }

    /// With a new wallet the first time, with the same one from then on.
    pub fn sign_in(&self, who: &str) -> Result<()> {
        let wallet = self.folder.join(format!("{who}.wallet.json"));
        let is_new = !wallet.exists();
        let (wallet, password) = (short(&wallet), short(&self.passphrase()));
        let login = |flag: &'static str| {
            ["login", "--server", &self.server, flag, &wallet, "--keystore-password-file", &password]
        };
        // what is shown can be typed again, when the wallet is there
        let shown = login("--keystore");
        if is_new {
            println!("The first time, --new-keystore in the place of --keystore makes the wallet of {who}.");
            self.shown_as(who, &shown, &login("--new-keystore"))?;
        } else {
            self.shown(who, &shown)?;
        }
        self.shown(who, &["profile", "--handle", who]).map(drop)
    }

    fn fill_wallets(&self) -> Result<()> {
        let Some(chain) = self.chain else { return Ok(()) };
        let mut wallets = Vec::new();
        for who in PEOPLE {
            let me: serde_json::Value = serde_json::from_str(&self.run(who, &["whoami", "--json"])?)?;
            wallets.push(me["wallet"].as_str().context("no wallet in the answer")?.to_owned());
        }
        chain.fund(&wallets)?;
        println!("  Each has a pass, a badge, and 1,000 NEP, of which a tenth is staked.\n");
        Ok(())
    }

    /// Sends a message.
    pub fn says(&self, who: &str, to: &str, text: &str) -> Result<()> {
        self.shown(who, &["send", &at(to), text]).map(drop)
    }

    /// Receives a message, and fails if it is another one.
    pub fn hears(&self, who: &str, text: &str) -> Result<()> {
        self.hears_all(who, &[text.to_owned()])
    }

    /// Receives messages, and fails if one of them is missing when none of them comes any more.
    pub fn hears_all(&self, who: &str, texts: &[String]) -> Result<()> {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            let heard = self.shown(who, &["inbox", "--wait", "30"])?;
            // the client wraps long lines
            let heard = heard.split_whitespace().collect::<Vec<_>>().join(" ");
            let before = missing.len();
            missing.retain(|text| !heard.contains(text.as_str()));
            if missing.len() == before {
                bail!("{who} should have received {missing:?}");
            }
        }
        Ok(())
    }

    fn safety_number(&self, who: &str, peer: &str) -> Result<String> {
        self.shown(who, &["safety-number", &at(peer)])?;
        let json = self.run(who, &["safety-number", &at(peer), "--json"])?;
        let answer: serde_json::Value = serde_json::from_str(&json)?;
        let digits = answer["numbers"][0]["digits"].as_str().context("no safety number in the answer")?;
        Ok(digits.to_owned())
    }

    /// Runs the client, and shows what was typed and answered.
    fn shown(&self, who: &str, arguments: &[&str]) -> Result<String> {
        self.shown_as(who, arguments, arguments)
    }

    /// The same, where something else is to be typed the next time.
    fn shown_as(&self, who: &str, shown: &[&str], arguments: &[&str]) -> Result<String> {
        let typed: Vec<String> = shown.iter().map(|argument| as_typed(argument)).collect();
        let (profile, passphrase) = (short(&self.profile(who)), short(&self.passphrase()));
        println!("$ {} --profile {profile} --passphrase-file {passphrase} {}", self.shown, typed.join(" "));
        let answer = self.run(who, arguments)?;
        answer.lines().for_each(|line| println!("  {line}"));
        println!();
        Ok(answer)
    }

    /// What the client answered; both streams are shown if it failed.
    fn run(&self, who: &str, arguments: &[&str]) -> Result<String> {
        if self.interrupted.load(Ordering::SeqCst) {
            bail!("interrupted");
        }
        let mut command = Command::new(self.program);
        command.args(["--profile".as_ref(), self.profile(who).as_os_str()]);
        command.args(["--passphrase-file".as_ref(), self.passphrase().as_os_str()]).args(arguments);
        // `short` paths are relative to where we are, and so is the client
        let output = command.stdin(Stdio::null()).output().context("the chat client can't be started")?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let note = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            let folder = short(&self.folder);
            bail!("{answer}{note}the demo stopped there; to start it over, remove {folder}");
        }
        Ok(if answer.trim().is_empty() { note } else { answer })
    }
}

/// An argument as a person types it in a shell.
pub fn as_typed(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=".contains(c);
    if argument.chars().all(plain) { argument.to_owned() } else { format!("'{}'", argument.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        assert_eq!(as_typed("@bob"), "@bob");
        assert_eq!(as_typed("gm! you"), "'gm! you'");
        assert_eq!(as_typed("it's"), r"'it'\''s'");
    }
}
