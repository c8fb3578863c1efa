//! What of the containers can be seen, done and reached by somebody who should not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use super::{Container, Deployment, IMAGE, USER};
use crate::deploy::engine::said;
use crate::deploy::outside::HOST;

/// Where something of ours could listen inside.
const INNER_PORTS: [u16; 10] = [80, 443, 2019, 2020, 4222, 6222, 6379, 8000, 8222, 9464];

impl Deployment {
    /// Every file of the volumes for secrets and token keys, with what is secret in it.
    pub fn secrets(&self) -> Result<BTreeMap<PathBuf, String>> {
        let mut secrets = BTreeMap::new();
        for volume in self.engine.say(&["volume", "ls", "--quiet"])?.lines() {
            if !volume.contains("_secrets-") && !volume.ends_with("_token-keys") {
                continue;
            }
            let folder = self.engine.say(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume])?;
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let metadata = fs::metadata(&path)?;
                let mode = metadata.permissions().mode() & 0o777;
                ensure!(mode == 0o600 && metadata.uid() == USER, "{} has mode {mode:o}", path.display());
                let text = fs::read_to_string(&path)?;
                secrets.extend(secret_of(&text).map(|secret| (path, secret)));
            }
        }
        // NATS, Redis, the database, Grafana, and the token keys
        let distinct: BTreeSet<&String> = secrets.values().collect();
        ensure!(distinct.len() == 5, "{} secrets instead of 5 in {:?}", distinct.len(), secrets.keys());
        Ok(secrets)
    }

    /// What is passed on comes with the words of those who made it.
    pub fn image_has_licences(&self) -> Result<()> {
        let container = self.engine.say(&["create", IMAGE])?;
        let licences = self.work.join("licences");
        let _ = fs::remove_dir_all(&licences);
        let copied = self.engine.say(&["cp", &format!("{container}:/usr/share/doc"), &licences.to_string_lossy()]);
        self.engine.say(&["rm", &container])?;
        copied?;
        for file in ["nepto/LICENSE", "nepto/LICENCES-OF-CRATES", "libc6/copyright", "ca-certificates/copyright"] {
            let length = fs::metadata(licences.join(file)).map_or(0, |metadata| metadata.len());
            ensure!(length > 1_000, "the image lacks /usr/share/doc/{file}");
        }
        Ok(())
    }

    /// No secret is in what others can see.
    pub fn nobody_sees(&self, secrets: &BTreeMap<PathBuf, String>) -> Result<()> {
        let mut seen = vec![("the image".to_owned(), self.engine.say(&["history", "--no-trunc", IMAGE])?)];
        seen.push(("the image".to_owned(), self.engine.say(&["inspect", IMAGE])?));
        for Container { name, .. } in self.containers()? {
            seen.push((format!("inspect {name}"), self.engine.say(&["inspect", &name])?));
            let log = self.engine.docker().args(["logs", &name]).output()?;
            let log = [log.stdout, log.stderr].concat();
            seen.push((format!("the log of {name}"), String::from_utf8_lossy(&log).into_owned()));
        }
        seen.push(("the list of processes".to_owned(), said(Command::new("ps").args(["-eo", "args"]))?));
        for (path, secret) in secrets {
            if let Some((place, _)) = seen.iter().find(|(_, text)| text.contains(secret)) {
                bail!("what {} holds can be seen in {place}", path.display());
            }
        }
        Ok(())
    }

    pub fn nobody_may_more_than_needed(&self) -> Result<()> {
        let format =
            "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}} {{.HostConfig.CapDrop}}";
        for Container { name, .. } in self.containers()? {
            let may = self.engine.say(&["inspect", "--format", format, &name])?;
            ensure!(may == format!("{USER}:{USER} true false [ALL]"), "{name}: {may}");
        }
        Ok(())
    }

    /// From another machine: the ports of this one that were not open before, and the containers themselves.
    pub fn only_these_are_open(&self, before: &BTreeSet<u16>, expected: &[u16]) -> Result<()> {
        let now = self.outside.open_ports(HOST.into(), &[])?;
        let new: BTreeSet<u16> = now.difference(before).copied().collect();
        ensure!(new == expected.iter().copied().collect(), "open on this machine: {new:?}, expected: {expected:?}");
        let addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let mut asked = 0;
        for Container { name, .. } in self.containers()? {
            for address in self.engine.say(&["inspect", "--format", addresses, &name])?.split_whitespace() {
                let address: IpAddr = address.parse()?;
                let ports: Vec<u16> = INNER_PORTS.into_iter().filter(|port| !expected.contains(port)).collect();
                let open = self.outside.open_ports(address, &ports)?;
                ensure!(open.is_empty(), "{name} can be reached from elsewhere at {address}: {open:?}");
                asked += 1;
            }
        }
        println!("from elsewhere only {expected:?} can be reached; {asked} addresses of containers were tried");
        Ok(())
    }
}

/// What is secret in a file that `make-secrets` or `provision` makes: 64 digits, or the second line of a key.
fn secret_of(text: &str) -> Option<String> {
    let password = text.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64);
    let key = || text.strip_prefix("-----BEGIN PRIVATE KEY-----\n")?.lines().next();
    password.or_else(key).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_what_is_made() {
        let password = "ab".repeat(32);
        assert_eq!(secret_of(&format!("nats://nepto:{password}@nats:4222\n")), Some(password.clone()));
        assert_eq!(secret_of(&format!("user nepto on >{password} ~*\n")), Some(password));
        let key = "-----BEGIN PRIVATE KEY-----\nMFEC\n-----END PRIVATE KEY-----\n";
        assert_eq!(secret_of(key).as_deref(), Some("MFEC"));
        assert_eq!(secret_of("nats\nredis\n"), None);
    }
}
