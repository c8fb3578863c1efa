//! Backups are copied to a host elsewhere, whose account for them takes new files and nothing else.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::trial::Trial;
use crate::deploy::engine::said;

/// In no inventory.
const ELSEWHERE: (&str, Ipv4Addr) = ("elsewhere", Ipv4Addr::new(10, 0, 0, 200));
/// As `ansible/README.md` says that such an account should be.
const ACCOUNT: &str = r#"set -o errexit
apt-get -q install -y --no-install-recommends rsync
useradd --create-home --shell /bin/sh backups
install --directory --owner backups /srv/nepto-backups /home/backups/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/backup-copy
echo "restrict,command=\"rrsync -wo -no-del /srv/nepto-backups\" $(cat /root/backup-copy.pub)" > /home/backups/.ssh/authorized_keys"#;
/// What is in the folder of copies, or of backups.
const SUMS: &str = "cd \"$FOLDER\" && sha256sum -- *.backup.age";
/// What would be read with the key that copies.
const READ: &str = r#"cd /etc/nepto/secrets
rsync --list-only --rsh "ssh -F none -i backup-copy.key -o BatchMode=yes -o UserKnownHostsFile=backup-copy.known_hosts" backups@"$ADDRESS": 2>&1"#;
const COPIED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Trial<'_> {
    /// The next backup is there as well.
    pub fn copies(&mut self) -> Result<()> {
        let (name, address) = ELSEWHERE;
        // what a run left that failed
        let _ = self.machines.discard(name);
        self.machines.boot(&BTreeMap::from([(name.to_owned(), address)]))?;
        let elsewhere = self.machines.host(name)?;
        elsewhere.run(&["sh", "-c", ACCOUNT])?;
        let key = elsewhere.run(&["cat", "/root/backup-copy"])?;
        let host_key = elsewhere.run(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])?;
        for (variable, value) in [
            ("backup_copy_to", format!("backups@{address}:")),
            ("backup_copy_key", key),
            ("backup_copy_known_hosts", format!("{address} {host_key}")),
        ] {
            self.inventory.set(variable, value);
        }
        self.inventory.write()?;
        self.site()?;

        let from = self.inventory.group("backup").first().context("no host is in the group backup")?.clone();
        self.machines.host(&from)?.run(&["systemctl", "start", "nepto-backup"])?;
        let made = self.sums(&from, "/var/lib/nepto/backups")?;
        let told = "/var/lib/prometheus/node-exporter/nepto_backup_copy.prom";
        let began = Instant::now();
        loop {
            let copied = self.sums(name, "/srv/nepto-backups").unwrap_or_default();
            // it says so once everything is there
            let told = self.machines.host(&from)?.run(&["cat", told]).unwrap_or_default();
            if copied == made && told == "nepto_backup_copy_failed 0" {
                break;
            }
            ensure!(
                began.elapsed() < COPIED_WITHIN,
                "there are {made:?}, elsewhere {copied:?}; Prometheus hears {told:?}"
            );
            sleep(LOOK_EVERY);
        }
        println!("  {} backups are elsewhere as they are on {from}, and Prometheus knows", made.lines().count());
        let mut read = self.machines.host(&from)?.command(&["sh", "-c", READ]);
        let read = read.env("ADDRESS", address.to_string()).output()?;
        let answer = String::from_utf8_lossy(&read.stdout);
        ensure!(!read.status.success() && answer.contains("rrsync"), "the key that copies can read: {answer}");
        println!("  what copies them can't read them there");
        self.site()?.changed_nothing()?;
        self.machines.discard(name)
    }

    fn sums(&self, host: &str, folder: &str) -> Result<String> {
        said(self.machines.host(host)?.command(&["sh", "-c", SUMS]).env("FOLDER", folder))
    }
}
