//! `nepto`: the command-line client. Signs in with a wallet, and chats end-to-end encrypted from a terminal or a script.
//!
//! Each command group is a file in [`commands`]; the full-screen chat is [`chat`]. What others wrote passes through
//! [`text`] before it reaches a terminal.

mod app;
mod called;
mod chat;
mod cli;
mod commands;
mod connection;
mod duration;
mod failure;
mod hints;
mod json;
mod names;
mod nodes;
mod render;
mod secret;
mod text;
mod wallet;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use time::UtcOffset;

use app::App;
use cli::Cli;
use failure::Failure;

fn main() -> ExitCode {
    // the offset can only be read while there is one thread
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if wants_json && error.use_stderr() => return end(Err(usage(&error)), true),
        Err(error) => error.exit(),
    };
    let json = cli.global.json;
    // a program reads no notes, and the screen of a chat shows by itself how the connection is
    let is_for_people = !json && !matches!(cli.command, cli::Command::Chat(_));
    start_log(cli.global.verbose, is_for_people);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(error.into()), json),
    };
    let app = App::new(cli.global, offset);
    let result = runtime.block_on(commands::run(app, cli.command));
    // a thread may still wait for a line of standard input
    runtime.shutdown_background();
    end(result, json)
}

fn end(result: Result<(), Failure>, json: bool) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if failure.code == failure::BROKEN_PIPE {
        return ExitCode::SUCCESS;
    }
    if json {
        eprintln!("{}", failure.to_json());
    } else {
        eprintln!("{}", failure.to_text());
        if failure.exit == failure::Exit::Usage {
            eprintln!("\nFor more information, try '--help'.");
        }
    }
    ExitCode::from(failure.exit as u8)
}

fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    // clap's first paragraph says what is wrong, the others how it is right
    let what = text.split("\n\n").next().unwrap_or_default();
    Failure::usage(text::clean_line(what.trim_start_matches("error: ")))
}

fn start_log(verbose: u8, is_for_people: bool) {
    if verbose == 0 && is_for_people {
        // whom the command waits for, as a note and not as a line of a log
        let notes = tracing_subscriber::fmt().without_time().with_level(false).with_target(false).with_ansi(false);
        return notes.with_env_filter("off,nepto_sdk::waiting=info").with_writer(std::io::stderr).init();
    }
    // the logs of others name keys (libsignal) or headers (HTTP): they stay out, or at warnings
    let level = match verbose {
        0 => "off",
        1 => "off,nepto_sdk=info",
        2 => "off,nepto_sdk=debug",
        _ => "warn,libsignal_protocol=error,libsignal_core=error,nepto_sdk=trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
