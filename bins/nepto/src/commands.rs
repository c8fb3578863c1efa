//! One file for each group of commands.

pub mod account;
pub mod admin;
pub mod channel;
pub mod community;
pub mod contacts;
pub mod devices;
pub mod follow;
pub mod history;
pub mod inbox;
pub mod login;
pub mod message;
pub mod named;
pub mod post;
pub mod progress;
pub mod read;
pub mod role;
pub mod safety;
pub mod save;
pub mod send;
pub mod sessions;
pub mod shell;
pub mod table;
pub mod wallets;

use nepto_proto::AccountId;
use nepto_proto::api::accounts::Account;
use nepto_sdk::Client;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::chat;
use crate::cli::Command;
use crate::failure::{Exit, Failure};
use crate::names::Names;

/// Runs a command. What its failure says is to be typed can be.
pub async fn run(app: App, command: Command) -> Result<(), Failure> {
    let hints = app.hints.clone();
    ran(app, command).await.map_err(|failure| hints.completed(failure))
}

async fn ran(app: App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Login(args) => login::run(&app, args).await,
        Command::Whoami => account::whoami(&app).await,
        Command::Profile(args) => account::profile(&app, args).await,
        Command::Settings(args) => account::settings(&app, args).await,
        Command::Passphrase(args) => account::passphrase(&app, args).await,
        Command::Chat(args) => chat::run(app, args).await,
        Command::Send(args) => send::run(&app, args).await,
        Command::Save(args) => save::run(&app, args).await,
        Command::Inbox(args) => inbox::run(&app, args).await,
        Command::History(args) => history::run(&app, args).await,
        Command::Contacts(args) => contacts::run(&app, args).await,
        Command::Community(args) => community::run(&app, args).await,
        Command::Channel(args) => channel::run(&app, args).await,
        Command::Role(args) => role::run(&app, args).await,
        Command::Post(args) => post::run(&app, args).await,
        Command::Read(args) => read::run(&app, args).await,
        Command::Unread(args) => read::unread(&app, args).await,
        Command::Follow(args) => follow::run(&app, args).await,
        Command::Message(args) => message::run(&app, args).await,
        Command::SafetyNumber(args) => safety::run(&app, args).await,
        Command::Devices(args) => devices::run(&app, args).await,
        Command::Wallets(args) => wallets::run(&app, args).await,
        Command::Sessions => sessions::list(&app).await,
        Command::Token => sessions::token(&app).await,
        Command::SignOut(args) => sessions::sign_out(&app, args).await,
        Command::Admin(args) => admin::run(&app, args).await,
        Command::Completions(args) => shell::completions(&app, args),
    }
}

/// Finds who is meant by an address, a handle or an account id.
pub async fn find(client: &Client, peer: &str) -> Result<Account, Failure> {
    Ok(client.resolve(peer).await?)
}

/// The same, or a failure once it is later than that.
pub async fn find_by(client: &Client, peer: &str, deadline: Instant) -> Result<Account, Failure> {
    let late = || Failure::timeout(&format!("{} did not answer in time", client.http().server()));
    timeout_at(deadline, find(client, peer)).await.unwrap_or_else(|_| Err(late()))
}

/// Who is meant, as this profile knows it, so that nothing waits for the server; else who `ask` finds, who gets a name. Handles
/// are always asked for, because they move. Without the server they mean whom they meant before.
pub async fn known_or(
    client: &Client,
    peer: &str,
    names: &mut Names,
    ask: impl Future<Output = Result<Account, Failure>>,
) -> Result<AccountId, Failure> {
    if let Some(account) = client.known(peer)? {
        names.remember(client, account);
        return Ok(account);
    }
    match ask.await {
        Ok(found) => {
            let account = found.account;
            names.insert(found);
            Ok(account)
        }
        Err(failure) if matches!(failure.exit, Exit::Unreachable | Exit::NotSignedIn) => {
            let account = client.remembered(peer)?.ok_or(failure)?;
            names.remember(client, account);
            Ok(account)
        }
        Err(failure) => Err(failure),
    }
}
