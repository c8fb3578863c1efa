//! Completions for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::app::App;
use crate::cli::Cli;
use crate::failure::Failure;

/// Prints completions.
#[derive(Debug, Args)]
#[command(after_help = "Example: nepto completions bash > ~/.local/share/bash-completion/completions/nepto")]
pub struct CompletionsArgs {
    /// The shell that shall complete commands
    shell: Shell,
}

pub fn completions(app: &App, args: CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "nepto", &mut script);
    app.say(String::from_utf8_lossy(&script).trim_end())
}
