//! Messages of a channel from the server, and what is unread where.

use clap::Args;
use nepto_proto::api::channels::{ChannelMessage, ReadState};
use nepto_proto::api::communities::Community;
use nepto_proto::api::endpoints::channels::HistoryPage;
use nepto_proto::{ChannelId, ErrorCode, MessageId};
use nepto_sdk::Client;
use serde_json::json;

use super::{named, table};
use crate::app::App;
use crate::called::Called;
use crate::failure::Failure;
use crate::json;
use crate::render::{ChannelView, Recent, lay_out};
use crate::text::clean_name;

/// The server counts mentions up to here.
const MENTIONS_COUNTED: u32 = 100;

/// Shows messages of a channel.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nepto read Gardeners/tomatoes                    the newest; marks the channel as read up to them
  nepto read Gardeners/tomatoes --ids --limit 5    with the ids that nepto message wants
  nepto read Gardeners/tomatoes --before 01a20f45-3b70-8798-8447-5c3c2f236885")]
pub struct ReadArgs {
    /// COMMUNITY/CHANNEL by their names, or the channel's id
    channel: String,

    /// Those before the message with this id
    #[arg(long, value_name = "MESSAGE", value_parser = named::parse_message, conflicts_with_all = ["after", "around"])]
    before: Option<MessageId>,

    /// Those after the message with this id
    #[arg(long, value_name = "MESSAGE", value_parser = named::parse_message, conflicts_with = "around")]
    after: Option<MessageId>,

    /// The message with this id, and as many before as after it
    #[arg(long, value_name = "MESSAGE", value_parser = named::parse_message)]
    around: Option<MessageId>,

    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,

    /// Don't mark anything as read
    #[arg(long)]
    peek: bool,

    /// Show the ids of messages
    #[arg(long)]
    ids: bool,
}

/// Says what is unread.
#[derive(Debug, Args)]
pub struct UnreadArgs {
    /// Name or id of the community [default: all of yours]
    community: Option<String>,
}

pub async fn run(app: &App, args: ReadArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let place = named::place(&client, &args.channel).await?;
    let limit = Some(args.limit as usize);
    let page = HistoryPage { before: args.before, after: args.after, around: args.around, limit };
    let history = client.channel_history(place.channel, &page).await?;
    if history.messages.is_empty() {
        app.note("No messages there.");
    }
    let mut called = Called::of(&client, place.community);
    print(app, &client, &mut called, (place.channel, &history.messages), args.ids).await?;
    let (nepto, channel) = (app.nepto(), place.channel.uuid());
    if let Some(first) = history.messages.first().filter(|_| history.older) {
        app.note(format!("Older ones: {nepto} read {channel} --before {}", first.message.uuid()));
    }
    let Some(last) = history.messages.last() else { return Ok(()) };
    if history.newer {
        app.note(format!("Newer ones: {nepto} read {channel} --after {}", last.message.uuid()));
    }
    if args.peek {
        return Ok(());
    }
    match client.mark_channel_read(place.channel, last.message).await {
        // it was deleted since
        Err(error) if error.code() == Some(ErrorCode::MessageUnknown) => Ok(()),
        marked => marked.map(drop).map_err(Failure::from),
    }
}

/// Prints messages of a channel in this order.
pub async fn print(
    app: &App,
    client: &Client,
    called: &mut Called,
    (channel, messages): (ChannelId, &[ChannelMessage]),
    ids: bool,
) -> Result<(), Failure> {
    if app.json() {
        return messages.iter().try_for_each(|message| app.say_json(&json::channel_message(channel, message)));
    }
    called.learn(client, messages).await;
    let view = ChannelView { called, now: app.now(), ids };
    let mut recent = Recent::default();
    for message in messages {
        app.show(&lay_out(&view.block(message, message.reply_to.and_then(|id| recent.get(id))), None))?;
        recent.add(message.clone());
    }
    Ok(())
}

pub async fn unread(app: &App, args: UnreadArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let mut own = client.communities().await?;
    match &args.community {
        Some(named) => {
            let id = named::community(&client, named).await?;
            own.retain(|community| community.community == id);
            if own.is_empty() {
                return Err(Failure::usage("you belong to no such community; see nepto community list"));
            }
        }
        None => own.retain(|community| community.restorable_until.is_none()),
    }
    let mut rows: Vec<[String; 4]> = Vec::new();
    for community in &own {
        let unread = client.unread_in(community.community).await?;
        let unread: Vec<&ReadState> = unread.iter().filter(|state| state.unread || state.mentions > 0).collect();
        if unread.is_empty() {
            continue;
        }
        let channels = client.channels(community.community).await?;
        for state in unread {
            // one that is gone since then has no name
            let Some(channel) = channels.iter().find(|channel| channel.channel == state.channel) else { continue };
            if app.json() {
                app.say_json(&in_json(state, community, &channel.name))?;
            }
            rows.push([
                clean_name(&community.name),
                clean_name(&channel.name),
                mentions(state.mentions),
                state.channel.uuid().to_string(),
            ]);
        }
    }
    if app.json() {
        return Ok(());
    }
    if rows.is_empty() {
        app.note("Nothing is unread.");
    }
    table::print(app, ["COMMUNITY", "CHANNEL", "MENTIONS", "ID"], &rows)
}

fn in_json(state: &ReadState, community: &Community, channel: &str) -> serde_json::Value {
    let mut object = json!(state);
    object["community_name"] = json!(community.name);
    object["name"] = json!(channel);
    object
}

/// A count of mentions for people.
fn mentions(count: u32) -> String {
    match count {
        0 => String::new(),
        MENTIONS_COUNTED.. => format!("{MENTIONS_COUNTED}+"),
        few => few.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_counted_as_far_as_the_server_does() {
        assert_eq!([0, 1, 99, 100, 500].map(mentions), ["", "1", "99", "100+", "100+"]);
    }
}
