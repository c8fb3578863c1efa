//! `compose/`, as somebody with Docker starts it.

mod backups;
mod exposed;
mod watched;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};

use super::RECIPIENT;
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
/// What the server is called where it is for the internet.
const DOMAIN: &str = "chat.example.org";
/// The user of every process, as `compose/Dockerfile` has it.
const USER: u32 = 10_001;

/// What is tried of it.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for logs and for the two people, emptied first [default: test-deploy in the folder of builds]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// These profiles, each with the data of the one before
    #[arg(long, value_delimiter = ',', default_values = ["all", "observability", "split", "split-tls", "tls", "dev"])]
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
    let has_chain = options.profiles.iter().any(|profile| profile == "dev");
    stand_ins::provide(&engine, paths, &work, has_chain)?;
    let deployment = Deployment {
        port: free_port()?,
        engine,
        outside: Outside::new()?,
        folder: paths.root.join("compose"),
        work: work.clone(),
    };
    deployment.remove()?;
    deployment.image_has_licences()?;
    let interrupted = AtomicBool::new(false);
    let mut tried = Tried::default();
    for profile in &options.profiles {
        println!("\n== profile {profile}\n");
        let started = Instant::now();
        if profile == "dev" {
            deployment.try_dev()?;
        } else {
            let program = paths.binaries().join("nepto");
            let (program, server) = match is_public(profile) {
                true => (deployment.client_outside(&program)?, format!("https://{DOMAIN}")),
                false => (program, format!("http://localhost:{}", deployment.port)),
            };
            let people = Stage {
                program: &program,
                shown: "nepto".to_owned(),
                folder: work.join("people"),
                server,
                chain: None,
                interrupted: &interrupted,
            };
            deployment.try_profile(profile, &people, &mut tried)?;
        }
        println!("\nprofile {profile} took {} s", started.elapsed().as_secs());
    }
    deployment.refuses_what_is_wrong()?;
    println!("\nEverything held.");
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

/// Whether it is for the internet, under a domain of its own.
fn is_public(profile: &str) -> bool {
    profile.ends_with("tls")
}

/// Whether each role is a process of its own.
fn is_split(profile: &str) -> bool {
    profile.starts_with("split")
}

/// What need not be tried again in another profile, because it is the same there.
#[derive(Debug, Default)]
struct Tried {
    /// Containers that were killed, and whether that was in what is split.
    killed: BTreeSet<(bool, String)>,
    /// Whether upgrades and backups were tried of what is split, and of what is not.
    layouts: BTreeSet<bool>,
}

/// Containers of one project; gone with their volumes when dropped.
struct Deployment {
    port: u16,
    engine: Engine,
    outside: Outside,
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
        if profile == "observability" {
            compose.args(["--profile", "all"]);
        }
        compose.env("NEPTO_PORT", self.port.to_string()).env("NEPTO_IMAGE", IMAGE);
        if is_public(profile) {
            // with a certificate of Caddy's own; behind it nobody else needs the other port
            compose.env("NEPTO_DOMAIN", DOMAIN).env("NEPTO_CADDY_DIRECTIVES", "tls internal");
        } else {
            // people outside of this machine must find this port and no other
            compose.env("NEPTO_BIND", "0.0.0.0");
        }
        compose.env("NEPTO_BACKUP_RECIPIENTS", RECIPIENT);
        // a machine that is a container itself may not raise it
        if let Some(most) = getrlimit(Resource::Nofile).maximum.filter(|most| *most < OPEN_FILES) {
            compose.env("NEPTO_OPEN_FILES", most.to_string());
        }
        compose
    }

    fn remove(&self) -> Result<()> {
        said(self.compose("*").args(["down", "--volumes", "--timeout", "1"])).map(drop)
    }

    /// Starts it, lets two people talk, and kills everything that was not killed in another profile. The data is that of the profile
    /// before.
    fn try_profile(&self, profile: &str, people: &Stage<'_>, tried: &mut Tried) -> Result<()> {
        let before = self.outside.open_ports(HOST.into(), &[])?;
        let started = Instant::now();
        self.start(profile)?;
        println!("well after {} s", started.elapsed().as_secs());
        let is_first = tried.layouts.is_empty();
        if is_first {
            demo::play(people)?;
        } else {
            // another domain means signing in again
            for who in [ALICE, BOB] {
                people.sign_in(who)?;
            }
            self.talk(people, &format!("gm from {profile}"))?;
        }
        let secrets = self.secrets()?;
        self.nobody_may_more_than_needed()?;
        self.start(profile)?;
        ensure!(self.secrets()? == secrets, "a second start made other secrets");
        let ports = if is_public(profile) { vec![80, 443] } else { vec![self.port] };
        self.only_these_are_open(&before, &ports)?;
        for container in self.containers()? {
            if !container.has_done_its_work() && tried.killed.insert((is_split(profile), container.name.clone())) {
                self.survives(&container, people)?;
            }
        }
        said(self.compose(profile).args(["restart", "--timeout", "30"]))?;
        self.wait_until_well()?;
        self.talk(people, &format!("gm after a restart of everything in {profile}"))?;
        if profile == "observability" {
            self.is_watched(profile)?;
        }
        self.nobody_sees(&secrets)?;
        if tried.layouts.insert(is_split(profile)) {
            self.upgrade(profile, people)?;
            self.lose_everything(profile, people)?;
        }
        said(self.compose(profile).arg("down"))?;
        if is_first {
            self.move_elsewhere(profile, people)?;
        }
        Ok(())
    }

    /// Starts what does not run, and waits until all of it is well.
    fn start(&self, profile: &str) -> Result<()> {
        said(self.compose(profile).args(["up", "--detach"]))?;
        self.wait_until_well()
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
        self.start(profile)?;
        self.talk(people, "gm from another host")?;
        said(self.compose(profile).arg("down")).map(drop)
    }

    /// The client, on another machine where the domain leads to this one and the authority of Caddy's own certificates is known.
    fn client_outside(&self, client: &Path) -> Result<PathBuf> {
        let authority = self.engine.say(&["info", "--format", "{{.DockerRootDir}}"])?
            + &format!("/volumes/{PROJECT}_certificates/_data/caddy/pki/authorities/local/root.crt");
        self.outside.client(&self.work, client, DOMAIN, &authority)
    }

    /// Its demo ends well only if two people have talked, and does so again after each kill.
    fn try_dev(&self) -> Result<()> {
        let before = self.outside.open_ports(HOST.into(), &[])?;
        self.start("dev")?;
        println!("{}", self.log(&format!("{PROJECT}-demo-1"))?);
        self.only_these_are_open(&before, &[])?;
        for container in self.containers()? {
            if !container.has_done_its_work() {
                self.kill(&container)?;
                // those who have done their work do it again
                self.start("dev")?;
            }
        }
        let status = ["exec", "-T", "nepto-dev", "nepto", "admin", "chain", "status"];
        let status = said(self.compose("dev").args(status))?;
        ensure!(
            status.contains("chain 31337") && status.contains("of 5 contracts"),
            "the chain is not watched: {status}"
        );
        println!("{status}");
        said(self.compose("dev").arg("down")).map(drop)
    }

    /// What is sent before a container dies arrives after it is back.
    fn survives(&self, container: &Container, people: &Stage<'_>) -> Result<()> {
        let text = format!("sent before the kill of {}", container.name);
        people.says(ALICE, BOB, &text)?;
        self.kill(container)?;
        people.hears(BOB, &text)?;
        self.talk(people, &format!("gm after the kill of {}", container.name))
    }

    /// By `kill -9`, and waits until it is well again.
    fn kill(&self, container: &Container) -> Result<()> {
        let pid = self.pid(&container.name)?;
        kill_process(Pid::from_raw(pid).context("a process has a number")?, Signal::KILL)?;
        let killed = Instant::now();
        while self.pid(&container.name).is_ok_and(|now| now == pid || now == 0) {
            ensure!(killed.elapsed() < WELL_WITHIN, "{} does not come back", container.name);
            std::thread::sleep(Duration::from_millis(100));
        }
        self.wait_until_well()?;
        println!("{} is well {} s after its kill", container.name, killed.elapsed().as_secs());
        Ok(())
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

    /// What is wrong or missing is told with what to do.
    fn refuses_what_is_wrong(&self) -> Result<()> {
        for (profile, service, domain, expected) in [
            (
                "all",
                "nepto",
                "https://chat.example.org",
                "NEPTO_PUBLIC__DOMAIN is not valid: must be an authority like",
            ),
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
