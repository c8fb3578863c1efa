//! A backup while the server runs, and its restore where nothing is, as `compose/README.md` says.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nepto_files::Readers;

use super::{Deployment, USER, is_split};
use crate::deploy::engine::said;
use crate::up::demo::{ALICE, BOB, Stage};

/// The private key of `RECIPIENT`: everybody knows it, and it is for this alone.
const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33\n";
/// Where the containers have backups.
const FOLDER: &str = "/var/lib/nepto/backups/";

impl Deployment {
    /// What was said before the backup arrives after everything was lost, and two people who sign in again go on.
    pub fn lose_everything(&self, profile: &str, people: &Stage<'_>) -> Result<()> {
        let text = format!("sent before the backup of {profile}");
        people.says(ALICE, BOB, &text)?;
        let name = self.back_up(profile)?;
        self.talk(people, "gm, after the backup")?;
        let elsewhere = self.work.join("backups");
        let _ = fs::remove_dir_all(&elsewhere);
        nepto_files::private_folder(&elsewhere)?;
        fs::copy(Path::new(&self.mountpoint("backups")?).join(&name), elsewhere.join(&name))?;
        for path in [&elsewhere, &elsewhere.join(&name)] {
            chown(path, Some(USER), Some(USER))?;
        }
        self.remove()?;
        self.restore(profile, &elsewhere, &name)?;
        for who in [ALICE, BOB] {
            people.sign_in(who)?;
        }
        people.hears(BOB, &text)?;
        self.talk(people, &format!("gm after the restore of {profile}"))
    }

    /// Returns the name of its file.
    pub fn back_up(&self, profile: &str) -> Result<String> {
        let service = if is_split(profile) { "backup-split" } else { "backup" };
        let told = said(self.compose(profile).args(["run", "--rm", "-T", service]))?;
        let name = told.split(FOLDER).nth(1).and_then(|rest| rest.split_whitespace().next());
        let name = name.with_context(|| format!("it does not say where the backup is: {told}"))?;
        let metrics = fs::read_to_string(Path::new(&self.mountpoint("metrics")?).join("nepto_backup.prom"))?;
        ensure!(metrics.contains("\nnepto_backup_failed 0\n"), "{metrics}");
        Ok(name.to_owned())
    }

    /// Into volumes that are empty.
    fn restore(&self, profile: &str, folder: &Path, name: &str) -> Result<()> {
        let key = self.work.join("backup.key");
        nepto_files::write(&key, IDENTITY, Readers::Owner)?;
        let restore = |arguments: &[&str]| {
            let mut compose = self.compose(profile);
            compose.env("NEPTO_BACKUP_FOLDER", folder).stdin(Stdio::from(File::open(&key)?));
            said(compose.args(["run", "--rm", "-T", "restore", "--identity", "/dev/stdin"]).args(arguments).arg(name))
        };
        restore(&["--files-to", "files"])?;
        let password = Path::new(&self.mountpoint("secrets-database")?).join("password");
        nepto_files::write(&password, fs::read(folder.join("files/database.password"))?, Readers::Owner)?;
        chown(&password, Some(USER), Some(USER))?;
        println!("{}", restore(&[])?);
        self.start(profile)?;
        let again = restore(&[]).err().context("a backup was restored while the server runs")?.to_string();
        ensure!(again.contains("must be stopped first"), "{again}");
        Ok(())
    }
}
