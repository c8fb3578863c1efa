//! Signing in with a wallet.

use std::path::PathBuf;

use clap::Args;
use nepto_proto::ErrorCode;
use nepto_proto::api::keys::OwnDevice;
use nepto_sdk::{ChainNodes, Client, LoginOptions, SdkError, Wallet};
use serde_json::json;

use super::devices;
use crate::app::App;
use crate::failure::{Exit, Failure};
use crate::nodes::{self, Node, parse_node};
use crate::wallet::{self, WalletArgs};

/// Signs in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto login --server https://chat.example.org --new-keystore wallet.json     no wallet yet
  nepto login --server https://chat.example.org --keystore ~/.foundry/keystores/main
  nepto login --server https://chat.example.org --mnemonic-stdin < phrase.txt
  nepto --profile ~/bot login --server https://chat.example.org --key-stdin --device-name bot < key.txt
  nepto login --server https://chat.example.org --keystore owner.json --contract-wallet 0x… --chain-id 10 \
    --node 10=https://node.example.org                                         a wallet that is a contract

Signing in again with the same profile keeps the device and its history.")]
pub struct LoginArgs {
    /// Address of the server
    #[arg(long, value_name = "URL")]
    server: String,

    /// What your list of devices calls this one [default: as before, or nepto on the machine's name]
    #[arg(long, value_name = "NAME")]
    device_name: Option<String>,

    /// An invite code, where the server asks for one of wallets that have no account there yet
    #[arg(long, value_name = "CODE")]
    invite: Option<String>,

    /// The domain the server signs in for, where it is not its address: behind a tunnel
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,

    /// Make a new wallet and write its encrypted keystore; keep file and password, they are your account
    #[arg(
        long,
        value_name = "FILE",
        group = "wallet",
        conflicts_with_all = ["index", "contract_wallet"],
        help_heading = "Wallet (one of them)"
    )]
    new_keystore: Option<PathBuf>,

    #[command(flatten)]
    wallet: WalletArgs,

    /// Ask this node about wallets that are contracts on a chain, yours and others'; several of one chain must agree
    #[arg(long = "node", value_name = "CHAIN=URL", value_parser = parse_node, help_heading = "Contract wallet")]
    nodes: Vec<Node>,
}

pub async fn run(app: &App, args: LoginArgs) -> Result<(), Failure> {
    if args.new_keystore.is_none() && !args.wallet.is_given() {
        let detail = "say which wallet signs in: --keystore FILE, --new-keystore FILE (if you have none yet), \
                      --key-stdin or --mnemonic-stdin";
        return Err(Failure::usage(detail));
    }
    // in this order, so that a script can give both on standard input
    let location = app.location_for_login()?;
    let wallet = match &args.new_keystore {
        Some(file) => wallet::create_keystore(file, args.wallet.keystore_password_file.as_deref(), &app.env)?,
        None => args.wallet.open()?,
    };
    if let Some(file) = &args.new_keystore {
        app.note(format!(
            "Wallet {} is in {}. Keep a copy of it and its password: they are your account.",
            wallet.address(),
            file.display()
        ));
    }
    let mut named = ChainNodes::new();
    nodes::replace(&mut named, &args.nodes);
    let options = LoginOptions {
        location,
        nodes: named,
        keeps_name: args.device_name.is_none(),
        device_name: args.device_name.unwrap_or_else(default_device_name),
        invite: args.invite,
        domain: args.domain,
        env: app.env.clone(),
        ..LoginOptions::new(&args.server)
    };
    app.hints.set_server(&args.server);
    let folders = app.make_folder()?;
    let signed_in = Client::login(options, &wallet).await;
    if signed_in.is_err() {
        folders.remove_if_empty();
    }
    match signed_in {
        Ok(client) => welcome(app, &client, &wallet).await,
        Err(SdkError::Server { code: ErrorCode::DeviceLimit, devices, .. }) => {
            Err(device_limit(app, &args.server, &devices))
        }
        Err(error) => Err(written(error.into(), args.new_keystore.as_deref())),
    }
}

async fn welcome(app: &App, client: &Client, wallet: &Wallet) -> Result<(), Failure> {
    let (account, device) = (client.account(), client.device());
    if app.json() {
        return app.say_json(&json!({
            "address": wallet.address().to_string(),
            "account": account,
            "device": device,
            "server": client.http().server().as_str(),
        }));
    }
    app.say(format!("Signed in at {}", client.http().server()))?;
    app.say(format!("  address  {}", wallet.address()))?;
    app.say(format!("  account  {}", account.uuid()))?;
    app.say(format!("  device   {device}"))?;
    let nepto = app.nepto();
    let has_handle = client.whoami().await.is_ok_and(|me| me.handle.is_some());
    app.note("\nNext:");
    if !has_handle {
        app.note(format!("  {nepto} profile --handle HANDLE    choose a handle, so that people find you"));
    }
    app.note(format!(
        "  {nepto} chat PEER                  chat with a wallet address or @handle\n  \
         {nepto} inbox                      what arrived"
    ));
    Ok(())
}

fn device_limit(app: &App, server: &str, all: &[OwnDevice]) -> Failure {
    if !app.json() {
        let _ = devices::print(app, all, None);
    }
    let oldest = all.iter().min_by_key(|device| device.last_seen_at).map_or(1, |device| u32::from(device.device));
    let detail = format!(
        "the account has as many devices as it may. Revoke one with the wallet alone, for example the one that was \
         seen longest ago: nepto devices revoke {oldest} --server {server} --keystore FILE (or --key-stdin, \
         --mnemonic-stdin); then sign in again"
    );
    Failure::new(Exit::Refused, ErrorCode::DeviceLimit.as_str(), detail)
}

/// A wallet that was made stays, although signing in failed.
fn written(mut failure: Failure, keystore: Option<&std::path::Path>) -> Failure {
    if let Some(file) = keystore {
        failure.detail.push_str(&format!(". The wallet is in {0}: next time use --keystore {0}", file.display()));
    }
    failure
}

fn default_device_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match crate::text::clean_name(&host) {
        host if host.is_empty() => "nepto".to_owned(),
        host => format!("nepto on {host}").chars().take(nepto_proto::limits::NAME_CHARS_MAX).collect(),
    }
}
