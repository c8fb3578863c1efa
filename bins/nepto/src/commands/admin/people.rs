//! Who may come, and under which name: invites for new accounts, and handles that rest.

use std::time::Duration;

use clap::Subcommand;
use nepto_proto::api::operator::{Invites, MakeInvites, NewInvites, ReleasedHandle};
use reqwest::Method;
use serde_json::json;

use super::{Operator, done, one_part, when};
use crate::app::App;
use crate::commands::table;
use crate::duration::parse_lifetime;
use crate::failure::Failure;
use crate::text::clean_line;

/// Invites that are shown at most; the server keeps more only for who makes very many.
const SHOWN_MAX: usize = 20_000;

/// `nepto admin invites`: what is done with invite codes.
#[derive(Debug, Subcommand)]
pub enum InvitesWhat {
    /// Make codes; each is shown once, with the id that takes it back
    New {
        /// How many codes
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=500))]
        count: u32,
        /// New accounts that each lets in
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        uses: u32,
        /// How long they are good, with a unit: 12h, 30d
        #[arg(long, value_name = "TIME", default_value = "14d", value_parser = parse_lifetime)]
        expires: Duration,
    },
    /// Show those that still work
    List,
    /// Drop one, by the id that stands beside its code and in the list
    Drop {
        /// Its id, as in the list
        id: String,
    },
}

/// `nepto admin handles`: what is done with handles.
#[derive(Debug, Subcommand)]
pub enum HandlesWhat {
    /// Free a handle that its last holder gave up, before it has rested
    Release {
        /// The handle, with or without its @
        handle: String,
    },
}

pub async fn invites(app: &App, operator: &Operator, what: InvitesWhat) -> Result<(), Failure> {
    match what {
        InvitesWhat::New { count, uses, expires } => {
            let body = json!(MakeInvites { count, uses, expires_after_s: expires.as_secs() });
            let made: NewInvites = operator.ask(Method::POST, "/invites", Some(body)).await?;
            if app.json() {
                return app.say_json(&made);
            }
            for (code, id) in made.codes.iter().zip(&made.ids) {
                app.say(format!("{}  {}", clean_line(code), clean_line(id)))?;
            }
            app.note(format!(
                "Good until {} for {uses} new account{} each: nepto login --server URL --invite CODE …\n\
                 Behind each code stands its id, to take it back: nepto admin invites drop ID",
                when(app, made.expires_at),
                if uses == 1 { "" } else { "s" }
            ));
            Ok(())
        }
        InvitesWhat::List => list(app, operator).await,
        InvitesWhat::Drop { id } => {
            operator.order(Method::DELETE, &format!("/invites/{}", one_part(&id)?)).await?;
            done(app, &json!({ "dropped": id }), &format!("Dropped {id}."))
        }
    }
}

async fn list(app: &App, operator: &Operator) -> Result<(), Failure> {
    let mut all = Vec::new();
    while all.len() < SHOWN_MAX {
        let after = all.last().map_or("", |last: &nepto_proto::api::operator::Invite| last.id.as_str());
        let page: Invites = operator.get(&format!("/invites?after={after}")).await?;
        if page.invites.is_empty() {
            break;
        }
        all.extend(page.invites);
    }
    if app.json() {
        return all.iter().try_for_each(|invite| app.say_json(invite));
    }
    if all.is_empty() {
        return app.say("No invite works now: nepto admin invites new");
    }
    let rows: Vec<[String; 4]> = all
        .iter()
        .map(|invite| {
            let (made, until) = (when(app, invite.created_at), when(app, invite.expires_at));
            [clean_line(&invite.id), invite.uses_left.to_string(), made, until]
        })
        .collect();
    table::print(app, ["ID", "USES LEFT", "MADE", "GOOD UNTIL"], &rows)
}

pub async fn handles(app: &App, operator: &Operator, what: HandlesWhat) -> Result<(), Failure> {
    let HandlesWhat::Release { handle } = what;
    let path = format!("/handles/{}/release", one_part(handle.trim_start_matches('@'))?);
    let released: ReleasedHandle = operator.ask(Method::POST, &path, None).await?;
    done(app, &json!(released), &format!("@{} is free.", clean_line(&released.handle)))
}
