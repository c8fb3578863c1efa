//! Hints as they can be typed: with the profile that was named on the command line, and the server that it is signed in at.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use clap::CommandFactory;

use crate::cli::Cli;
use crate::failure::Failure;

/// What is known of them in one run.
#[derive(Clone)]
pub struct Hints {
    nepto: String,
    server: Arc<OnceLock<String>>,
}

impl Hints {
    /// For a profile that was named on the command line.
    pub fn new(profile: Option<&Path>) -> Self {
        let named = |folder: &Path| format!("nepto --profile {}", word(&folder.display().to_string()));
        Self { nepto: profile.map_or_else(|| "nepto".to_owned(), named), server: Arc::default() }
    }

    /// How they begin.
    pub fn nepto(&self) -> &str {
        &self.nepto
    }

    /// Where the profile is signed in, or is about to be.
    pub fn set_server(&self, url: &str) {
        // one run knows one profile
        let _ = self.server.set(url.to_owned());
    }

    /// The command that signs in.
    pub fn login(&self) -> String {
        self.complete("nepto login --server URL --keystore FILE")
    }

    /// The same failure, whose commands are complete as far as this run knows.
    pub fn completed(&self, failure: Failure) -> Failure {
        Failure { detail: self.complete(&failure.detail), ..failure }
    }

    fn complete(&self, text: &str) -> String {
        let cli = Cli::command();
        let begins = cli.get_subcommands().map(|command| format!("nepto {}", command.get_name()));
        let text = begins.fold(text.to_owned(), |text, begin| {
            let named = begin.replacen("nepto", &self.nepto, 1);
            text.replace(&begin, &named)
        });
        match self.server.get() {
            Some(server) => text.replace("login --server URL", &format!("login --server {}", word(server))),
            None => text,
        }
    }
}

/// A word of a shell's command line, in quotes where it needs them.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-:@%+=,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn completed(profile: Option<&str>, server: Option<&str>, detail: &str) -> String {
        let hints = Hints::new(profile.map(Path::new));
        if let Some(server) = server {
            hints.set_server(server);
        }
        hints.completed(Failure::new(Exit::Error, "x", detail)).detail
    }

    #[test]
    fn what_is_known_stands_in_every_command() {
        let detail = "signed out; sign in again: nepto login --server URL --keystore FILE (see nepto login --help)";
        assert_eq!(completed(None, None, detail), detail);
        assert_eq!(
            completed(Some("/p/a b"), Some("https://chat.example.org/"), detail),
            "signed out; sign in again: nepto --profile '/p/a b' login --server https://chat.example.org/ --keystore FILE (see nepto \
             --profile '/p/a b' login --help)"
        );
        let other = "no: nepto contacts accept PEER, in nepto's words, for nepto on web1";
        assert_eq!(
            completed(Some("p"), None, other),
            "no: nepto --profile p contacts accept PEER, in nepto's words, for nepto on web1"
        );
        assert_eq!(completed(Some("p"), None, "nepto --profile p chat @bob"), "nepto --profile p chat @bob");
    }

    #[test]
    fn a_word_stays_one() {
        for (text, as_word) in [
            ("a/b-c", "a/b-c"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("http://[::1]:8", "'http://[::1]:8'"),
        ] {
            assert_eq!(word(text), as_word);
        }
    }
}
