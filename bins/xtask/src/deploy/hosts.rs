//! The playbooks of `ansible/` on booted Debians: one host that does everything, and a cluster, while people write to each other.
//!
//! Hosts are left as they are when the run ends; a later run without `converge` boots them again.

mod copies;
mod inventory;
mod kill;
mod load;
mod machines;
mod network;
mod packages;
mod playbook;
mod rotate;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::cargo::{self, Targets};
use crate::dist;
use crate::paths::Paths;
use trial::Trial;

/// Of the Debian package: before an upgrade, and after it.
const REVISIONS: [&str; 2] = ["1", "2"];
/// The programs that are needed here: what is packaged, and who writes.
const PROGRAMS: [&str; 3] = [dist::PROGRAMS[0], dist::PROGRAMS[1], "nepto-bench"];

/// What is tried of them.
#[derive(Debug, Args)]
pub struct Options {
    /// Inventories whose groups and variables are taken
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Shipped::Single, Shipped::Cluster])]
    inventories: Vec<Shipped>,
    /// What is tried, in this order; without `converge` with the hosts that the last run left [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STEP")]
    steps: Vec<Step>,
    /// When it is over or failed, leave the hosts on until Enter is pressed
    #[arg(long)]
    hold: bool,
    /// Folder for hosts, packages and logs [default: test-deploy-hosts in the folder of builds]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

/// The inventories that `ansible/` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shipped {
    /// One machine
    Single,
    /// Many, of which those that do little share a host here
    Cluster,
}

impl Shipped {
    const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Cluster => "cluster",
        }
    }
}

/// What can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Step {
    /// New hosts become a server; from elsewhere only SSH and the proxy can be reached
    Converge,
    /// Another run changes nothing
    Second,
    /// A run with --check changes nothing, and says so
    Check,
    /// Backups are copied to a host elsewhere
    Copies,
    /// Every program becomes another one while people write
    Upgrade,
    /// A further gateway, while people write
    Add,
    /// It goes again, while people write; who must stay is not let go
    Remove,
    /// Every secret becomes another one
    Rotate,
    /// One of each kind dies while people write: its process, and its host
    Kill,
}

/// Tries them.
pub fn run(paths: &Paths, options: &Options) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "booted Debians need root");
    let work = match &options.work {
        Some(work) => std::path::absolute(work)?,
        None => paths.target.join("test-deploy-hosts"),
    };
    nepto_files::private_folder(&work)?;
    let mut steps = if options.steps.is_empty() { Step::value_variants().to_vec() } else { options.steps.clone() };
    steps.sort_unstable();
    let packages = packages(paths, &work, steps.contains(&Step::Converge))?;
    for shipped in &options.inventories {
        let folder = work.join(shipped.name());
        if steps.contains(&Step::Converge) {
            let _ = fs::remove_dir_all(&folder);
        }
        let mut trial = Trial::begin(paths, *shipped, folder, &work, &packages)?;
        let tried = steps.iter().try_for_each(|step| {
            println!("\n== {}: {step:?}\n", shipped.name());
            let began = Instant::now();
            let tried = trial.try_step(*step).with_context(|| format!("{}: {step:?}", shipped.name()));
            println!("  {step:?} took {} min", began.elapsed().as_secs().div_ceil(60));
            tried
        });
        if options.hold {
            if let Err(error) = &tried {
                println!("\n{error:#}");
            }
            println!("\nThe hosts are on; Enter switches them off.");
            std::io::stdin().read_line(&mut String::new())?;
        }
        tried?;
    }
    println!("\nEverything held.");
    Ok(())
}

/// Makes both packages and the folder of what else hosts fetch; or finds them, where hosts are to go on with what they have.
fn packages(paths: &Paths, work: &Path, anew: bool) -> Result<[PathBuf; 2]> {
    let folder = |revision: &str| work.join(format!("package-{revision}"));
    if anew {
        cargo::build(paths, Targets::Programs(&PROGRAMS))?;
        for folder in [work.join("packages"), folder(REVISIONS[0]), folder(REVISIONS[1])] {
            let _ = fs::remove_dir_all(folder);
        }
        packages::make(paths, &work.join("packages"))?;
        let [first, second] = REVISIONS.map(|revision| dist::package(paths, "dev", &folder(revision), revision));
        return Ok([first?, second?]);
    }
    let [first, second] = REVISIONS.map(|revision| {
        let entry = fs::read_dir(folder(revision)).ok()?.find_map(Result::ok)?;
        Some(entry.path())
    });
    Option::zip(first, second).map(Into::into).context("no run has left hosts here: begin with --steps converge")
}
