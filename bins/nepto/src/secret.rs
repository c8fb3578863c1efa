//! Passphrases and keys: from a terminal without echo, a file, standard input, or the environment. Never from the command
//! line, where everybody on the machine could read them.

use std::io::BufRead;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::Global;
use crate::failure::Failure;

/// The environment variable for scripts.
const PASSPHRASE_VARIABLE: &str = "NEPTO_PASSPHRASE";

/// A secret, wiped when it is dropped.
pub type Secret = Zeroizing<String>;

/// The passphrase of a profile that exists.
pub fn passphrase(global: &Global) -> Result<Secret, Failure> {
    match given(global)? {
        Some(passphrase) => Ok(passphrase),
        None => ask("Passphrase of the profile: ", NO_TERMINAL),
    }
}

/// A passphrase for a profile that is made now. On a terminal it is asked for twice.
pub fn new_passphrase(global: &Global, prompt: &str) -> Result<Secret, Failure> {
    let passphrase = match given(global)? {
        Some(passphrase) => passphrase,
        None => ask_twice(prompt, NO_TERMINAL)?,
    };
    not_empty(passphrase, "the passphrase")
}

const NO_TERMINAL: &str = "the profile's passphrase is needed, and there is no terminal to ask on: \
                           set NEPTO_PASSPHRASE_FILE, or say --passphrase-file FILE";

fn given(global: &Global) -> Result<Option<Secret>, Failure> {
    if let Some(file) = &global.passphrase_file {
        return first_line(file, "the passphrase").map(Some);
    }
    match std::env::var(PASSPHRASE_VARIABLE) {
        Ok(passphrase) if !passphrase.is_empty() => Ok(Some(Zeroizing::new(passphrase))),
        _ => Ok(None),
    }
}

/// Asks without echo.
pub fn ask(prompt: &str, without_terminal: &str) -> Result<Secret, Failure> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|_| Failure::usage(without_terminal))
}

/// Asks without echo, twice, so that a slip of the finger locks nobody out.
pub fn ask_twice(prompt: &str, without_terminal: &str) -> Result<Secret, Failure> {
    loop {
        let first = ask(prompt, without_terminal)?;
        if *first == *ask("Once more: ", without_terminal)? {
            return Ok(first);
        }
        eprintln!("They differ; try again.");
    }
}

/// The first line of a file; `-`: of standard input.
pub fn first_line(file: &Path, what: &str) -> Result<Secret, Failure> {
    if file == Path::new("-") {
        return stdin_line(what);
    }
    let text = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| Failure::usage(format!("{what} can't be read from {}: {error}", file.display())))?;
    let line = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    not_empty(line, what)
}

/// The next line of standard input.
pub fn stdin_line(what: &str) -> Result<Secret, Failure> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut line)?;
    not_empty(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()), what)
}

fn not_empty(secret: Secret, what: &str) -> Result<Secret, Failure> {
    if secret.is_empty() { Err(Failure::usage(format!("{what} is empty"))) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, " two words \r\nand more\n").unwrap();
        assert_eq!(*first_line(&path, "it").unwrap(), " two words ");
        std::fs::write(&path, "\nsecond").unwrap();
        assert!(first_line(&path, "it").is_err());
        assert!(first_line(&folder.path().join("none"), "it").is_err());
    }
}
