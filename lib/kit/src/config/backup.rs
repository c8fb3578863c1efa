//! `[backup]`: where backups go, and who can read them.

use std::path::{Path, PathBuf};

use age::x25519::Recipient;
use serde::Deserialize;

use super::ConfigError;

/// Where backups go, and who can read them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// Public keys, `age1…`, as `age-keygen` makes them: any one of the private keys opens a backup. No machine that runs Nepto
    /// needs one of those.
    pub recipients: Vec<String>,
    /// Folder of the backups.
    pub folder: PathBuf,
    /// So many backups are kept, the newest.
    pub keep: usize,
    /// Prometheus text about the last backup, for the textfile collector of its node exporter.
    pub metrics_file: Option<PathBuf>,
}

impl Default for Backup {
    fn default() -> Self {
        Self { recipients: Vec::new(), folder: ".nepto/backups".into(), keep: 7, metrics_file: None }
    }
}

impl Backup {
    /// The recipients as keys; an error if there is none. `file` is the configuration that they would stand in, if one was read.
    pub fn keys(&self, file: Option<&Path>) -> anyhow::Result<Vec<Recipient>> {
        let place = || match file {
            Some(file) => file.display().to_string(),
            None => "the environment (no file of configuration was read)".to_owned(),
        };
        anyhow::ensure!(
            !self.recipients.is_empty(),
            "backup.recipients names nobody in {}: make a key with `age-keygen -o backup.key` on a machine of yours, keep that \
             file there, and write its public key (age1…) into [backup] as recipients = [\"age1…\"]",
            place()
        );
        self.recipients.iter().map(|recipient| parse(recipient).map_err(|error| anyhow::anyhow!(error))).collect()
    }
}

fn parse(recipient: &str) -> Result<Recipient, String> {
    recipient.parse().map_err(|_| match recipient.starts_with("AGE-SECRET-KEY-") {
        true => {
            "it is a private key: write the public one (age1…) here, and take that one for known to others".to_owned()
        }
        false => format!("{recipient:?} is no public key of age (age1…)"),
    })
}

pub(super) fn check(backup: &Backup) -> Result<(), ConfigError> {
    for recipient in &backup.recipients {
        parse(recipient).map_err(|problem| ConfigError::value("backup.recipients", problem))?;
    }
    match backup.keep {
        0 => Err(ConfigError::value("backup.keep", "must be 1 or more")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        let public = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
        let private = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        let with = |recipient: &str| Backup { recipients: vec![recipient.to_owned()], ..Backup::default() };
        check(&with(public)).unwrap();
        assert_eq!(with(public).keys(None).unwrap().len(), 1);
        let refused = check(&with(private)).unwrap_err().to_string();
        assert!(refused.contains("private key") && !refused.contains("1GQ9778"), "{refused}");
        assert!(check(&with("age1nothing")).unwrap_err().to_string().contains("backup.recipients"));
        assert!(check(&Backup { keep: 0, ..Backup::default() }).unwrap_err().to_string().contains("backup.keep"));
        let nobody = Backup::default().keys(Some(Path::new("/etc/nepto/nepto.toml"))).err().unwrap().to_string();
        assert!(nobody.contains("age-keygen") && nobody.contains("/etc/nepto/nepto.toml"), "{nobody}");
    }
}
