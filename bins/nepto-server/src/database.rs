//! The role `database`: SurrealDB's own server, linked in, so that a rack needs no other download.
//!
//! It reads its arguments from the process, so this program starts itself again under the name `surreal`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nepto_kit::db::STORE_BOUNDS;
use surrealdb_server::core::CommunityComposer;

const NAME: &str = "surreal";
/// What the server does unless its environment says otherwise, beside the bounds of its store. By itself it would ask its maker
/// for the newest version at every start.
const DEFAULT: (&str, &str) = ("online_version_check", "false");

/// Whether this process was started by [`become_database_process`].
pub fn is_database_process() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// SurrealDB's own `main`, which reads its arguments.
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
    for (name, value) in STORE_BOUNDS.into_iter().chain([DEFAULT]) {
        let name = format!("SURREAL_{}", name.to_uppercase());
        if std::env::var_os(&name).is_none() {
            command.env(name, value);
        }
    }
    let error = command.exec();
    eprintln!("nepto-server: the database can't be started: {error}");
    ExitCode::FAILURE
}
