//! Many connected devices at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt};
use rand::RngCore;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;

use crate::device::{Command, Device, Loop};
use crate::ledger::Ledger;
use crate::people::{Person, Town};
use crate::stamp::Phase;
use crate::wire::{self, Template};
use crate::{proc, show};

/// Connections that are opened at once.
const AT_ONCE: usize = 64;
/// Open files beside the sockets.
const FILES_SPARE: usize = 100;
/// What has not arrived when nothing arrived for this long is lost.
const SILENCE: Duration = Duration::from_secs(8);
/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Connected devices and their books.
pub struct Crowd {
    /// What they count into.
    pub ledger: Arc<Ledger>,
    members: Vec<Member>,
    run: u32,
}

struct Member {
    commands: UnboundedSender<Command>,
    task: JoinHandle<()>,
}

/// One who shall connect: the person, and to whom it writes.
pub type Participant<'a> = (&'a Person, Option<&'a Person>);

impl Crowd {
    /// A crowd to which nobody belongs yet.
    pub fn new(town: &Town, ledger: Arc<Ledger>) -> Self {
        Self { ledger, members: Vec::new(), run: town.env.rng().next_u32() >> 8 }
    }

    /// Connects these beside those who are here. Their ciphertexts will have this size.
    pub async fn connect(&mut self, town: &Town, participants: &[Participant<'_>], size: usize) -> Result<()> {
        let before = self.members.len();
        let needed = before + participants.len() + FILES_SPARE;
        if (proc::open_files_max() as usize) < needed {
            let limit = proc::open_files_max();
            bail!("{needed} open files are needed and {limit} are allowed: raise `ulimit -Hn`, or lower --conns");
        }
        let sockets = &town.info.sockets;
        let bar = show::progress("connecting", participants.len() as u64);
        let opened: Vec<Member> = futures_util::stream::iter(participants.iter().enumerate())
            .map(|(index, (person, peer))| {
                let (bar, ledger, run) = (&bar, self.ledger.clone(), self.run);
                async move {
                    let number = before + index;
                    let url = sockets.get(number % sockets.len().max(1)).context("the server names no socket")?;
                    let socket = wire::open(url, &person.token().await?, number).await?;
                    let template = peer.map(|peer| Template::new(peer, size, &mut town.env.rng())).transpose()?;
                    let (commands, receiver) = mpsc::unbounded_channel();
                    let device = Device::new(socket, receiver, ledger, template, run, number as u32);
                    bar.inc(1);
                    anyhow::Ok(Member { commands, task: tokio::spawn(device.run()) })
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        bar.finish_and_clear();
        self.members.extend(opened);
        Ok(())
    }

    /// The ends of their ears.
    pub fn commands(&self) -> Vec<UnboundedSender<Command>> {
        self.members.iter().map(|member| member.commands.clone()).collect()
    }

    /// Gives the first so many of them a command.
    pub fn command(&self, first: usize, command: Command) {
        for member in self.members.iter().take(first) {
            // who is gone has told the ledger why
            let _ = member.commands.send(command);
        }
    }

    /// One message of each of the first so many, answered and delivered: whatever is cached is cached after that.
    pub async fn greet(&self, first: usize, delivered: bool) -> Result<()> {
        let greeting = Loop { phase: Phase::WarmUp, window: 1, count: 1, until_us: u64::MAX };
        self.command(first, Command::Loop(greeting));
        self.settle(Phase::WarmUp, "greeting", delivered).await?;
        self.check_warm(delivered)
    }

    /// Fails if anything of the warm-up did not work.
    pub fn check_warm(&self, delivered: bool) -> Result<()> {
        let counts = self.ledger.counts();
        let warm = Phase::WarmUp as usize;
        let (sent, stored, arrived) = (counts.sent[warm], counts.stored[warm], counts.delivered[warm]);
        if counts.refused > 0 || counts.broken > 0 || stored < sent || (delivered && arrived < sent) {
            let complaint = counts.complaint.clone().unwrap_or_else(|| "nobody said why".to_owned());
            bail!("of {sent} messages of the warm-up {stored} were stored and {arrived} delivered: {complaint}");
        }
        Ok(())
    }

    /// Waits until everything sent in a phase was answered (and delivered), or nothing happens any more.
    pub async fn settle(&self, phase: Phase, what: &'static str, delivered: bool) -> Result<()> {
        let bar = show::progress(what, 0);
        let (mut last, mut since) = (0, Instant::now());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (sent, done) = {
                let counts = self.ledger.counts();
                let stored = counts.stored[phase as usize] + counts.refused;
                let arrived = counts.delivered[phase as usize] + counts.refused;
                (counts.sent[phase as usize], if delivered { stored.min(arrived) } else { stored })
            };
            bar.set_length(sent);
            bar.set_position(done.min(sent));
            // the commands may still be on their way to the devices when nothing was sent yet
            if done >= sent && sent > 0 || since.elapsed() > SILENCE {
                break;
            }
            if done != last {
                (last, since) = (done, Instant::now());
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// How many are here.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// All leave, and have left.
    pub async fn leave(self) {
        for member in self.members {
            drop(member.commands);
            let _ = tokio::time::timeout(Duration::from_secs(5), member.task).await;
        }
    }
}
