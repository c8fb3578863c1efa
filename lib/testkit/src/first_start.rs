//! What a server makes at its first start, made once and copied for each stack: a database with all tables of a build, and the
//! keys of tokens. A server starts with them in a third of the time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use crate::server::{executable, run};
use crate::{Nats, Redis, Settings};

/// The folders below a stack's own.
pub(crate) const DATABASE: &str = "database";
pub(crate) const KEYS: &str = "keys";

/// Puts a database and keys that `nepto-server provision` has made into a folder that has neither yet.
pub(crate) async fn copy_into(to: &Path) -> Result<()> {
    let template = Template::of(&executable()?)?;
    if !template.copy(to).await? {
        template.make().await?;
        anyhow::ensure!(template.copy(to).await?, "somebody replaced the programs while tests run");
    }
    Ok(())
}

/// Where the keys of tokens are.
pub(crate) fn token_keys(folder: &Path) -> Settings {
    let file = |name: &str| folder.join(name).display().to_string();
    Settings::new()
        .set("tokens.signing_key_file", file("tokens.pem"))
        .set("tokens.verifying_key_file", file("tokens.pub.pem"))
}

/// What a build's tests copy. It lies beside the programs, and goes with them.
#[derive(Debug, Clone)]
struct Template {
    folder: PathBuf,
    /// Which build of the server made it.
    build: String,
}

impl Template {
    fn of(program: &Path) -> Result<Self> {
        let folder = program.parent().context("a program in a folder")?.join("testkit-first-start");
        let metadata = fs::metadata(program)?;
        let built = metadata.modified()?.duration_since(UNIX_EPOCH)?;
        let build = format!("{:x}-{:x}", built.as_nanos(), metadata.len());
        Ok(Self { folder, build })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.build)
    }

    /// Who makes one keeps out who copies, and makers keep each other out.
    async fn locked(&self, lock: fn(&File) -> std::io::Result<()>) -> Result<File> {
        fs::create_dir_all(&self.folder)?;
        let file = File::create(self.folder.join("lock"))?;
        tokio::task::spawn_blocking(move || lock(&file).map(|()| file).context("no lock")).await?
    }

    /// Whether there is one.
    async fn copy(&self, to: &Path) -> Result<bool> {
        let _lock = self.locked(File::lock_shared).await?;
        let exists = self.path().is_dir();
        if exists {
            copy(&self.path(), to).context("database and keys can't be copied")?;
        }
        Ok(exists)
    }

    /// Makes it, unless somebody else just has; those of other builds go.
    async fn make(&self) -> Result<()> {
        let _lock = self.locked(File::lock).await?;
        if self.path().is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            }
        }
        let made = crate::folder("nepto-template-")?;
        let (nats, redis) = tokio::try_join!(Nats::start(), Redis::start())?;
        let (database, keys) = (made.path().join(DATABASE), made.path().join(KEYS));
        let settings = Settings::new()
            .set("nats.url", nats.url())
            .set("redis.url", redis.url())
            .set("database.url", format!("surrealkv://{}", database.display()))
            .and(&token_keys(&keys));
        run(made.path(), &settings, &["provision"]).await?;
        // under another name first: who is killed in between leaves no half of one
        let unfinished = self.folder.join("unfinished");
        copy(&database, &unfinished.join(DATABASE))?;
        copy(&keys, &unfinished.join(KEYS))?;
        Ok(fs::rename(unfinished, self.path())?)
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => fs::copy(entry.path(), to).map(drop)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
    }

    #[tokio::test]
    async fn a_template_of_another_build_is_not_copied_but_replaced() {
        let (beside, program) = (crate::folder("nepto-test-").unwrap(), executable().unwrap());
        let template = Template { folder: beside.path().join("templates"), ..Template::of(&program).unwrap() };
        let older = Template { build: "older".to_owned(), ..template.clone() };
        fs::create_dir_all(older.path()).unwrap();
        let to = beside.path().join("copy");
        assert!(!template.copy(&to).await.unwrap() && !to.exists());
        let (one, other) = tokio::join!(template.make(), template.make());
        one.and(other).unwrap();
        assert!(!older.path().exists());
        assert!(template.copy(&to).await.unwrap());
        assert!(files(&to) > 0 && files(&to) == files(&template.path()));
    }
}
