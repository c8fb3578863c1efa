//! `compose/`, as somebody with Docker starts it.

pub mod backups;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};

use super::engine::{Engine, said};
use super::outside::{HOST, Outside};
use super::stand_ins;
use crate::cargo::{self, Targets};
use crate::dist;
use crate::paths::{Paths, short};
use crate::up::demo::{self, ALICE, BOB, Stage};

const PROJECT: &str = "nepto-test";
/// What is tried.
pub const IMAGE: &str = "nepto/nepto-server:test";
/// What it is upgraded to: the same under another name.
const NEXT_IMAGE: &str = "nepto/nepto-server:next";
/// What each container may have open, as `compose.yaml` has it.
const OPEN_FILES: u64 = 65_536;
const WELL_WITHIN: Duration = Duration::from_secs(180);
/// Where something of ours could listen inside.
const INNER_PORTS: [u16; 10] = [80, 443, 2019, 2020, 4222, 6222, 6379, 8000, 8222, 9464];
/// The user of every process, as `compose/Dockerfile` has it.
const USER: u32 = 10_001;

/// What is tried of it.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for logs and for the two people, emptied first [default: test-deploy in the folder of builds]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// These profiles; `dev` as well where the packages of contracts/ are
    #[arg(long, value_delimiter = ',', default_values = ["all", "split", "tls"])]
    profiles: Vec<String>,
}

/// Tries it.
pub fn run(paths: &Paths, options: &Options) -> Result<()> {
    let work = match &options.work {
        Some(work) => std::path::absolute(work)?,
        None => paths.target.join("test-deploy"),
    };
    let _ = fs::remove_dir_all(&work);
    nepto_files::private_folder(&work)?;
    cargo::build(paths, Targets::Programs(&dist::PROGRAMS))?;
    let engine = Engine::start(paths, &work)?;
    stand_ins::debian(&engine, paths)?;
    dist::build_image(|| engine.docker(), paths, &paths.binaries(), &work, IMAGE)?;
    stand_ins::provide(&engine, paths, &work)?;
    let deployment = Deployment { port: free_port()?, engine, folder: paths.root.join("compose"), work: work.clone() };
    deployment.remove()?;
    let interrupted = AtomicBool::new(false);
    let people = Stage {
        program: &paths.binaries().join("nepto"),
        shown: "nepto".to_owned(),
        folder: work.join("people"),
        server: format!("http://localhost:{}", deployment.port),
        chain: None,
        interrupted: &interrupted,
    };
    for (at, profile) in options.profiles.iter().enumerate() {
        println!("\n== profile {profile}\n");
        deployment.try_profile(profile, &people, at == 0)?;
    }
    deployment.refuses_what_is_wrong()?;
    println!("\nEverything held.");
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

/// Containers of one project; gone with their volumes when dropped.
struct Deployment {
    port: u16,
    engine: Engine,
    folder: PathBuf,
    work: PathBuf,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Container {
    name: String,
    /// What Docker says of its state and health, in words.
    status: String,
}

impl Container {
    fn is_well(&self) -> bool {
        self.status.contains("(healthy)") || self.has_done_its_work()
    }

    fn has_done_its_work(&self) -> bool {
        self.status.starts_with("Exited (0)")
    }
}

impl Deployment {
    fn compose(&self, profile: &str) -> Command {
        let mut compose = self.engine.compose();
        compose.args(["--project-name", PROJECT, "--profile", profile]).current_dir(&self.folder);
        // people outside of this machine must find this port and no other
        compose.env("NEPTO_BIND", "0.0.0.0").env("NEPTO_PORT", self.port.to_string()).env("NEPTO_IMAGE", IMAGE);
        compose.env("NEPTO_BACKUP_RECIPIENTS", backups::RECIPIENT);
        // a machine that is a container itself may not raise it
        if let Some(most) = getrlimit(Resource::Nofile).maximum.filter(|most| *most < OPEN_FILES) {
            compose.env("NEPTO_OPEN_FILES", most.to_string());
        }
        compose
    }

    fn remove(&self) -> Result<()> {
        said(self.compose("*").args(["down", "--volumes", "--timeout", "1"])).map(drop)
    }

    /// Starts it, lets two people talk, and kills everything. The data is that of the profile before.
    fn try_profile(&self, profile: &str, people: &Stage<'_>, is_first: bool) -> Result<()> {
        let outside = Outside::new()?;
        let before = outside.open_ports(HOST.into(), &[])?;
        match profile {
            "tls" => return self.try_tls(&outside, &before),
            "dev" => return self.try_dev(),
            _ => {}
        }
        let started = Instant::now();
        said(self.compose(profile).args(["up", "--detach"]))?;
        self.wait_until_well()?;
        println!("well after {} s", started.elapsed().as_secs());
        match is_first {
            true => demo::play(people)?,
            false => self.talk(people, &format!("gm from {profile}"))?,
        }
        let secrets = self.secrets()?;
        self.nobody_sees(&secrets)?;
        self.nobody_may_more_than_needed()?;
        said(self.compose(profile).args(["up", "--detach"]))?;
        ensure!(self.secrets()? == secrets, "a second start made other secrets");
        self.only_these_are_open(&outside, &before, &[self.port])?;
        for container in self.containers()? {
            if !container.has_done_its_work() {
                self.kill(&container, people)?;
            }
        }
        said(self.compose(profile).args(["restart", "--timeout", "30"]))?;
        self.wait_until_well()?;
        self.talk(people, "gm after a restart of everything")?;
        self.upgrade(profile, people)?;
        self.lose_everything(profile, people)?;
        said(self.compose(profile).arg("down"))?;
        if is_first {
            self.move_elsewhere(profile, people)?;
        }
        Ok(())
    }

    /// To an image of another name, and back, as `compose/README.md` says.
    fn upgrade(&self, profile: &str, people: &Stage<'_>) -> Result<()> {
        self.engine.say(&["tag", IMAGE, NEXT_IMAGE])?;
        for image in [NEXT_IMAGE, IMAGE] {
            let text = format!("sent before {image} came");
            people.says(ALICE, BOB, &text)?;
            said(self.compose(profile).env("NEPTO_IMAGE", image).args(["up", "--detach"]))?;
            self.wait_until_well()?;
            people.hears(BOB, &text)?;
        }
        Ok(())
    }

    /// The volumes, copied to a machine that has none, as `compose/README.md` says.
    fn move_elsewhere(&self, profile: &str, people: &Stage<'_>) -> Result<()> {
        let page = fs::read_to_string(self.folder.join("README.md"))?;
        let volumes = page.split("for volume in ").nth(1).and_then(|rest| rest.split(';').next());
        let volumes: Vec<&str> = volumes.context("the page names no volumes")?.split_whitespace().collect();
        let tar = |arguments: [&str; 2], volume: &str| {
            let file = self.work.join(volume).with_extension("tar");
            let mut tar = Command::new("tar");
            tar.args(arguments).arg("--directory").arg(self.mountpoint(volume)?).arg("--file").arg(file);
            said(if arguments[0] == "--create" { tar.arg(".") } else { &mut tar })
        };
        for volume in &volumes {
            tar(["--create", "--numeric-owner"], volume)?;
        }
        self.remove()?;
        said(self.compose(profile).args(["up", "--no-start"]))?;
        for volume in &volumes {
            tar(["--extract", "--numeric-owner"], volume)?;
        }
        said(self.compose(profile).args(["up", "--detach"]))?;
        self.wait_until_well()?;
        self.talk(people, "gm from another host")?;
        said(self.compose(profile).arg("down")).map(drop)
    }

    /// TLS on the usual ports, with a certificate of Caddy's own.
    fn try_tls(&self, outside: &Outside, before: &BTreeSet<u16>) -> Result<()> {
        let domain = "chat.example.org";
        let up = |arguments: &[&str]| {
            let mut compose = self.compose("tls");
            compose.env("NEPTO_DOMAIN", domain).env("NEPTO_CADDY_DIRECTIVES", "tls internal");
            // as it is by default: behind the proxy nobody else needs the port
            said(compose.env("NEPTO_BIND", "127.0.0.1").args(arguments))
        };
        up(&["up", "--detach"])?;
        self.wait_until_well()?;
        self.only_these_are_open(outside, before, &[80, 443])?;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--insecure", "--resolve"])
            .arg(format!("{domain}:443:127.0.0.1"));
        let info = said(curl.arg(format!("https://{domain}/v1/info")))?;
        ensure!(info.contains(&format!("wss://{domain}/v1/socket")), "/v1/info does not name the domain: {info}");
        up(&["down"]).map(drop)
    }

    /// The demo ends well only if two people have talked.
    fn try_dev(&self) -> Result<()> {
        said(self.compose("dev").args(["up", "--detach"]))?;
        self.wait_until_well()?;
        let status = ["exec", "-T", "nepto-dev", "nepto", "admin", "chain", "status"];
        let status = said(self.compose("dev").args(status))?;
        ensure!(
            status.contains("chain 31337") && status.contains("of 5 contracts"),
            "the chain is not watched: {status}"
        );
        println!("{}\n{status}", self.log(&format!("{PROJECT}-demo-1"))?);
        said(self.compose("dev").arg("down")).map(drop)
    }

    /// What is sent before a container dies arrives after it is back.
    fn kill(&self, container: &Container, people: &Stage<'_>) -> Result<()> {
        let text = format!("sent before the kill of {}", container.name);
        people.says(ALICE, BOB, &text)?;
        let pid = self.pid(&container.name)?;
        kill_process(Pid::from_raw(pid).context("a process has a number")?, Signal::KILL)?;
        let killed = Instant::now();
        while self.pid(&container.name).is_ok_and(|now| now == pid || now == 0) {
            ensure!(killed.elapsed() < WELL_WITHIN, "{} does not come back", container.name);
            std::thread::sleep(Duration::from_millis(100));
        }
        self.wait_until_well()?;
        println!("{} is well {} s after its kill", container.name, killed.elapsed().as_secs());
        people.hears(BOB, &text)?;
        self.talk(people, &format!("gm after the kill of {}", container.name))
    }

    fn talk(&self, people: &Stage<'_>, text: &str) -> Result<()> {
        people.says(BOB, ALICE, text)?;
        people.hears(ALICE, text)
    }

    fn pid(&self, container: &str) -> Result<i32> {
        Ok(self.engine.say(&["inspect", "--format", "{{.State.Pid}}", container])?.parse()?)
    }

    fn containers(&self) -> Result<Vec<Container>> {
        let filter = format!("label=com.docker.compose.project={PROJECT}");
        let said = self.engine.say(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}\t{{.Status}}"])?;
        let containers = said.lines().filter_map(|line| line.split_once('\t'));
        Ok(containers.map(|(name, status)| Container { name: name.to_owned(), status: status.to_owned() }).collect())
    }

    fn wait_until_well(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let containers = self.containers()?;
            let ill: Vec<&Container> = containers.iter().filter(|container| !container.is_well()).collect();
            match ill.first() {
                None if !containers.is_empty() => return Ok(()),
                Some(first) if started.elapsed() > WELL_WITHIN => {
                    let log = self.log(&first.name)?;
                    bail!("not everything is well after {} s: {ill:?}\n{log}", WELL_WITHIN.as_secs());
                }
                _ => std::thread::sleep(Duration::from_millis(250)),
            }
        }
    }

    /// The end of what a container said.
    fn log(&self, container: &str) -> Result<String> {
        let output = self.engine.docker().args(["logs", "--tail", "30", container]).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Where a volume is on this machine.
    fn mountpoint(&self, volume: &str) -> Result<String> {
        self.engine.say(&["volume", "inspect", "--format", "{{.Mountpoint}}", &format!("{PROJECT}_{volume}")])
    }

    /// Every file of the volumes for secrets and token keys, with what is secret in it.
    fn secrets(&self) -> Result<BTreeMap<PathBuf, String>> {
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

    /// No secret is in what others can see.
    fn nobody_sees(&self, secrets: &BTreeMap<PathBuf, String>) -> Result<()> {
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

    fn nobody_may_more_than_needed(&self) -> Result<()> {
        let format =
            "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}} {{.HostConfig.CapDrop}}";
        for Container { name, .. } in self.containers()? {
            let may = self.engine.say(&["inspect", "--format", format, &name])?;
            ensure!(may == format!("{USER}:{USER} true false [ALL]"), "{name}: {may}");
        }
        Ok(())
    }

    /// From another machine: the ports of this one that were not open before, and the containers themselves.
    fn only_these_are_open(&self, outside: &Outside, before: &BTreeSet<u16>, expected: &[u16]) -> Result<()> {
        let now = outside.open_ports(HOST.into(), &[])?;
        let new: BTreeSet<u16> = now.difference(before).copied().collect();
        ensure!(new == expected.iter().copied().collect(), "open on this machine: {new:?}, expected: {expected:?}");
        let addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let mut asked = 0;
        for Container { name, .. } in self.containers()? {
            for address in self.engine.say(&["inspect", "--format", addresses, &name])?.split_whitespace() {
                let address: IpAddr = address.parse()?;
                let ports: Vec<u16> = INNER_PORTS.into_iter().filter(|port| !expected.contains(port)).collect();
                let open = outside.open_ports(address, &ports)?;
                ensure!(open.is_empty(), "{name} can be reached from elsewhere at {address}: {open:?}");
                asked += 1;
            }
        }
        println!("from elsewhere only {expected:?} can be reached; {asked} addresses of containers were tried");
        Ok(())
    }

    /// What is wrong or missing is told with what to do.
    fn refuses_what_is_wrong(&self) -> Result<()> {
        for (profile, service, domain, expected) in [
            ("all", "nepto", "https://chat.example.org", "public.domain: must be an authority like chat.example.org"),
            ("tls", "caddy", "", "NEPTO_DOMAIN is not set: put the domain"),
        ] {
            let mut compose = self.compose(profile);
            compose.env("NEPTO_DOMAIN", domain).args(["run", "--rm", "--no-deps", "-T", service]);
            let output = compose.output()?;
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            ensure!(is_refusal(output.status) && text.contains(expected), "{profile} with {domain:?}: {text}");
        }
        Ok(())
    }
}

fn is_refusal(status: ExitStatus) -> bool {
    status.code() == Some(2)
}

/// What is secret in a file that `make-secrets` or `provision` makes: 64 digits, or the second line of a key.
fn secret_of(text: &str) -> Option<String> {
    let password = text.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64);
    let key = || text.strip_prefix("-----BEGIN PRIVATE KEY-----\n")?.lines().next();
    password.or_else(key).map(str::to_owned)
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if let Ok(containers) = self.containers() {
            for container in containers {
                let log = self.engine.docker().args(["logs", &container.name]).output();
                let text = log.map(|log| [log.stdout, log.stderr].concat()).unwrap_or_default();
                let _ = fs::write(self.work.join(&container.name).with_extension("log"), text);
            }
        }
        if let Err(error) = self.remove() {
            eprintln!("containers may be left: {error:#}; their logs are in {}", short(&self.work));
        }
    }
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

    #[test]
    fn an_ill_container_is_not_taken_for_a_well_one() {
        let is_well = |status: &str| Container { name: String::new(), status: status.to_owned() }.is_well();
        assert!(is_well("Up 3 minutes (healthy)") && is_well("Exited (0) 2 seconds ago"));
        for ill in
            ["Up 3 seconds (health: starting)", "Up 1 minute (unhealthy)", "Exited (1) 1 second ago", "Up 1 second"]
        {
            assert!(!is_well(ill), "{ill}");
        }
    }
}
