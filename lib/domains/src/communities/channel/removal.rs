//! A channel is gone for good: its messages go as well, from the stream and from the tables.

use nepto_kit::db::{Id, Text, vars};
use nepto_kit::{Ctx, Failure};
use nepto_proto::event::ChannelRemoved;
use nepto_proto::subject::{self, CHANNELS_STREAM};

use super::schema::Heads;
use super::store::Store;

/// The queue, as `worker --queues` knows it.
pub const NAME: &str = "communities-channel-removed";

/// Tables whose keys begin with the channel. What belongs to accounts stays: a marker is small, and shows nothing.
const TABLES: [&str; 5] = ["reaction", "edit", "pin", "group_mention", "message"];

/// Removes everything of a channel. Again does no harm.
pub async fn remove(ctx: Ctx, store: Store, event: ChannelRemoved) -> Result<(), Failure> {
    // first what the worker would bring back
    let purged = async {
        let stream = ctx.jetstream.get_stream(CHANNELS_STREAM).await?;
        stream.purge().filter(subject::channel(event.community, event.channel)).await?;
        anyhow::Ok(())
    };
    purged.await.map_err(|error| Failure::unavailable("JetStream", error))?;
    for table in TABLES {
        store.db.delete_under(table, &format!("'{}'", event.channel)).await?;
    }
    let head = Id::<Heads>((Text(event.channel),)).record();
    store.db.execute("DELETE $head RETURN NONE", vars! { head: head }).await?;
    Ok(())
}
