//! The wallets of the account.

use std::path::PathBuf;

use alloy_primitives::Address;
use clap::{Args, Subcommand};
use nepto_proto::api::auth::Wallets;

use crate::app::App;
use crate::failure::Failure;
use crate::text::clean_name;
use crate::wallet::{WalletArgs, key_from_stdin, open_keystore};

/// Lists, links or unlinks wallets.
#[derive(Debug, Args)]
pub struct WalletsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List your wallets
    List,
    /// Link another wallet: both sign, so that everybody can check it
    Link(LinkArgs),
    /// Unlink a wallet; devices that it certified are not genuine any more
    Unlink {
        /// Its address (0x and 40 hexadecimal digits, in any capitals)
        address: Address,

        /// Also if it certified devices, which are signed out then
        #[arg(long)]
        yes: bool,
    },
}

/// Links a wallet.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto wallets link --keystore main.json --add-keystore second.json
  printf '%s\\n%s\\n' \"$MAIN_KEY\" \"$SECOND_KEY\" | nepto wallets link --key-stdin --add-key-stdin")]
struct LinkArgs {
    /// Keystore of the wallet to add
    #[arg(long, value_name = "FILE", group = "added", help_heading = "Wallet to add (one of them)")]
    add_keystore: Option<PathBuf>,

    /// Read the private key of the wallet to add from a line of standard input, after everything else
    #[arg(long, group = "added", help_heading = "Wallet to add (one of them)")]
    add_key_stdin: bool,

    /// File with the password of the keystore to add; `-`: a line of standard input
    #[arg(long, value_name = "FILE", requires = "add_keystore", help_heading = "Wallet to add (one of them)")]
    add_keystore_password_file: Option<PathBuf>,

    #[command(flatten)]
    wallet: WalletArgs,
}

pub async fn run(app: &App, args: WalletsArgs) -> Result<(), Failure> {
    match args.action {
        None | Some(Action::List) => print(app, &app.client().await?.wallets().await?),
        Some(Action::Link(args)) => link(app, args).await,
        Some(Action::Unlink { address, yes }) => unlink(app, address, yes).await,
    }
}

/// Devices that the wallet certified go with it; one's own must not go by surprise.
async fn unlink(app: &App, address: Address, yes: bool) -> Result<(), Failure> {
    let client = app.client().await?;
    let wallet = address.to_string();
    let devices = client.devices().await?;
    let certified: Vec<String> =
        devices.iter().filter(|device| device.wallet == wallet).map(|device| device.device.to_string()).collect();
    if !certified.is_empty() && !yes {
        let detail = format!(
            "{wallet} certified device {}, which would be signed out; say --yes if you mean that, or sign in there \
             again with another wallet first",
            certified.join(", ")
        );
        return Err(Failure::usage(detail));
    }
    print(app, &client.unlink_wallet(address).await?)
}

async fn link(app: &App, args: LinkArgs) -> Result<(), Failure> {
    if args.add_keystore.is_none() && !args.add_key_stdin {
        return Err(Failure::usage("say which wallet to add: --add-keystore FILE or --add-key-stdin"));
    }
    let client = app.client().await?;
    let existing = args.wallet.open()?;
    let new = match &args.add_keystore {
        Some(keystore) => open_keystore(keystore, args.add_keystore_password_file.as_deref())?,
        None => key_from_stdin()?,
    };
    print(app, &client.link_wallet(&existing, &new).await?)
}

fn print(app: &App, wallets: &Wallets) -> Result<(), Failure> {
    if app.json() {
        return app.say_json(wallets);
    }
    for wallet in &wallets.wallets {
        let note = if *wallet == wallets.root { "  names the account" } else { "" };
        app.say(format!("{}{note}", clean_name(wallet)))?;
    }
    Ok(())
}
