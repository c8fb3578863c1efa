//! Members of a community, and keeping order among them.

use std::time::Duration;

use clap::Args;
use nepto_proto::AccountId;
use nepto_proto::api::communities::members::{AuditEntry, Member, NewBan, TimeOut};
use nepto_proto::api::endpoints::communities::{AuditPage, CommunityPath, ReadAuditLog};
use nepto_proto::api::endpoints::community_members::{
    BanMember, Because, KickMember, LiftTimeOut, MemberPath, TimeOutMember, UnbanMember,
};
use nepto_sdk::Client;
use serde_json::{Value, json};

use crate::app::App;
use crate::commands::named::{self, NONE};
use crate::commands::table;
use crate::duration::parse_wait;
use crate::failure::Failure;
use crate::json;
use crate::names::Names;
use crate::text::{clean_line, clean_name};

/// Lists members.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Name or id of the community
    community: String,

    /// So many at most
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// From behind this account on, which is the `next` of an earlier list
    #[arg(long, value_name = "ACCOUNT")]
    after: Option<AccountId>,
}

/// Does something to somebody, and says why.
#[derive(Debug, Args)]
pub struct ReasonArgs {
    /// Name or id of the community
    community: String,

    /// Wallet address, handle or account id
    peer: String,

    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
}

/// Bans somebody.
#[derive(Debug, Args)]
pub struct BanArgs {
    #[command(flatten)]
    whom: ReasonArgs,

    /// For so long, like 12h or 30d [default: for good]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_wait)]
    time: Option<Duration>,
}

/// Times somebody out.
#[derive(Debug, Args)]
pub struct TimeOutArgs {
    #[command(flatten)]
    whom: ReasonArgs,

    /// For so long, like 10m or 7d; 28d at most
    #[arg(long = "for", value_name = "TIME", value_parser = parse_wait, required_unless_present = "lift")]
    time: Option<Duration>,

    /// End it now
    #[arg(long, conflicts_with = "time")]
    lift: bool,
}

/// Reads the audit log.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Name or id of the community
    community: String,

    /// So many entries at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub async fn list(app: &App, client: &Client, args: ListArgs) -> Result<(), Failure> {
    let community = named::community(client, &args.community).await?;
    let (members, next) = client.members(community, args.after, args.limit as usize).await?;
    let mut names = Names::of(client);
    names.learn(client, members.iter().map(|member| member.account)).await;
    if app.json() {
        members.iter().try_for_each(|member| app.say_json(&with_name(member, &names)))?;
    } else {
        let roles = client.roles(community).await?;
        let row = |member: &Member| {
            let timed_out = member.timed_out_until.map(|until| format!("only reads until {}", named::when(app, until)));
            [
                names.label(member.account),
                named::role_names(&roles, &member.roles),
                named::when(app, member.joined_at),
                timed_out.unwrap_or_default(),
            ]
        };
        let rows: Vec<[String; 4]> = members.iter().map(row).collect();
        table::print(app, ["MEMBER", "ROLES", "SINCE", "STATE"], &rows)?;
    }
    if let Some(next) = next {
        let (nepto, id) = (app.nepto(), community.uuid());
        app.note(format!("There are more: {nepto} community members {id} --after {}", next.uuid()));
    }
    Ok(())
}

fn with_name(member: &Member, names: &Names) -> Value {
    let mut object = json!(member);
    object["peer"] = json::account(member.account, names);
    object
}

pub async fn kick(app: &App, client: &Client, args: ReasonArgs) -> Result<(), Failure> {
    let (path, because) = args.read(client).await?;
    client.http().call::<KickMember>(&path, &because, &()).await?;
    if app.json() {
        return app.say_json(&json!({ "account": path.account, "kicked": true }));
    }
    app.say(format!("{} is no member any more, and may come back", clean_name(&args.peer)))
}

pub async fn ban(app: &App, client: &Client, args: BanArgs) -> Result<(), Failure> {
    let (path, because) = args.whom.read(client).await?;
    let for_s = args.time.map(|time| time.as_secs());
    let new = NewBan { for_s, reason: because.reason.unwrap_or_default() };
    let ban = client.http().call::<BanMember>(&path, NONE, &new).await?;
    if app.json() {
        return app.say_json(&ban);
    }
    let peer = clean_name(&args.whom.peer);
    app.say(match ban.until {
        Some(until) => format!("{peer} is banned until {}", named::when(app, until)),
        None => format!("{peer} is banned"),
    })
}

pub async fn bans(app: &App, client: &Client, named: &str) -> Result<(), Failure> {
    let community = named::community(client, named).await?;
    let bans = client.bans(community).await?;
    if app.json() {
        return bans.iter().try_for_each(|ban| app.say_json(ban));
    }
    if bans.is_empty() {
        app.note("Nobody is banned.");
        return Ok(());
    }
    let mut names = Names::of(client);
    names.learn(client, bans.iter().flat_map(|ban| [ban.account, ban.by])).await;
    let rows: Vec<[String; 5]> = bans
        .iter()
        .map(|ban| {
            [
                names.label(ban.account),
                names.label(ban.by),
                named::when(app, ban.since),
                ban.until.map_or_else(|| "for good".to_owned(), |until| named::when(app, until)),
                clean_line(&ban.reason),
            ]
        })
        .collect();
    table::print(app, ["WHO", "BY", "SINCE", "UNTIL", "WHY"], &rows)
}

pub async fn unban(app: &App, client: &Client, args: ReasonArgs) -> Result<(), Failure> {
    let (path, because) = args.read(client).await?;
    client.http().call::<UnbanMember>(&path, &because, &()).await?;
    if app.json() {
        return app.say_json(&json!({ "account": path.account, "banned": false }));
    }
    app.say(format!("{} may join again", clean_name(&args.peer)))
}

pub async fn time_out(app: &App, client: &Client, args: TimeOutArgs) -> Result<(), Failure> {
    let (path, because) = args.whom.read(client).await?;
    let peer = clean_name(&args.whom.peer);
    let Some(time) = args.time else {
        client.http().call::<LiftTimeOut>(&path, &because, &()).await?;
        if app.json() {
            return app.say_json(&json!({ "account": path.account, "timed_out": false }));
        }
        return app.say(format!("{peer} is not timed out any more"));
    };
    let new = TimeOut { for_s: time.as_secs(), reason: because.reason.unwrap_or_default() };
    let member = client.http().call::<TimeOutMember>(&path, NONE, &new).await?;
    if app.json() {
        return app.say_json(&member);
    }
    let until = member.timed_out_until.map(|until| format!(" until {}", named::when(app, until)));
    app.say(format!("{peer} can only read{}", until.unwrap_or_default()))
}

pub async fn audit(app: &App, client: &Client, args: AuditArgs) -> Result<(), Failure> {
    let path = CommunityPath { community: named::community(client, &args.community).await? };
    let (mut entries, mut page) = (Vec::new(), AuditPage::default());
    while entries.len() < args.limit as usize {
        let answer = client.http().call::<ReadAuditLog>(&path, &page, &()).await?;
        entries.extend(answer.entries);
        page.after = answer.next;
        if page.after.is_none() {
            break;
        }
    }
    entries.truncate(args.limit as usize);
    if app.json() {
        return entries.iter().try_for_each(|entry| app.say_json(entry));
    }
    let mut names = Names::of(client);
    names.learn(client, entries.iter().map(|entry| entry.by)).await;
    let row = |entry: &AuditEntry| {
        [
            named::when(app, entry.at),
            names.label(entry.by),
            entry.action.to_string(),
            clean_line(entry.target.as_deref().unwrap_or_default()),
            clean_line(&entry.reason),
        ]
    };
    let rows: Vec<[String; 5]> = entries.iter().map(row).collect();
    table::print(app, ["WHEN", "WHO", "WHAT", "TO", "WHY"], &rows)
}

impl ReasonArgs {
    async fn read(&self, client: &Client) -> Result<(MemberPath, Because), Failure> {
        let community = named::community(client, &self.community).await?;
        let account = named::somebody(client, &self.peer).await?;
        Ok((MemberPath { community, account }, Because { reason: self.reason.clone() }))
    }
}
