//! People: who may write, who wrote, who is blocked.

use std::collections::HashMap;

use alloy_primitives::Address;
use clap::{Args, Subcommand};
use nepto_proto::AccountId;
use nepto_proto::api::accounts::{Consent, Contact};
use nepto_sdk::{Client, SdkError};
use serde_json::json;

use super::{find, table};
use crate::app::App;
use crate::failure::Failure;
use crate::names::Names;
use crate::text::clean_name;

/// Contacts per page, and pages read.
const PAGE: u32 = 200;
const PAGES_MAX: usize = 50;

/// Lists people, or decides about one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto contacts                    everybody you have met
  nepto contacts accept @bob        let @bob write to you; @bob sees receipts from now on
  nepto contacts block 0xf39F…      nothing of this account arrives any more; what it sends is refused
  nepto contacts who @bob           whom @bob means here, and whom the server says

A handle or an address means whom it meant when you used it first. If the server names somebody else, nothing is done until \
you say --accept-change.")]
pub struct ContactsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List everybody you have met
    List,
    /// Let somebody who asked write to you
    Accept {
        /// Wallet address, handle or account id
        peer: String,
    },
    /// Take nothing more of somebody
    Block {
        /// Wallet address, handle or account id
        peer: String,
    },
    /// Undo a block; what they write then are requests
    Unblock {
        /// Wallet address, handle or account id
        peer: String,
    },
    /// Show whom a name means here, which may be another one by now
    Who {
        /// Wallet address, handle or account id
        peer: String,

        /// From now on it means whom the server says
        #[arg(long)]
        accept_change: bool,
    },
}

pub async fn run(app: &App, args: ContactsArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let (peer, consent) = match args.action {
        None | Some(Action::List) => return list(app, &client).await,
        Some(Action::Who { peer, accept_change }) => return who(app, &client, &peer, accept_change).await,
        Some(Action::Accept { peer }) => (peer, Consent::Accepted),
        Some(Action::Block { peer }) => (peer, Consent::Blocked),
        Some(Action::Unblock { peer }) => (peer, Consent::Requested),
    };
    let account = find(&client, &peer).await?;
    let id = account.account;
    if id == client.account() {
        return Err(Failure::usage("that is your own account"));
    }
    let mut names = Names::of(&client);
    names.insert(account);
    match consent {
        Consent::Accepted => client.accept(id).await?,
        Consent::Blocked => client.block(id).await?,
        Consent::Requested => client.unblock(id).await?,
    }
    if app.json() {
        return app.say_json(&json!({ "account": id, "consent": consent }));
    }
    let nepto = app.nepto();
    app.note(match consent {
        Consent::Accepted => format!("{} may write to you. Answer: {nepto} chat {peer}", names.label(id)),
        Consent::Blocked => {
            format!("Nothing of {} arrives any more. Undo: {nepto} contacts unblock {peer}", names.label(id))
        }
        Consent::Requested => format!("{} is not blocked any more; what arrives are requests.", names.label(id)),
    });
    Ok(())
}

/// Whom a name means here, and whom the server says.
async fn who(app: &App, client: &Client, peer: &str, accept_change: bool) -> Result<(), Failure> {
    let found = if accept_change { client.accept_name(peer).await } else { client.resolve(peer).await };
    let moved = match found {
        Ok(found) => {
            let (account, wallet) = (found.account, found.wallet);
            if app.json() {
                return app.say_json(&json!({ "name": peer, "account": account, "wallet": wallet, "moved": false }));
            }
            return app.say(format!("{} means {wallet} (account {})", clean_name(peer), account.uuid()));
        }
        Err(moved @ SdkError::NameMoved { .. }) => moved,
        Err(error) => return Err(error.into()),
    };
    let SdkError::NameMoved { account, meant, now, now_wallet, .. } = &moved else { return Err(moved.into()) };
    if app.json() {
        return app.say_json(&json!({
            "name": peer, "account": account, "wallet": meant, "moved": true, "now": now, "now_wallet": now_wallet,
        }));
    }
    let peer = clean_name(peer);
    app.say(format!("{peer} means {meant} (account {}) here", account.uuid()))?;
    app.say(format!(
        "The server says that it is {} (account {}) now. Do you mean that one?",
        clean_name(now_wallet),
        now.uuid()
    ))?;
    app.note(format!("  {} contacts who {peer} --accept-change", app.nepto()));
    Ok(())
}

async fn list(app: &App, client: &Client) -> Result<(), Failure> {
    let contacts = all(client).await?;
    let conversations = client.conversations()?.into_iter().chain(client.requests()?);
    let unread: HashMap<AccountId, u32> = conversations.map(|c| (c.peer, c.unread)).collect();
    let unread_of = |contact: &Contact| unread.get(&contact.account.account).copied().unwrap_or(0);
    if app.json() {
        for contact in &contacts {
            let mut object = json!(contact);
            object["unread"] = unread_of(contact).into();
            app.say_json(&object)?;
        }
        return Ok(());
    }
    if contacts.is_empty() {
        app.note(format!("Nobody yet. Write to somebody: {} chat 0x…", app.nepto()));
        return Ok(());
    }
    let mut rows = Vec::new();
    for contact in &contacts {
        let handle = contact.account.handle.as_deref().map(|h| format!("@{}", clean_name(h))).unwrap_or_default();
        let name = contact.account.display_name.as_deref().map(clean_name).unwrap_or_default();
        let unread = unread_of(contact);
        rows.push([
            handle,
            name,
            // what the server calls a wallet is shown only if it is one
            contact.account.wallet.parse::<Address>().map(|wallet| wallet.to_string()).unwrap_or_default(),
            consent_word(contact.consent).to_owned(),
            if unread > 0 { unread.to_string() } else { String::new() },
        ]);
    }
    table::print(app, ["HANDLE", "NAME", "WALLET", "STATE", "UNREAD"], &rows)
}

fn consent_word(consent: Consent) -> &'static str {
    match consent {
        Consent::Requested => "request",
        Consent::Accepted => "accepted",
        Consent::Blocked => "blocked",
    }
}

async fn all(client: &Client) -> Result<Vec<Contact>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let page = client.contacts(after, PAGE).await?;
        for contact in page.contacts {
            all.push(Contact { account: client.as_known(contact.account)?, ..contact });
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(all)
}
