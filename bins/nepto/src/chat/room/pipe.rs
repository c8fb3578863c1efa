//! Without a terminal: each line is a message, what others do is printed, and the end comes once everything is stored.

use std::time::Duration;

use nepto_sdk::{Client, Event};
use tokio::time::Instant;

use crate::app::App;
use crate::chat::pipe::read_lines;
use crate::commands::follow::Following;
use crate::commands::named::Place;
use crate::commands::send::warn;
use crate::connection::Connection;
use crate::failure::Failure;

pub async fn run(
    app: &App,
    client: Client,
    mut connection: Connection,
    place: Place,
    (begin_with, timeout): (usize, Duration),
) -> Result<(), Failure> {
    let channel = place.channel;
    client.follow(channel);
    let mut following = Following::new(app, &client, place, begin_with, false);
    let mut lines = read_lines();
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line.transpose()? else { break };
                if line.trim().is_empty() {
                    continue;
                }
                let mut meanwhile = Vec::new();
                let post = client.post(channel, line.trim_end_matches('\r'), None);
                let posted = connection.until(Instant::now() + timeout, post, |event| meanwhile.push(event.clone()));
                let posted = posted.await;
                for event in meanwhile {
                    take(&client, &mut following, event).await?;
                }
                posted?;
            }
            event = connection.next() => take(&client, &mut following, event?).await?,
        }
    }
    connection.farewell(&client, |event| drop(warn(app, &client, following.names(), event))).await;
    Ok(())
}

/// What we do ourselves is known.
async fn take(client: &Client, following: &mut Following<'_>, event: Event) -> Result<(), Failure> {
    let is_own = matches!(&event, Event::Channel(event) if event.by == client.account());
    if is_own { Ok(()) } else { following.take(event).await }
}
