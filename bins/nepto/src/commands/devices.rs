//! One's own devices.

use clap::{Args, Subcommand};
use nepto_proto::DeviceId;
use nepto_proto::api::keys::OwnDevice;
use nepto_sdk::model::Notice;
use nepto_sdk::revoke_device_by_wallet;
use serde_json::json;

use super::table;
use crate::app::App;
use crate::failure::Failure;
use crate::names::{Names, short_address};
use crate::render::notice_text;
use crate::text::clean_name;
use crate::wallet::WalletArgs;

/// Lists or revokes devices.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List your devices
    List,
    /// Revoke a device: it is signed out and gets no more messages
    Revoke(Box<RevokeArgs>),
}

/// Revokes a device.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto devices revoke 3
  nepto devices revoke 3 --server https://chat.example.org --keystore wallet.json    without being signed in

The second form is for who lost the device, or can't sign in because the account has as many as it may.")]
struct RevokeArgs {
    /// Its number in the list
    device: DeviceId,

    /// With a wallet: the server, as no profile is needed
    #[arg(long, value_name = "URL", requires = "wallet")]
    server: Option<String>,

    /// With a wallet: the domain the server signs in for, where it is not its address
    #[arg(long, value_name = "DOMAIN", requires = "wallet")]
    domain: Option<String>,

    #[command(flatten)]
    wallet: WalletArgs,
}

pub async fn run(app: &App, args: DevicesArgs) -> Result<(), Failure> {
    match args.action {
        None | Some(Action::List) => {
            let client = app.client().await?;
            let devices = client.devices().await?;
            print(app, &devices, Some(client.device()))?;
            for (device, since_ms) in client.missed()? {
                let Some(listed) = devices.iter().find(|listed| listed.device == device) else { continue };
                let text = notice_text(&Notice::Missed { device, since_ms }, client.account(), &Names::of(&client));
                let is_back = device == client.device() || was_seen(listed, since_ms);
                let over = if is_back { "; it came back, and gets everything again" } else { "" };
                app.note(format!("note: {text}{over}"));
            }
            Ok(())
        }
        Some(Action::Revoke(args)) => revoke(app, *args).await,
    }
}

/// Prints devices: a table, or with `--json` an object on each line. `this` is marked as the one at hand.
pub fn print(app: &App, devices: &[OwnDevice], this: Option<DeviceId>) -> Result<(), Failure> {
    if app.json() {
        for device in devices {
            let mut object = json!(device);
            object["this"] = (Some(device.device) == this).into();
            app.say_json(&object)?;
        }
        return Ok(());
    }
    let rows: Vec<[String; 5]> = devices
        .iter()
        .map(|device| {
            let name = clean_name(&device.name);
            [
                device.device.to_string(),
                if Some(device.device) == this { format!("{name} (this one)") } else { name },
                short_address(&device.wallet),
                device.created_at.date().to_string(),
                device.last_seen_at.date().to_string(),
            ]
        })
        .collect();
    table::print(app, ["NUMBER", "NAME", "WALLET", "SINCE", "SEEN"], &rows)
}

/// Whether a device that missed messages was there since.
fn was_seen(device: &OwnDevice, since_ms: u64) -> bool {
    device.last_seen_at.unix_timestamp_nanos() / 1_000_000 > i128::from(since_ms)
}

async fn revoke(app: &App, args: RevokeArgs) -> Result<(), Failure> {
    if args.wallet.is_given() {
        let server = args.server.ok_or_else(|| Failure::usage("say at which server: --server URL"))?;
        let wallet = args.wallet.open()?;
        revoke_device_by_wallet(&server, args.domain.as_deref(), &wallet, args.device, &app.env).await?;
    } else {
        let client = app.client().await?;
        if args.device == client.device() {
            return Err(Failure::usage("that is this device; sign it out: nepto sign-out"));
        }
        client.revoke_device(args.device).await?;
    }
    if app.json() {
        return app.say_json(&json!({ "revoked": args.device }));
    }
    app.note(format!("Device {} is revoked: it is signed out and gets no more messages.", args.device));
    Ok(())
}
