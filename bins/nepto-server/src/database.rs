//! The role `database`: SurrealDB's own server, linked in, so that a rack needs no other download.
//!
//! It reads its arguments from the process, so this program starts itself again under the name `surreal`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use surrealdb_server::core::CommunityComposer;

const NAME: &str = "surreal";
/// Without it the server asks its maker for the newest version at every start.
const VERSION_CHECK: &str = "SURREAL_ONLINE_VERSION_CHECK";

/// Whether this process was started by [`become_database_process`].
pub fn is_database_process() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// SurrealDB's `main`.
pub fn run() -> ExitCode {
    surrealdb_server::init(CommunityComposer())
}

/// Replaces this process; returns only if that fails.
pub fn become_database_process(arguments: Vec<OsString>) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("nepto-server: its own program can't be found: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut command = Command::new(program);
    command.arg0(NAME).args(arguments);
    if std::env::var_os(VERSION_CHECK).is_none() {
        command.env(VERSION_CHECK, "false");
    }
    let error = command.exec();
    eprintln!("nepto-server: the database can't be started: {error}");
    ExitCode::FAILURE
}
