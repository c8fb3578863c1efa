//! The role `database`: SurrealDB's own server, linked in, so that a rack needs no other download.
//!
//! It reads its arguments from the process, so this program starts itself again under the name `surreal`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use surrealdb_server::core::CommunityComposer;

const NAME: &str = "surreal";
/// What the server does unless its environment says otherwise. By itself it would ask its maker for the newest version at
/// every start, and take half of the machine's memory for its cache.
const DEFAULTS: [(&str, &str); 3] = [
    ("SURREAL_ONLINE_VERSION_CHECK", "false"),
    ("SURREAL_SURREALKV_BLOCK_CACHE_CAPACITY", "134217728"),
    ("SURREAL_SURREALKV_MAX_MEMTABLE_SIZE", "33554432"),
];

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
    for (name, value) in DEFAULTS {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let error = command.exec();
    eprintln!("nepto-server: the database can't be started: {error}");
    ExitCode::FAILURE
}
