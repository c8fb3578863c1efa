//! Who one is: account, profile, settings, passphrase.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use nepto_proto::api::accounts::{Account, UpdateProfile};
use serde_json::json;

use crate::app::App;
use crate::failure::Failure;
use crate::nodes::{self, Node, parse_node};
use crate::secret;
use crate::text::clean_name;

/// Shows or changes the profile.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto profile                                  show it
  nepto profile --handle alice --name \"Alice Liddell\"
  nepto profile --name \"\"                        remove the name")]
pub struct ProfileArgs {
    /// Unique handle: 3 to 32 of a-z, 0-9 and _, beginning with a letter; empty removes it
    #[arg(long, value_name = "HANDLE")]
    handle: Option<String>,

    /// Name that others see, up to 64 characters; empty removes it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Shows or changes settings.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Tell others when you have read their messages
    #[arg(long, value_name = "ON|OFF")]
    read_receipts: Option<Switch>,

    /// Tell others when you are typing
    #[arg(long, value_name = "ON|OFF")]
    typing: Option<Switch>,

    /// Ask this node about wallets that are contracts on a chain; several of one chain must agree. `CHAIN=`: none any more
    #[arg(long = "node", value_name = "CHAIN=URL", value_parser = parse_node)]
    nodes: Vec<Node>,
}

/// Changes the passphrase.
#[derive(Debug, Args)]
pub struct PassphraseArgs {
    /// File with the new passphrase on its first line; `-`: a line of standard input. Else it is asked for
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub async fn whoami(app: &App) -> Result<(), Failure> {
    let client = app.client().await?;
    let (me, wallets, sessions) = (client.whoami().await?, client.wallets().await?, client.sessions().await?);
    // one device, one session; after a second sign-in the newer one counts
    let session = sessions.iter().filter(|session| session.device == client.device()).max_by_key(|s| s.created_at);
    if app.json() {
        return app.say_json(&json!({
            "account": me.account,
            "handle": me.handle,
            "display_name": me.display_name,
            "wallet": me.wallet,
            "wallets": wallets.wallets,
            "device": client.device(),
            "session": session.map(|session| session.session),
            "server": client.http().server().as_str(),
        }));
    }
    show(app, &me)?;
    for wallet in wallets.wallets.iter().filter(|wallet| **wallet != me.wallet) {
        app.say(format!("wallet   {} (linked)", clean_name(wallet)))?;
    }
    app.say(format!("device   {}", client.device()))?;
    app.say(format!("server   {}", client.http().server()))?;
    match session {
        Some(session) => app.say(format!("session  {} since {}", session.session.uuid(), session.created_at.date())),
        None => Ok(()),
    }
}

pub async fn profile(app: &App, args: ProfileArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let me = if args.handle.is_none() && args.name.is_none() {
        client.whoami().await?
    } else {
        let handle = args.handle.map(|handle| handle.trim_start_matches('@').to_owned());
        client.set_profile(&UpdateProfile { handle, display_name: args.name }).await?
    };
    if app.json() { app.say_json(&me) } else { show(app, &me) }
}

fn show(app: &App, me: &Account) -> Result<(), Failure> {
    let or_none = |text: &Option<String>, hint: &str| match text.as_deref().map(clean_name) {
        Some(text) if !text.is_empty() => text,
        _ => format!("none yet: {} profile {hint}", app.nepto()),
    };
    app.say(format!("account  {}", me.account.uuid()))?;
    app.say(format!("handle   {}", or_none(&me.handle.as_ref().map(|h| format!("@{h}")), "--handle HANDLE")))?;
    app.say(format!("name     {}", or_none(&me.display_name, "--name NAME")))?;
    app.say(format!("wallet   {}", clean_name(&me.wallet)))
}

pub async fn settings(app: &App, args: SettingsArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let mut settings = client.settings()?;
    if let Some(switch) = args.read_receipts {
        settings.read_receipts = switch == Switch::On;
    }
    if let Some(switch) = args.typing {
        settings.typing = switch == Switch::On;
    }
    client.set_settings(&settings)?;
    let mut asked = client.nodes()?;
    if !args.nodes.is_empty() {
        nodes::replace(&mut asked, &args.nodes);
        client.set_nodes(&asked)?;
    }
    let asked = asked.iter().flat_map(|(chain, urls)| urls.iter().map(move |url| (*chain, nodes::shown(url))));
    if app.json() {
        let mut object = json!(settings);
        object["nodes"] = asked.map(|(chain, node)| json!({ "chain": chain, "node": node })).collect();
        return app.say_json(&object);
    }
    let word = |on: bool| if on { "on" } else { "off" };
    app.say(format!("read receipts  {}", word(settings.read_receipts)))?;
    app.say(format!("typing         {}", word(settings.typing)))?;
    for (chain, node) in asked {
        app.say(format!("chain {chain:<8} {}", clean_name(&node)))?;
    }
    Ok(())
}

pub async fn passphrase(app: &App, args: PassphraseArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let new = match &args.new_passphrase_file {
        Some(file) => secret::first_line(file, "the new passphrase")?,
        None => {
            secret::ask_twice("New passphrase: ", "there is no terminal to ask on: say --new-passphrase-file FILE")?
        }
    };
    if new.is_empty() {
        return Err(Failure::usage("the new passphrase is empty"));
    }
    client.change_passphrase(&new)?;
    app.note("The profile is under the new passphrase.");
    Ok(())
}
