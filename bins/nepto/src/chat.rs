//! A conversation or a channel ([`room`]), live. On a terminal it fills the screen; in a pipe each line is a message.
//!
//! The screen shows what the store says and little else: an event only says that it is time to look again. [`state`] and
//! [`screen`] know neither terminal nor network.

mod input;
mod keys;
mod live;
mod pipe;
mod room;
mod screen;
mod slash;
mod state;
mod terminal;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use crate::app::App;
use crate::commands::named::place;
use crate::commands::{find, known_or};
use crate::connection::{Connection, DEFAULT_TIMEOUT};
use crate::duration::parse_wait;
use crate::failure::Failure;
use crate::names::Names;

/// Messages that the screen begins with.
const HISTORY: usize = 100;

/// Chats.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal: write and press Enter. Commands begin with a slash; /help lists them, Tab completes them, PageUp scrolls, \
Alt-Enter begins a new line, Ctrl-D leaves. Each of your messages shows · on its way, ✓ stored, ✓✓ delivered, ✓✓ read.

In a pipe each line is a message, what arrives meanwhile is printed, and the command ends once all is stored:
  tail -f /var/log/alerts | nepto chat @oncall

A channel has the same screen, and commands of its own; it is named COMMUNITY/CHANNEL, #CHANNEL, or # and its id:
  nepto chat Gardeners/tomatoes")]
pub struct ChatArgs {
    /// With whom: wallet address, handle or account id; your own: notes to yourself. Or a channel: COMMUNITY/CHANNEL
    peer: String,

    /// How many messages to begin with [default: 100 on a terminal, none in a pipe]
    #[arg(long, value_name = "N")]
    history: Option<usize>,

    /// In a pipe: give up this long after the last line
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TIMEOUT, value_parser = parse_wait)]
    timeout: Duration,
}

pub async fn run(app: App, args: ChatArgs) -> Result<(), Failure> {
    let client = app.client().await?;
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !app.json();
    if is_channel(&args.peer) {
        let place = place(&client, &args.peer).await?;
        let connection = Connection::open(&app, &client).await?;
        return match on_terminal {
            true => room::on_screen(&app, client, connection, place, args.history.unwrap_or(HISTORY).max(1)).await,
            false => {
                let begin_with = args.history.unwrap_or(0).min(room::HISTORY_MAX);
                room::in_pipe(&app, client, connection, place, (begin_with, args.timeout)).await
            }
        };
    }
    let mut names = Names::of(&client);
    let account = known_or(&client, &args.peer, &mut names, find(&client, &args.peer)).await?;
    let connection = Connection::open(&app, &client).await?;
    if on_terminal {
        live::run(&app, client, connection, names, account, args.history.unwrap_or(HISTORY).max(1)).await
    } else {
        let peer = (account, args.peer.as_str());
        pipe::run(&app, client, connection, names, peer, (args.history.unwrap_or(0), args.timeout)).await
    }
}

/// Neither addresses nor handles nor ids of accounts look so.
fn is_channel(peer: &str) -> bool {
    peer.starts_with('#') || peer.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_called_like_a_channel() {
        assert!(is_channel("Gardeners/tomatoes") && is_channel("#tomatoes"));
        for peer in
            ["@bob", "bob", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "01a20f45-3963-7559-80cb-f59fd035b63e"]
        {
            assert!(!is_channel(peer), "{peer}");
        }
    }
}
