//! What every command needs: the profile, the clock, and a place to print.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use nepto_sdk::store::StoreError;
use nepto_sdk::{Client, Env, ProfileLocation};
use serde::Serialize;
use time::{OffsetDateTime, UtcOffset};

use crate::cli::Global;
use crate::failure::{Exit, Failure};
use crate::hints::Hints;
use crate::render::{self, Line};
use crate::secret;
use crate::text::safe_json;

/// The store's file in the folder of a profile.
const STORE_FILE: &str = "profile.redb";

/// One run of the program.
pub struct App {
    pub global: Global,
    pub env: Env,
    /// The local time zone.
    pub offset: UtcOffset,
    /// Whether standard output shows colours.
    pub color: bool,
    /// What hints to be typed look like.
    pub hints: Hints,
}

impl App {
    pub fn new(global: Global, offset: UtcOffset) -> Self {
        let color =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        // a profile of the environment is that of the next command too
        let named = global.profile.as_deref().filter(|_| std::env::var_os("NEPTO_PROFILE").is_none());
        let hints = Hints::new(named);
        Self { global, env: Env::system(), offset, color, hints }
    }

    pub fn json(&self) -> bool {
        self.global.json
    }

    /// Now, in local time.
    pub fn now(&self) -> OffsetDateTime {
        self.env.date_time().to_offset(self.offset)
    }

    /// How hints begin that are to be typed: the program, and the profile where it was named on the command line.
    pub fn nepto(&self) -> &str {
        self.hints.nepto()
    }

    /// The folder of the profile.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.global.profile {
            return match folder.is_file() {
                true => Err(Failure::usage(format!("{} is a file, and a profile is a folder", folder.display()))),
                false => Ok(folder.clone()),
            };
        }
        let data = match std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
            Some(data) => data,
            None => std::env::home_dir()
                .ok_or_else(|| Failure::usage("there is no home folder; say --profile DIR"))?
                .join(".local/share"),
        };
        Ok(data.join("nepto").join("default"))
    }

    fn store_file(&self) -> Result<PathBuf, Failure> {
        Ok(self.folder()?.join(STORE_FILE))
    }

    /// The profile for signing in, which is made if it isn't there.
    pub fn location_for_login(&self) -> Result<ProfileLocation, Failure> {
        let path = self.store_file()?;
        let passphrase = if !path.exists() {
            secret::new_passphrase(&self.global, "Choose a passphrase for this profile: ")?
        } else {
            secret::passphrase(&self.global)?
        };
        Ok(ProfileLocation::File { path, passphrase })
    }

    /// Makes the folder of the profile, readable by its owner alone.
    pub fn make_folder(&self) -> Result<NewFolders, Failure> {
        let made = nepto_files::private_folder(&self.folder()?).map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(NewFolders(made))
    }

    /// The signed-in device of the profile. Nothing goes over the network.
    pub async fn client(&self) -> Result<Client, Failure> {
        let path = self.store_file()?;
        if let Err(error) = std::fs::metadata(&path) {
            return Err(self.absent(&error)?);
        }
        let passphrase = secret::passphrase(&self.global)?;
        let location = ProfileLocation::File { path, passphrase };
        let client = Client::open(location, self.env.clone()).await?;
        self.hints.set_server(client.http().server().as_str());
        Ok(client)
    }

    /// Why the profile can't be opened.
    fn absent(&self, error: &std::io::Error) -> Result<Failure, Failure> {
        let folder = self.folder()?;
        let folder = folder.display();
        if error.kind() != std::io::ErrorKind::NotFound {
            return Ok(Failure::new(Exit::Error, "profile", format!("the profile {folder} can't be read: {error}")));
        }
        let detail = format!(
            "nobody is signed in with the profile {folder}; sign in: nepto login --server URL --keystore FILE, \
             or --new-keystore FILE if you have no wallet yet"
        );
        Ok(Failure::new(Exit::NotSignedIn, "not_signed_in", detail))
    }

    /// Prints a line for people or scripts.
    pub fn say(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", text.as_ref())?;
        Ok(())
    }

    /// Prints styled lines.
    pub fn show(&self, lines: &[Line]) -> Result<(), Failure> {
        for line in lines {
            self.say(render::to_text(line, self.color))?;
        }
        Ok(())
    }

    /// Prints one JSON object on a line.
    pub fn say_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(value).map_err(|error| Failure::other(error.to_string()))?;
        self.say(safe_json(&json))
    }

    /// Tells something beside the answer, on standard error. Programs get none of it.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.json() {
            let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
        }
    }
}

/// Folders that were made for a profile.
#[must_use]
pub struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// There is no profile: they go again, unless something is in them.
    pub fn remove_if_empty(self) {
        for folder in self.0 {
            if std::fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}
