//! Where one is signed in.

use clap::Args;
use serde_json::json;

use super::table;
use crate::app::App;
use crate::failure::Failure;
use crate::names::short_address;

/// Signs out.
#[derive(Debug, Args)]
pub struct SignOutArgs {
    /// On all devices
    #[arg(long)]
    everywhere: bool,
}

pub async fn list(app: &App) -> Result<(), Failure> {
    let client = app.client().await?;
    let sessions = client.sessions().await?;
    if app.json() {
        return sessions.iter().try_for_each(|session| app.say_json(session));
    }
    let rows: Vec<[String; 5]> = sessions
        .iter()
        .map(|session| {
            let this = if session.device == client.device() { " (this one)" } else { "" };
            [
                session.session.uuid().to_string(),
                format!("{}{this}", session.device),
                short_address(&session.wallet),
                session.created_at.date().to_string(),
                session.refreshed_at.date().to_string(),
            ]
        })
        .collect();
    table::print(app, ["SESSION", "DEVICE", "WALLET", "SINCE", "REFRESHED"], &rows)
}

/// Prints nothing but the token, for scripts.
pub async fn token(app: &App) -> Result<(), Failure> {
    let token = app.client().await?.http().access_token().await?;
    if app.json() { app.say_json(&json!({ "token": token })) } else { app.say(token) }
}

pub async fn sign_out(app: &App, args: SignOutArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    client.sign_out(args.everywhere).await?;
    if app.json() {
        return app.say_json(&json!({ "signed_out": true, "everywhere": args.everywhere }));
    }
    let where_it_stays = match args.everywhere {
        true => "on all devices. The history stays in each profile",
        false => "here. The history stays in the profile",
    };
    app.note(format!("Signed out {where_it_stays}, and goes on after: {}", app.hints.login()));
    Ok(())
}
