//! A conversation, live. On a terminal it fills the screen; in a pipe each line is a message.
//!
//! The screen shows what the store says and little else: an event only says that it is time to look again. [`state`] and
//! [`screen`] know neither terminal nor network.

mod input;
mod live;
mod pipe;
mod screen;
mod slash;
mod state;
mod terminal;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use crate::app::App;
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
  tail -f /var/log/alerts | nepto chat @oncall")]
pub struct ChatArgs {
    /// With whom: wallet address, handle or account id; your own: notes to yourself
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
    let mut names = Names::of(&client);
    let account = known_or(&client, &args.peer, &mut names, find(&client, &args.peer)).await?;
    let connection = Connection::open(&app, &client).await?;
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !app.json();
    if on_terminal {
        live::run(&app, client, connection, names, account, args.history.unwrap_or(HISTORY).max(1)).await
    } else {
        let peer = (account, args.peer.as_str());
        pipe::run(&app, client, connection, names, peer, (args.history.unwrap_or(0), args.timeout)).await
    }
}
