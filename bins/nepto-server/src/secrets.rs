//! `make-secrets`: what only the servers of one deployment may know, made at its first start and never again.
//!
//! Each reader has a folder of its own, so that a container can be given its secrets and nobody else's. Every password is drawn for
//! itself. A secret that is gone afterwards is named and not replaced: what was made with it would be locked away.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nepto_files::Readers;
use nepto_kit::clock::Random;

/// Names of the secrets that were made, one a line.
const MADE: &str = "server/made";
/// Where a password is drawn from: 256 bits.
const PASSWORD_BYTES: usize = 32;

/// One secret, in the words of each of its readers.
struct Secret {
    name: &'static str,
    /// Paths below the folder, and what stands there.
    files: Vec<(&'static str, String)>,
}

/// Makes the secrets below a folder that were not made before. Returns whether there were any.
///
/// A first start that was cut off draws the secret again at which it was: nobody has used it, because nothing starts before this has
/// ended.
pub fn make(folder: &Path, random: &Random) -> Result<bool> {
    let list = folder.join(MADE);
    let mut made = match std::fs::read_to_string(&list) {
        Ok(made) => made,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", list.display())),
    };
    let mut is_any_new = false;
    for secret in secrets(random) {
        if made.lines().any(|name| name == secret.name) {
            let lost = secret.files.iter().map(|(path, _)| folder.join(path)).find(|path| !path.exists());
            if let Some(lost) = lost {
                bail!(
                    "{} was made and can't be found: restore it from a backup; to have the secret made anew, take {} out of {}",
                    lost.display(),
                    secret.name,
                    list.display()
                );
            }
            continue;
        }
        for (path, text) in &secret.files {
            write(&folder.join(path), text)?;
        }
        made.push_str(secret.name);
        made.push('\n');
        write(&list, &made)?;
        is_any_new = true;
    }
    Ok(is_any_new)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = path.parent().map_or(Ok(Vec::new()), nepto_files::private_folder);
    written.and_then(|_| nepto_files::write(path, text, Readers::Owner)).with_context(|| {
        format!("{} can't be written; its folder must belong to the user that this runs as", path.display())
    })
}

/// What the server is told, and what the servers beside it are: NATS and Redis know `nepto` by a password, and nobody else.
fn secrets(random: &Random) -> [Secret; 4] {
    let [nats, redis, database, grafana] = [(); 4].map(|()| password(random));
    // of Redis, whoever else asks may find out that it lives
    let acl = format!(
        "user default on nopass resetkeys resetchannels -@all +ping\n\
         user nepto on >{redis} ~* &* +@all -acl -config -debug -module -replicaof -shutdown -slaveof\n"
    );
    [
        Secret {
            name: "nats",
            files: vec![
                ("server/nats.url", format!("nats://nepto:{nats}@nats:4222\n")),
                (
                    "nats/authorization.conf",
                    format!("authorization {{\n    user: nepto\n    password: \"{nats}\"\n}}\n"),
                ),
            ],
        },
        Secret {
            name: "redis",
            files: vec![("server/redis.url", format!("redis://nepto:{redis}@redis:6379\n")), ("redis/users.acl", acl)],
        },
        Secret { name: "database", files: vec![("database/password", format!("{database}\n"))] },
        Secret { name: "grafana", files: vec![("grafana/password", format!("{grafana}\n"))] },
    ]
}

fn password(random: &Random) -> String {
    random.bytes::<PASSWORD_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("nepto-secrets-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        folder
    }

    fn texts(folder: &Path) -> BTreeMap<String, String> {
        let read = |name: &'static str| {
            let path = folder.join(name);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
            (name.to_owned(), std::fs::read_to_string(path).unwrap())
        };
        let files = secrets(&Random::default()).into_iter().flat_map(|secret| secret.files);
        files.map(|(name, _)| read(name)).collect()
    }

    /// The runs of 64 hexadecimal digits of a text.
    fn passwords(text: &str) -> Vec<&str> {
        text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64).collect()
    }

    #[test]
    fn they_are_made_once_and_each_is_another() {
        let folder = folder("once");
        assert!(make(&folder, &Random::default()).unwrap());
        let first = texts(&folder);
        assert!(!make(&folder, &Random::default()).unwrap());
        assert_eq!(texts(&folder), first);
        for (server, client) in
            [("nats/authorization.conf", "server/nats.url"), ("redis/users.acl", "server/redis.url")]
        {
            assert_eq!(passwords(&first[server]), passwords(&first[client]));
        }
        let mut all: Vec<&str> = first.values().flat_map(|text| passwords(text)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4, "{first:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_lost_secret_is_named_and_not_replaced() {
        let folder = folder("lost");
        make(&folder, &Random::default()).unwrap();
        let lost = folder.join("database/password");
        std::fs::remove_file(&lost).unwrap();
        let error = make(&folder, &Random::default()).unwrap_err().to_string();
        assert!(error.contains("database/password") && error.contains("backup"), "{error}");
        assert!(!lost.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_done_again() {
        let folder = folder("cut");
        make(&folder, &Random::default()).unwrap();
        let old = texts(&folder);
        // as a kill after the first file of the second secret leaves it, or a version that had only the first
        std::fs::write(folder.join(MADE), "nats\n").unwrap();
        std::fs::remove_file(folder.join("redis/users.acl")).unwrap();
        assert!(make(&folder, &Random::default()).unwrap());
        let new = texts(&folder);
        assert_eq!(passwords(&new["redis/users.acl"]), passwords(&new["server/redis.url"]));
        assert_ne!(new["server/redis.url"], old["server/redis.url"]);
        assert_eq!(new["server/nats.url"], old["server/nats.url"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
