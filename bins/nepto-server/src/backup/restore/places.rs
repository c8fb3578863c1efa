//! Which folder the databases of a store are put into.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nepto_kit::config::Database;

use crate::backup::named::Named;

/// Where the databases of a store belong.
#[derive(Debug, PartialEq, Eq)]
pub struct Folder {
    pub path: PathBuf,
    pub domains: Vec<String>,
}

impl Folder {
    pub fn has(&self, domain: &str) -> bool {
        self.domains.iter().any(|name| name == domain)
    }

    /// Where they are made ready.
    pub fn unfinished(&self) -> anyhow::Result<PathBuf> {
        beside(&self.path, "restoring")
    }
}

/// The folder of each store of a backup, as the configuration has them or as somebody named them.
pub fn folders(config: &Database, named: &[Named], stores: &[Vec<String>]) -> anyhow::Result<Vec<Folder>> {
    ensure!(!stores.is_empty(), "there are no databases in this backup");
    Named::check(named, stores.iter().map(Vec::as_slice))?;
    let mut folders: Vec<Folder> = Vec::new();
    for domains in stores {
        let path = folder(config, named, domains)?;
        if let Some(other) = folders.iter().find(|folder| folder.path == path) {
            bail!(
                "the backup has the databases of {} and of {} in stores of their own, and both would be in {}: configure servers \
                 for them as they were (--files-to shows how), and restore to those with --databases-to; `nepto-server \
                 move-database` brings them together afterwards",
                other.domains.join(", "),
                domains.join(", "),
                path.display()
            );
        }
        folders.push(Folder { path, domains: domains.clone() });
    }
    Ok(folders)
}

fn folder(config: &Database, named: &[Named], domains: &[String]) -> anyhow::Result<PathBuf> {
    let first = domains.first().context("a store without databases")?;
    let place = config.of(first);
    if let Some(other) = domains.iter().find(|domain| config.of(domain).url != place.url) {
        bail!(
            "the backup has the databases of {first} and {other} in one store, and the configuration in two: restore with both at \
             one place, as they were (--files-to shows how); `nepto-server move-database` parts them afterwards"
        );
    }
    let named = Named::for_store(named, domains, place.url == config.url);
    match (named, place.url.strip_prefix("surrealkv://")) {
        (Some(folder), _) => Ok(folder.clone()),
        (None, Some(folder)) => Ok(PathBuf::from(folder)),
        (None, None) => bail!(
            "the databases of {} are those of a server: while it does not run, say with --databases-to {}FOLDER which folder it is \
             started on. If that is on another machine, name a new one here and carry it there",
            domains.join(", "),
            if place.url == config.url { String::new() } else { format!("{first}=") }
        ),
    }
}

/// A folder on the same file system, named after this one.
pub fn beside(folder: &Path, what: &str) -> anyhow::Result<PathBuf> {
    let name =
        folder.file_name().with_context(|| format!("{} is no folder that could be replaced", folder.display()))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{what}"));
    Ok(folder.with_file_name(beside))
}

#[cfg(test)]
mod tests {
    use nepto_kit::config::Elsewhere;

    use super::*;

    fn stores(stores: &[&[&str]]) -> Vec<Vec<String>> {
        stores.iter().map(|domains| domains.iter().map(|name| (*name).to_owned()).collect()).collect()
    }

    fn paths(config: &Database, named: &[&str], in_backup: &[&[&str]]) -> Result<Vec<String>, String> {
        let named: Vec<Named> = named.iter().map(|text| Named::parse(text).unwrap()).collect();
        let folders = folders(config, &named, &stores(in_backup)).map_err(|error| error.to_string())?;
        Ok(folders.into_iter().map(|folder| folder.path.display().to_string()).collect())
    }

    #[test]
    fn each_store_has_a_folder_of_its_own() {
        let embedded = Database { url: "surrealkv:///nepto/database".to_owned(), ..Database::default() };
        let one: &[&[&str]] = &[&["auth", "keys"]];
        assert_eq!(paths(&embedded, &[], one).unwrap(), ["/nepto/database"]);
        assert_eq!(paths(&embedded, &["/a=b/c"], one).unwrap(), ["/a=b/c"]);
        let other = Elsewhere { url: Some("ws://10.0.0.3:8000".to_owned()), ..Elsewhere::default() };
        let mut two = embedded.clone();
        two.domains.insert("keys".to_owned(), other);
        let apart: &[&[&str]] = &[&["auth"], &["keys"]];
        assert_eq!(paths(&two, &["keys=/keys"], apart).unwrap(), ["/nepto/database", "/keys"]);
        two.url = "ws://10.0.0.2:8000".to_owned();
        assert_eq!(paths(&two, &["/all", "keys=/keys"], apart).unwrap(), ["/all", "/keys"]);
        for (config, named, in_backup, said) in [
            (&two, &["/all"][..], apart, "--databases-to keys=FOLDER"),
            (&two, &["keys=/keys"], apart, "--databases-to FOLDER"),
            (&two, &["/all"], one, "in one store, and the configuration in two"),
            (&embedded, &[], apart, "in stores of their own"),
            (&two, &["/all", "keys=/all"], apart, "in stores of their own"),
            (&two, &["/all", "key=/keys"], apart, "\"key\""),
            (&embedded, &[], &[], "no databases"),
        ] {
            let refused = paths(config, named, in_backup).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
