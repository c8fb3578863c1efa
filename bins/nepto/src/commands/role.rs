//! Roles of a community: what they allow, their order, and who has them.

use clap::{Args, Subcommand};
use nepto_proto::CommunityId;
use nepto_proto::api::communities::members::Member;
use nepto_proto::api::communities::roles::{EditRole, NewRole, Role, SortRoles};
use nepto_proto::api::endpoints::communities::CommunityPath;
use nepto_proto::api::endpoints::community_members::{
    CreateRole, DeleteRole, GrantRole, MemberRolePath, OrderRoles, RolePath, TakeRole, UpdateRole,
};
use nepto_proto::permissions::Permission;
use nepto_sdk::Client;
use serde_json::json;

use super::named::{self, NONE};
use super::table;
use crate::app::App;
use crate::failure::Failure;
use crate::text::clean_name;

/// Makes, lists, changes, sorts, deletes, grants and takes roles.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto role create Gardeners helpers --allow kick_members,manage_messages --color '#2ecc71'
  nepto role grant Gardeners helpers @bob
  nepto role edit Gardeners everyone --allow view_channel,read_history,send_messages
  nepto role sort Gardeners helpers friends newcomers              (the highest first)

Permissions: view_channel, read_history, send_messages, send_in_threads, create_threads, attach_files, add_reactions, \
mention_everyone, create_polls, pin_messages, manage_messages, bypass_slow_mode, create_invites, manage_channels, manage_roles, \
manage_community, manage_gates, manage_webhooks, manage_bots, kick_members, ban_members, time_out_members, view_audit_log, \
administrator. You reach only roles below your highest one, and give only what you may do yourself.")]
pub struct RoleArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a role, below all others
    Create(CreateArgs),
    /// List roles, the highest first
    List {
        /// Name or id of the community
        community: String,
    },
    /// Change a role; `everyone` is the one that every member has
    Edit(EditArgs),
    /// Sort roles
    Sort {
        /// Name or id of the community
        community: String,

        /// Every role but `everyone`, the highest first
        #[arg(required = true, value_name = "ROLE")]
        roles: Vec<String>,
    },
    /// Delete a role; nobody has it any more
    Delete {
        /// Name or id of the community
        community: String,

        /// Its name or id
        role: String,

        /// You mean it
        #[arg(long)]
        yes: bool,
    },
    /// Give a role to a member
    Grant(GrantArgs),
    /// Take a role from a member, or give back your own
    Take(GrantArgs),
}

/// Makes a role.
#[derive(Debug, Args)]
struct CreateArgs {
    /// Name or id of the community
    community: String,

    /// One line, up to 64 characters
    name: String,

    /// What it allows everywhere, with commas between
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', value_parser = named::parse_permission)]
    allow: Vec<Permission>,

    /// Its colour, like #2ecc71
    #[arg(long, value_parser = named::parse_color)]
    color: Option<u32>,

    /// Show its members together in lists
    #[arg(long)]
    hoist: bool,

    /// Everybody may mention it
    #[arg(long)]
    mentionable: bool,
}

/// Changes a role. What is not named stays.
#[derive(Debug, Args)]
struct EditArgs {
    /// Name or id of the community
    community: String,

    /// Its name or id
    role: String,

    /// What it is to be called
    #[arg(long)]
    name: Option<String>,

    /// All that it allows everywhere from now on, with commas between
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', value_parser = named::parse_permission)]
    #[arg(conflicts_with = "allow_nothing")]
    allow: Option<Vec<Permission>>,

    /// It allows nothing from now on
    #[arg(long)]
    allow_nothing: bool,

    /// Its colour, like #2ecc71, or `none`
    #[arg(long, value_parser = named::parse_color)]
    color: Option<u32>,

    /// Whether its members are shown together in lists
    #[arg(long)]
    hoist: Option<bool>,

    /// Whether everybody may mention it
    #[arg(long)]
    mentionable: Option<bool>,
}

/// Gives a role, or takes it.
#[derive(Debug, Args)]
struct GrantArgs {
    /// Name or id of the community
    community: String,

    /// Name or id of the role
    role: String,

    /// Wallet address, handle or account id
    peer: String,
}

pub async fn run(app: &App, args: RoleArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    match args.action {
        Action::Create(args) => create(app, &client, args).await,
        Action::List { community } => {
            let community = named::community(&client, &community).await?;
            print(app, &client.roles(community).await?)
        }
        Action::Edit(args) => edit(app, &client, args).await,
        Action::Sort { community, roles } => sort(app, &client, &community, &roles).await,
        Action::Delete { community, role, yes } => delete(app, &client, (&community, &role), yes).await,
        Action::Grant(args) => {
            let member = client.http().call::<GrantRole>(&args.path(&client).await?, NONE, &()).await?;
            tell(app, &member, &format!("{} has the role {} now", clean_name(&args.peer), clean_name(&args.role)))
        }
        Action::Take(args) => {
            let member = client.http().call::<TakeRole>(&args.path(&client).await?, NONE, &()).await?;
            tell(app, &member, &format!("{} has the role {} no more", clean_name(&args.peer), clean_name(&args.role)))
        }
    }
}

async fn create(app: &App, client: &Client, args: CreateArgs) -> Result<(), Failure> {
    let community = named::community(client, &args.community).await?;
    let new = NewRole {
        name: args.name,
        color: args.color.filter(|color| *color > 0),
        permissions: args.allow.into(),
        hoisted: args.hoist,
        mentionable: args.mentionable,
    };
    let made = client.http().call::<CreateRole>(&CommunityPath { community }, NONE, &new).await?;
    if app.json() {
        return app.say_json(&made);
    }
    let name = clean_name(&made.name);
    app.say(format!("{name} allows {} (id {})", named::show(made.permissions), made.role.uuid()))?;
    let (nepto, id, role) = (app.nepto(), community.uuid(), made.role.uuid());
    app.note(format!("Give it to somebody: {nepto} role grant {id} {role} PEER"));
    Ok(())
}

fn print(app: &App, roles: &[Role]) -> Result<(), Failure> {
    if app.json() {
        return roles.iter().try_for_each(|role| app.say_json(role));
    }
    let row = |role: &Role| {
        let flags = [(role.hoisted, "shown together"), (role.mentionable, "mentionable")];
        let flags: Vec<&str> = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect();
        [
            role.rank.to_string(),
            clean_name(&role.name),
            role.color.map(|color| format!("#{color:06x}")).unwrap_or_default(),
            named::show(role.permissions),
            flags.join(", "),
            role.role.uuid().to_string(),
        ]
    };
    let rows: Vec<[String; 6]> = roles.iter().rev().map(row).collect();
    table::print(app, ["RANK", "NAME", "COLOR", "ALLOWS", "", "ID"], &rows)
}

async fn edit(app: &App, client: &Client, args: EditArgs) -> Result<(), Failure> {
    let allow = if args.allow_nothing { Some(Vec::new()) } else { args.allow };
    let edit = EditRole {
        name: args.name,
        color: args.color,
        permissions: allow.map(Into::into),
        hoisted: args.hoist,
        mentionable: args.mentionable,
    };
    if edit == EditRole::default() {
        return Err(Failure::usage("say what is to change: --name, --allow, --color, --hoist or --mentionable"));
    }
    let path = find(client, &args.community, &args.role).await?;
    let edited = client.http().call::<UpdateRole>(&path, NONE, &edit).await?;
    if app.json() {
        return app.say_json(&edited);
    }
    app.say(format!("{} allows {}", clean_name(&edited.name), named::show(edited.permissions)))
}

async fn sort(app: &App, client: &Client, community: &str, order: &[String]) -> Result<(), Failure> {
    let community = named::community(client, community).await?;
    let known = client.roles(community).await?;
    let ids = order.iter().rev().map(|role| named::role(&known, community, role).map(|found| found.role));
    let roles = ids.collect::<Result<Vec<_>, Failure>>()?;
    let sorted = client.http().call::<OrderRoles>(&CommunityPath { community }, NONE, &SortRoles { roles }).await?;
    print(app, &sorted.roles)
}

async fn delete(app: &App, client: &Client, (community, role): (&str, &str), yes: bool) -> Result<(), Failure> {
    let path = find(client, community, role).await?;
    if !yes {
        let detail = format!("everybody who has {} would lose it; say --yes if you mean that", clean_name(role));
        return Err(Failure::usage(detail));
    }
    client.http().call::<DeleteRole>(&path, NONE, &()).await?;
    if app.json() {
        return app.say_json(&json!({ "role": path.role, "deleted": true }));
    }
    app.say(format!("{} is deleted", clean_name(role)))
}

/// A role that was named on the command line.
async fn find(client: &Client, community: &str, role: &str) -> Result<RolePath, Failure> {
    let community: CommunityId = named::community(client, community).await?;
    let role = named::role(&client.roles(community).await?, community, role)?.role;
    Ok(RolePath { community, role })
}

fn tell(app: &App, member: &Member, what: &str) -> Result<(), Failure> {
    if app.json() { app.say_json(member) } else { app.say(what) }
}

impl GrantArgs {
    async fn path(&self, client: &Client) -> Result<MemberRolePath, Failure> {
        let RolePath { community, role } = find(client, &self.community, &self.role).await?;
        let account = named::somebody(client, &self.peer).await?;
        Ok(MemberRolePath { community, account, role })
    }
}
