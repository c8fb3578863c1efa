//! Channels of a community, their order, and what overrides say in them.

use clap::{Args, Subcommand};
use nepto_proto::api::communities::channels::{
    Channel, ChannelKind, ChannelPlace, EditChannel, MoveChannels, NewChannel, OverrideKind, SetOverride,
};
use nepto_proto::api::endpoints::communities::CommunityPath;
use nepto_proto::api::endpoints::community_channels::{
    ChannelPath, CreateChannel, DeleteChannel, MemberOverridePath, PlaceChannels, RoleOverridePath, SetMemberOverride,
    SetRoleOverride, UpdateChannel,
};
use nepto_proto::permissions::Permission;
use nepto_proto::{AccountId, CommunityId, RoleId};
use nepto_sdk::Client;
use serde_json::json;

use super::named::{self, NONE};
use super::table;
use crate::app::App;
use crate::duration::{parse_timer, show_timer};
use crate::failure::Failure;
use crate::names::Names;
use crate::text::clean_name;

/// Makes, lists, changes, moves and deletes channels, and says what is different in them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto channel create Gardeners tomatoes --topic \"Red ones\" --slow-mode 10s
  nepto channel override Gardeners tomatoes --role everyone --deny send_messages
  nepto channel override Gardeners tomatoes --role helpers --allow send_messages
  nepto channel override Gardeners tomatoes --role helpers        (removes it)

What overrides may name: view_channel, read_history, send_messages, send_in_threads, create_threads, attach_files, add_reactions, \
mention_everyone, create_polls, pin_messages, manage_messages, bypass_slow_mode, create_invites, manage_webhooks. You change only \
what you may do there yourself.")]
pub struct ChannelArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a channel, behind the others
    Create(CreateArgs),
    /// List the channels that you may see
    List {
        /// Name or id of the community
        community: String,
    },
    /// Change a channel
    Edit(EditArgs),
    /// Put a channel elsewhere
    Move(MoveArgs),
    /// Delete a channel with everything in it
    Delete {
        /// Name or id of the community
        community: String,

        /// Its name or id
        channel: String,

        /// You mean it: nobody can restore it
        #[arg(long)]
        yes: bool,
    },
    /// Say what a role or a member may do in a channel, other than everywhere
    Override(OverrideArgs),
}

/// Makes a channel.
#[derive(Debug, Args)]
struct CreateArgs {
    /// Name or id of the community
    community: String,

    /// One line, up to 64 characters
    name: String,

    /// text, announcement (moderators write) or category (holds channels)
    #[arg(long, value_parser = named::parse_kind, default_value = "text")]
    kind: ChannelKind,

    /// What is talked about in it
    #[arg(long, default_value = "")]
    topic: String,

    /// The category that it stands in; it gets the overrides that this one has now
    #[arg(long)]
    category: Option<String>,

    /// Everybody posts once in so long, like 10s
    #[arg(long, value_name = "TIME", value_parser = parse_timer, default_value = "off")]
    slow_mode: u32,

    /// Keep everybody from seeing it; let some in with overrides
    #[arg(long)]
    private: bool,
}

/// Changes a channel. What is not named stays.
#[derive(Debug, Args)]
struct EditArgs {
    /// Name or id of the community
    community: String,

    /// Its name or id
    channel: String,

    /// What it is to be called
    #[arg(long)]
    name: Option<String>,

    /// What is talked about in it; empty for nothing
    #[arg(long)]
    topic: Option<String>,

    /// text or announcement
    #[arg(long, value_parser = named::parse_kind)]
    kind: Option<ChannelKind>,

    /// Everybody posts once in so long, like 10s; `off`: as often as they like
    #[arg(long, value_name = "TIME", value_parser = parse_timer)]
    slow_mode: Option<u32>,
}

/// Puts a channel elsewhere.
#[derive(Debug, Args)]
struct MoveArgs {
    /// Name or id of the community
    community: String,

    /// Its name or id
    channel: String,

    /// Channels are shown by ascending positions [default: where it is]
    #[arg(long)]
    position: Option<u32>,

    /// The category that it is to stand in [default: the one that it is in]
    #[arg(long, conflicts_with = "no_category")]
    category: Option<String>,

    /// Out of its category
    #[arg(long)]
    no_category: bool,
}

/// Sets an override.
#[derive(Debug, Args)]
struct OverrideArgs {
    /// Name or id of the community
    community: String,

    /// Name or id of the channel
    channel: String,

    #[command(flatten)]
    whose: Whose,

    /// What is allowed, with commas between
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', value_parser = named::parse_channel_permission)]
    allow: Vec<Permission>,

    /// What is denied, with commas between
    #[arg(long, value_name = "PERMISSIONS", value_delimiter = ',', value_parser = named::parse_channel_permission)]
    deny: Vec<Permission>,
}

/// Whom an override is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// About a role, by its name or id; everybody has the role `everyone`
    #[arg(long)]
    role: Option<String>,

    /// About one member: wallet address, handle or account id
    #[arg(long, value_name = "PEER")]
    member: Option<String>,
}

pub async fn run(app: &App, args: ChannelArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    match args.action {
        Action::Create(args) => create(app, &client, args).await,
        Action::List { community } => {
            let community = named::community(&client, &community).await?;
            list(app, &client, community).await
        }
        Action::Edit(args) => edit(app, &client, args).await,
        Action::Move(args) => place(app, &client, args).await,
        Action::Delete { community, channel, yes } => delete(app, &client, (&community, &channel), yes).await,
        Action::Override(args) => set_override(app, &client, args).await,
    }
}

async fn create(app: &App, client: &Client, args: CreateArgs) -> Result<(), Failure> {
    let community = named::community(client, &args.community).await?;
    let category = match &args.category {
        Some(category) => Some(named::channel(&client.channels(community).await?, category)?.channel),
        None => None,
    };
    let new = NewChannel {
        kind: args.kind,
        name: args.name,
        topic: args.topic,
        category,
        slow_mode_s: args.slow_mode,
        private: args.private,
        overrides: None,
    };
    let made = client.http().call::<CreateChannel>(&CommunityPath { community }, NONE, &new).await?;
    tell(app, &made, "is there")?;
    if made.private {
        let (nepto, id, channel) = (app.nepto(), community.uuid(), made.channel.uuid());
        app.note(format!("Let a role in: {nepto} channel override {id} {channel} --role ROLE --allow view_channel"));
    }
    Ok(())
}

async fn list(app: &App, client: &Client, community: CommunityId) -> Result<(), Failure> {
    let channels = client.channels(community).await?;
    if app.json() {
        return channels.iter().try_for_each(|channel| app.say_json(channel));
    }
    if channels.is_empty() {
        app.note("There is no channel that you may see.");
        return Ok(());
    }
    let name_of = |channel: &Channel| {
        let category = channels.iter().find(|other| Some(other.channel) == channel.category);
        category.map(|category| clean_name(&category.name)).unwrap_or_default()
    };
    let row = |channel: &Channel| {
        let private = if channel.private { "private " } else { "" };
        [
            clean_name(&channel.name),
            format!("{private}{}", channel.kind),
            name_of(channel),
            channel.position.to_string(),
            show_timer(channel.slow_mode_s),
            channel.channel.uuid().to_string(),
        ]
    };
    let rows: Vec<[String; 6]> = channels.iter().map(row).collect();
    table::print(app, ["NAME", "KIND", "CATEGORY", "POSITION", "SLOW MODE", "ID"], &rows)?;
    overrides(app, client, community, &channels).await
}

/// What overrides say, for who is told of them.
async fn overrides(app: &App, client: &Client, community: CommunityId, channels: &[Channel]) -> Result<(), Failure> {
    if channels.iter().all(|channel| channel.overrides.is_empty()) {
        return Ok(());
    }
    let (roles, mut names) = (client.roles(community).await?, Names::of(client));
    let all = || channels.iter().flat_map(|channel| channel.overrides.iter().map(move |set| (channel, set)));
    let of_members = all().filter(|(_, set)| set.kind == OverrideKind::Member);
    names.learn(client, of_members.map(|(_, set)| AccountId::new(set.id))).await;
    let rows: Vec<[String; 4]> = all()
        .map(|(channel, set)| {
            let whose = match set.kind {
                OverrideKind::Role => format!("@{}", named::role_names(&roles, &[RoleId::new(set.id)])),
                OverrideKind::Member => names.label(AccountId::new(set.id)),
            };
            [clean_name(&channel.name), whose, named::show(set.allow), named::show(set.deny)]
        })
        .collect();
    app.say("")?;
    table::print(app, ["OVERRIDE IN", "OF", "ALLOWS", "DENIES"], &rows)
}

async fn edit(app: &App, client: &Client, args: EditArgs) -> Result<(), Failure> {
    let (path, _) = find(client, &args.community, &args.channel).await?;
    let edit = EditChannel { kind: args.kind, name: args.name, topic: args.topic, slow_mode_s: args.slow_mode };
    if edit == EditChannel::default() {
        return Err(Failure::usage("say what is to change: --name, --topic, --kind or --slow-mode"));
    }
    let edited = client.http().call::<UpdateChannel>(&path, NONE, &edit).await?;
    tell(app, &edited, "is changed")
}

async fn place(app: &App, client: &Client, args: MoveArgs) -> Result<(), Failure> {
    if args.position.is_none() && args.category.is_none() && !args.no_category {
        return Err(Failure::usage("say where to: --position, --category or --no-category"));
    }
    let (path, channels) = find(client, &args.community, &args.channel).await?;
    let here = named::channel(&channels, &args.channel)?;
    let category = match &args.category {
        Some(category) => Some(named::channel(&channels, category)?.channel),
        None => here.category.filter(|_| !args.no_category),
    };
    let place = ChannelPlace { channel: here.channel, position: args.position.unwrap_or(here.position), category };
    let community = path.community;
    let order = MoveChannels { channels: vec![place] };
    let moved = client.http().call::<PlaceChannels>(&CommunityPath { community }, NONE, &order).await?;
    match moved.channels.iter().find(|channel| channel.channel == path.channel) {
        Some(channel) => tell(app, channel, &format!("stands at {}", channel.position)),
        None => Ok(()),
    }
}

async fn delete(app: &App, client: &Client, (community, channel): (&str, &str), yes: bool) -> Result<(), Failure> {
    let (path, _) = find(client, community, channel).await?;
    if !yes {
        let detail =
            format!("everything in {} would be gone for good; say --yes if you mean that", clean_name(channel));
        return Err(Failure::usage(detail));
    }
    client.http().call::<DeleteChannel>(&path, NONE, &()).await?;
    if app.json() {
        return app.say_json(&json!({ "channel": path.channel, "deleted": true }));
    }
    app.say(format!("{} is deleted", clean_name(channel)))
}

async fn set_override(app: &App, client: &Client, args: OverrideArgs) -> Result<(), Failure> {
    let (ChannelPath { community, channel }, _) = find(client, &args.community, &args.channel).await?;
    let set = SetOverride { allow: args.allow.into(), deny: args.deny.into() };
    let both = set.allow & set.deny;
    if !both.is_empty() {
        return Err(Failure::usage(format!("either allow or deny: {both}")));
    }
    let is_removed = set == SetOverride::default();
    let changed = match (&args.whose.role, &args.whose.member) {
        (Some(role), _) => {
            let role = named::role(&client.roles(community).await?, community, role)?.role;
            let path = RoleOverridePath { community, channel, role };
            client.http().call::<SetRoleOverride>(&path, NONE, &set).await?
        }
        (None, Some(member)) => {
            let account = named::somebody(client, member).await?;
            let path = MemberOverridePath { community, channel, account };
            client.http().call::<SetMemberOverride>(&path, NONE, &set).await?
        }
        (None, None) => return Err(Failure::usage("say whom it is about: --role or --member")),
    };
    tell(app, &changed, if is_removed { "has no such override any more" } else { "has this override" })
}

/// A channel that was named on the command line, and all that there are beside it.
async fn find(client: &Client, community: &str, channel: &str) -> Result<(ChannelPath, Vec<Channel>), Failure> {
    let community = named::community(client, community).await?;
    let channels = client.channels(community).await?;
    let channel = named::channel(&channels, channel)?.channel;
    Ok((ChannelPath { community, channel }, channels))
}

fn tell(app: &App, channel: &Channel, what: &str) -> Result<(), Failure> {
    match app.json() {
        true => app.say_json(channel),
        false => app.say(format!("{} {what} (id {})", clean_name(&channel.name), channel.channel.uuid())),
    }
}
