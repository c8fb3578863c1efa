//! Communities: making, finding, joining and leaving them, and inviting people. Keeping order is in [`members`].

mod members;

use std::time::Duration;

use clap::{Args, Subcommand};
use nepto_proto::CommunityId;
use nepto_proto::api::communities::{Community, NewCommunity, NewInvite, TransferTo, Visibility};
use nepto_proto::api::endpoints::communities::{
    CommunityPath, CreateCommunity, CreateInvite, DeleteCommunity, DiscoverCommunities, DiscoverPage, GetCommunity,
    InvitePath, RestoreCommunity, RevokeInvite, TransferCommunity,
};
use nepto_sdk::Client;
use serde_json::json;

use self::members::{AuditArgs, BanArgs, ListArgs, ReasonArgs, TimeOutArgs};
use super::named::{self, NONE};
use super::table;
use crate::app::App;
use crate::duration::parse_lifetime;
use crate::failure::Failure;
use crate::names::Names;
use crate::text::{clean_line, clean_name};

/// Makes, finds, joins and leaves communities, invites people, and keeps order.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto community create Gardeners --visibility public
  nepto community invite Gardeners --uses 5 --expires 7d
  nepto community join abcdefghjkmnpqrs
  nepto community time-out Gardeners @bob --for 1h --reason \"too loud\"

A COMMUNITY of yours is named by its name; others, and those whose name you have twice, by their id. A PEER is named by wallet \
address, handle or account id.")]
pub struct CommunityArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a community, which is yours then
    Create(CreateArgs),
    /// List your communities
    List,
    /// Show a community
    Show {
        /// Its name or id
        community: String,
    },
    /// Join a community by the code of an invite, or by its id if it is public or unlisted
    Join {
        /// Code of an invite, or id of a community
        code_or_id: String,
    },
    /// Leave a community
    Leave {
        /// Its name or id
        community: String,
    },
    /// List public communities by name
    Discover {
        /// What the name begins with
        prefix: Option<String>,
    },
    /// Make an invite
    Invite(InviteArgs),
    /// List invites, or revoke one
    Invites {
        /// Name or id of the community
        community: String,

        /// Nobody joins with this one any more
        #[arg(long, value_name = "CODE")]
        revoke: Option<String>,
    },
    /// Give a community of yours to another member
    Transfer {
        /// Its name or id
        community: String,

        /// Whose it is then
        peer: String,

        /// You mean it: only they can give it back
        #[arg(long)]
        yes: bool,
    },
    /// Delete a community of yours; for some time you can restore it
    Delete {
        /// Its name or id
        community: String,

        /// You mean it: it is gone for everybody else at once
        #[arg(long)]
        yes: bool,
    },
    /// Restore a community that you deleted
    Restore {
        /// Its name or id
        community: String,
    },
    /// List members
    Members(ListArgs),
    /// Throw a member out, who may come back
    Kick(ReasonArgs),
    /// Throw somebody out and keep them out
    Ban(BanArgs),
    /// List who is banned
    Bans {
        /// Name or id of the community
        community: String,
    },
    /// Let somebody join again
    Unban(ReasonArgs),
    /// Let a member only read for some time, or end that
    TimeOut(TimeOutArgs),
    /// Show who changed what, the newest first
    Audit(AuditArgs),
}

/// Makes a community.
#[derive(Debug, Args)]
struct CreateArgs {
    /// One line, up to 64 characters
    name: String,

    /// What it is about
    #[arg(long, default_value = "")]
    description: String,

    /// Who finds and joins it: public (everybody), unlisted (who knows its id) or private (who is invited)
    #[arg(long, value_parser = named::parse_visibility, default_value = "private")]
    visibility: Visibility,
}

/// Makes an invite.
#[derive(Debug, Args)]
struct InviteArgs {
    /// Name or id of the community
    community: String,

    /// So many may join with it [default: any number]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,

    /// It works for so long, like 1h or 7d [default: 7d]
    #[arg(long, value_parser = parse_lifetime)]
    expires: Option<Duration>,

    /// A role that who joins with it gets, if you may grant it
    #[arg(long)]
    role: Option<String>,
}

pub async fn run(app: &App, args: CommunityArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    match args.action {
        Action::Create(args) => create(app, &client, args).await,
        Action::List => list(app, &client).await,
        Action::Show { community } => show(app, &client, &community).await,
        Action::Join { code_or_id } => join(app, &client, &code_or_id).await,
        Action::Leave { community } => leave(app, &client, &community).await,
        Action::Discover { prefix } => discover(app, &client, prefix).await,
        Action::Invite(args) => invite(app, &client, args).await,
        Action::Invites { community, revoke } => invites(app, &client, &community, revoke).await,
        Action::Transfer { community, peer, yes } => transfer(app, &client, (&community, &peer), yes).await,
        Action::Delete { community, yes } => delete(app, &client, &community, yes).await,
        Action::Restore { community } => restore(app, &client, &community).await,
        Action::Members(args) => members::list(app, &client, args).await,
        Action::Kick(args) => members::kick(app, &client, args).await,
        Action::Ban(args) => members::ban(app, &client, args).await,
        Action::Bans { community } => members::bans(app, &client, &community).await,
        Action::Unban(args) => members::unban(app, &client, args).await,
        Action::TimeOut(args) => members::time_out(app, &client, args).await,
        Action::Audit(args) => members::audit(app, &client, args).await,
    }
}

async fn create(app: &App, client: &Client, args: CreateArgs) -> Result<(), Failure> {
    let new = NewCommunity { name: args.name, description: args.description, visibility: args.visibility };
    let made = client.http().call::<CreateCommunity>(NONE, NONE, &new).await?;
    if app.json() {
        return app.say_json(&made);
    }
    app.say(format!("{} is yours (id {})", clean_name(&made.name), made.community.uuid()))?;
    app.note(format!("Invite people: {} community invite {}", app.nepto(), made.community.uuid()));
    Ok(())
}

async fn list(app: &App, client: &Client) -> Result<(), Failure> {
    let own = client.communities().await?;
    if own.is_empty() {
        let nepto = app.nepto();
        app.note(format!("None yet. Find some: {nepto} community discover; make one: {nepto} community create NAME"));
    }
    print(app, client, &own)
}

fn print(app: &App, client: &Client, communities: &[Community]) -> Result<(), Failure> {
    if app.json() {
        return communities.iter().try_for_each(|community| app.say_json(community));
    }
    let state = |community: &Community| match community.restorable_until {
        Some(until) => format!("deleted, can be restored until {}", named::when(app, until)),
        None if community.owner == client.account() => "yours".to_owned(),
        None if community.own.is_some() => "member".to_owned(),
        None => String::new(),
    };
    let row = |community: &Community| {
        [
            clean_name(&community.name),
            community.visibility.to_string(),
            community.members.to_string(),
            community.community.uuid().to_string(),
            state(community),
        ]
    };
    let rows: Vec<[String; 5]> = communities.iter().map(row).collect();
    table::print(app, ["NAME", "VISIBILITY", "MEMBERS", "ID", "STATE"], &rows)
}

async fn show(app: &App, client: &Client, named: &str) -> Result<(), Failure> {
    let path = at(client, named).await?;
    let community = client.http().call::<GetCommunity>(&path, NONE, &()).await?;
    if app.json() {
        return app.say_json(&community);
    }
    let mut names = Names::of(client);
    names.learn(client, [community.owner]).await;
    app.say(format!("{} ({}, {} members)", clean_name(&community.name), community.visibility, community.members))?;
    if !community.description.is_empty() {
        app.say(format!("  {}", clean_line(&community.description)))?;
    }
    app.say(format!("  id     {}", community.community.uuid()))?;
    app.say(format!("  owner  {}", names.label(community.owner)))?;
    app.say(format!("  since  {}", named::when(app, community.created_at)))?;
    if let Some(until) = community.restorable_until {
        app.say(format!("  deleted; it can be restored until {}", named::when(app, until)))?;
    }
    let Some(own) = community.own else {
        app.note(format!("Join: {} community join {}", app.nepto(), community.community.uuid()));
        return Ok(());
    };
    app.say(format!("  you    member since {}", named::when(app, own.joined_at)))?;
    app.say(format!("         may {}", named::show(own.permissions)))?;
    if let Some(until) = own.timed_out_until {
        app.say(format!("         timed out: until {} you can only read", named::when(app, until)))?;
    }
    Ok(())
}

async fn join(app: &App, client: &Client, code_or_id: &str) -> Result<(), Failure> {
    let community = match code_or_id.parse::<CommunityId>() {
        Ok(community) => {
            client.join_community(community).await?;
            client.http().call::<GetCommunity>(&CommunityPath { community }, NONE, &()).await?
        }
        Err(_) => client.accept_invite(code_or_id).await?,
    };
    if app.json() {
        return app.say_json(&community);
    }
    app.say(format!("You are a member of {}", clean_name(&community.name)))?;
    app.note(format!("Its channels: {} channel list {}", app.nepto(), community.community.uuid()));
    Ok(())
}

async fn leave(app: &App, client: &Client, named: &str) -> Result<(), Failure> {
    let community = named::community(client, named).await?;
    client.leave_community(community).await?;
    if app.json() {
        return app.say_json(&json!({ "community": community, "left": true }));
    }
    app.say("You are no member of it any more")
}

async fn discover(app: &App, client: &Client, prefix: Option<String>) -> Result<(), Failure> {
    let page = DiscoverPage { prefix, ..DiscoverPage::default() };
    let found = client.http().call::<DiscoverCommunities>(NONE, &page, &()).await?;
    if found.communities.is_empty() {
        app.note("No public community has such a name.");
    }
    print(app, client, &found.communities)?;
    if found.next.is_some() {
        app.note(format!("There are more. Say how the name begins: {} community discover PREFIX", app.nepto()));
    }
    Ok(())
}

async fn invite(app: &App, client: &Client, args: InviteArgs) -> Result<(), Failure> {
    let path = at(client, &args.community).await?;
    let role = match &args.role {
        Some(named) => Some(named::role(&client.roles(path.community).await?, path.community, named)?.role),
        None => None,
    };
    let expires_after_s = args.expires.map(|lifetime| lifetime.as_secs());
    let new = NewInvite { uses: args.uses, expires_after_s, role };
    let invite = client.http().call::<CreateInvite>(&path, NONE, &new).await?;
    if app.json() {
        return app.say_json(&invite);
    }
    app.say(clean_line(&invite.code))?;
    let until = named::when(app, invite.expires_at);
    app.note(format!("Works until {until}. Who has it joins: nepto community join {}", clean_line(&invite.code)));
    Ok(())
}

async fn invites(app: &App, client: &Client, named: &str, revoke: Option<String>) -> Result<(), Failure> {
    let community = named::community(client, named).await?;
    if let Some(code) = revoke {
        let path = InvitePath { community, code };
        client.http().call::<RevokeInvite>(&path, NONE, &()).await?;
        if app.json() {
            return app.say_json(&json!({ "code": path.code, "revoked": true }));
        }
        return app.say("Nobody joins with it any more");
    }
    let invites = client.invites(community).await?;
    if app.json() {
        return invites.iter().try_for_each(|invite| app.say_json(invite));
    }
    if invites.is_empty() {
        app.note(format!("None. Make one: {} community invite {}", app.nepto(), community.uuid()));
        return Ok(());
    }
    let mut names = Names::of(client);
    names.learn(client, invites.iter().map(|invite| invite.by)).await;
    let roles = client.roles(community).await?;
    let rows: Vec<[String; 6]> = invites
        .iter()
        .map(|invite| {
            [
                clean_line(&invite.code),
                names.label(invite.by),
                invite.used.to_string(),
                invite.uses_left.map_or_else(|| "any number".to_owned(), |left| left.to_string()),
                named::when(app, invite.expires_at),
                named::role_names(&roles, invite.role.as_slice()),
            ]
        })
        .collect();
    table::print(app, ["CODE", "BY", "USED", "LEFT", "UNTIL", "ROLE"], &rows)
}

async fn transfer(app: &App, client: &Client, (named, peer): (&str, &str), yes: bool) -> Result<(), Failure> {
    let path = at(client, named).await?;
    let account = named::somebody(client, peer).await?;
    if !yes {
        let detail =
            format!("{} would own it, and only they can give it back; say --yes if you mean that", clean_name(peer));
        return Err(Failure::usage(detail));
    }
    let given = client.http().call::<TransferCommunity>(&path, NONE, &TransferTo { account }).await?;
    if app.json() {
        return app.say_json(&given);
    }
    app.say(format!("{} belongs to {} now; you stay a member", clean_name(&given.name), clean_name(peer)))
}

async fn delete(app: &App, client: &Client, named: &str, yes: bool) -> Result<(), Failure> {
    let path = at(client, named).await?;
    if !yes {
        return Err(Failure::usage("it would be gone for everybody else at once; say --yes if you mean that"));
    }
    client.http().call::<DeleteCommunity>(&path, NONE, &()).await?;
    let deleted = client.http().call::<GetCommunity>(&path, NONE, &()).await?;
    if app.json() {
        return app.say_json(&deleted);
    }
    if let Some(until) = deleted.restorable_until {
        let (id, until) = (path.community.uuid(), named::when(app, until));
        app.say(format!("Deleted. Until {until} you can restore it: {} community restore {id}", app.nepto()))?;
    }
    Ok(())
}

async fn restore(app: &App, client: &Client, named: &str) -> Result<(), Failure> {
    let path = at(client, named).await?;
    let restored = client.http().call::<RestoreCommunity>(&path, NONE, &()).await?;
    if app.json() { app.say_json(&restored) } else { app.say(format!("{} is back", clean_name(&restored.name))) }
}

async fn at(client: &Client, named: &str) -> Result<CommunityPath, Failure> {
    Ok(CommunityPath { community: named::community(client, named).await? })
}
