//! The role `database`: SurrealDB's own server, linked in, so that a rack needs no other download.
//!
//! It reads its arguments from the process, so this program starts itself again under the name `surreal`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nepto_kit::db::STORE_BOUNDS;
use nepto_kit::db::restoring::refuse_half_restored;
use surrealdb_server::core::CommunityComposer;

const NAME: &str = "surreal";
/// What the server does unless its environment says otherwise, beside the bounds of its store. By itself it would ask its maker
/// for the newest version at every start. And `backup` asks it for all databases of one moment, as the owner of everything.
const DEFAULTS: [(&str, &str); 2] = [("online_version_check", "false"), ("caps_allow_experimental", "kvexport")];

/// The password of the user `SURREAL_USER` (or `--user`), as SurrealDB takes it.
const PASSWORD: &str = "SURREAL_PASS";
/// A file that has it: of systemd's credentials, or a secret of Compose.
const PASSWORD_FILE: &str = "SURREAL_PASS_FILE";

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
    if let Some(store) = store(&arguments)
        && let Err(error) = refuse_half_restored(&store)
    {
        eprintln!("nepto-server: {error}");
        return ExitCode::FAILURE;
    }
    let mut command = Command::new(program);
    command.arg0(NAME).args(arguments);
    for (name, value) in STORE_BOUNDS.into_iter().chain(DEFAULTS) {
        let name = format!("SURREAL_{}", name.to_uppercase());
        if std::env::var_os(&name).is_none() {
            command.env(name, value);
        }
    }
    if let Err(error) = pass_password(&mut command) {
        eprintln!("nepto-server: {error}");
        return ExitCode::FAILURE;
    }
    let error = command.exec();
    eprintln!("nepto-server: the database can't be started: {error}");
    ExitCode::FAILURE
}

/// The folder that it is started on, by its arguments or its environment.
fn store(arguments: &[OsString]) -> Option<PathBuf> {
    let path = std::env::var_os("SURREAL_PATH");
    let named = arguments.iter().chain(&path).filter_map(|argument| argument.to_str()?.strip_prefix("surrealkv://"));
    named.map(|path| PathBuf::from(path.split('?').next().unwrap_or(path))).next()
}

/// The password of a file, for a server that takes it from its environment or its arguments alone; those everybody can see.
fn pass_password(command: &mut Command) -> Result<(), String> {
    let Some(file) = std::env::var_os(PASSWORD_FILE).filter(|_| std::env::var_os(PASSWORD).is_none()) else {
        return Ok(());
    };
    let password = std::fs::read_to_string(&file);
    let password = password.map_err(|error| format!("{PASSWORD_FILE} names {}: {error}", file.display()))?;
    match password.trim_end() {
        "" => Err(format!("{PASSWORD_FILE} names {}, which is empty", file.display())),
        password => {
            command.env(PASSWORD, password).env_remove(PASSWORD_FILE);
            Ok(())
        }
    }
}
