//! How far a build is, and how long it will still take.
//!
//! Cargo tells how many units there are and which are done. They differ a thousandfold: most take a second, the
//! database a quarter of an hour. So the few that take long are counted by the seconds they took once, on two cores;
//! what matters is how they compare.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

/// Seconds of the libraries that take long.
const HEAVY: [(&str, f64); 8] = [
    ("surrealdb_core", 600.0),
    ("surrealdb_server", 250.0),
    ("libcrux_ml_kem", 60.0),
    ("object_store", 40.0),
    ("surrealdb_expr", 40.0),
    ("surrealdb_datastore", 40.0),
    ("utoipa_gen", 20.0),
    ("surrealdb_engine_local", 20.0),
];
/// Seconds of any other.
const LIGHT: f64 = 0.8;
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// No estimate before so much time.
const ESTIMATE_AFTER: Duration = Duration::from_secs(5);
/// Seconds at the speed of that machine which are assumed before the first: the beginning alone says little.
const PRIOR: f64 = 60.0;

/// A progress bar for one build.
pub struct Progress {
    bar: ProgressBar,
    work: Mutex<Work>,
}

impl Progress {
    /// `None` if nobody looks.
    pub fn new() -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let style = ProgressStyle::with_template("{spinner} building {wide_bar} {percent:>3} %  {msg}").ok()?;
        let bar = ProgressBar::new(100).with_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        Some(Self { bar, work: Mutex::new(Work::new()) })
    }

    /// Runs cargo and shows how far it is.
    pub fn watch(self, cargo: &mut Command) -> Result<ExitStatus> {
        let mut child = cargo
            .arg("--message-format=json-render-diagnostics")
            .env("CARGO_TERM_COLOR", "always")
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "200")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cargo can't be started")?;
        let artifacts = child.stdout.take();
        let lines = child.stderr.take();
        std::thread::scope(|scope| {
            scope.spawn(|| artifacts.map(|stdout| self.read_artifacts(stdout)));
            let reader = scope.spawn(|| lines.map(|stderr| self.read_lines(stderr)));
            while !reader.is_finished() {
                self.update(|_| {});
                std::thread::sleep(REDRAW_EVERY);
            }
        });
        let status = child.wait()?;
        self.bar.finish_and_clear();
        Ok(status)
    }

    fn read_artifacts(&self, stdout: impl Read) {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Ok(message) = serde_json::from_str::<Message>(&line) {
                self.update(|work| work.built(&message));
            }
        }
    }

    fn read_lines(&self, stderr: impl Read) {
        // Cargo redraws its own progress line with carriage returns.
        for chunk in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            for line in String::from_utf8_lossy(&chunk).split('\r') {
                match units(line) {
                    Some((done, all)) => self.update(|work| (work.done, work.all) = (done, all)),
                    None if is_news(line) => self.bar.println(line.trim_end()),
                    None => {}
                }
            }
        }
    }

    fn update(&self, change: impl FnOnce(&mut Work)) {
        let Ok(mut work) = self.work.lock() else { return };
        change(&mut work);
        self.bar.set_position((work.share() * 100.0) as u64);
        self.bar.set_message(work.words());
        self.bar.tick();
    }
}

/// A line of cargo's that is neither progress nor one of the thousand names that pass by.
fn is_news(line: &str) -> bool {
    const PASSING: [&str; 6] = ["Compiling", "Building", "Finished", "Downloading", "Downloaded", "Updating"];
    without_colour(line).split_whitespace().next().is_some_and(|word| !PASSING.contains(&word))
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

/// `Building [=====>   ] 12/345: names` as (12, 345).
fn units(line: &str) -> Option<(u64, u64)> {
    let plain = without_colour(line);
    let (_, after) = plain.trim_start().strip_prefix("Building")?.split_once(']')?;
    let (done, all) = after.split_whitespace().next()?.trim_end_matches(':').split_once('/')?;
    Some((done.parse().ok()?, all.parse().ok()?))
}

/// A message of cargo's on its standard output: all we want of it.
#[derive(Deserialize)]
struct Message {
    target: Target,
    fresh: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// What is done and what is left, in seconds of the machine that [`HEAVY`] was measured on.
struct Work {
    started: Instant,
    done: u64,
    all: u64,
    heavy: HashMap<&'static str, f64>,
    /// Done by this build; what was there before says nothing about its speed.
    built: f64,
    /// When the last unit was done.
    last: Instant,
}

impl Work {
    fn new() -> Self {
        let now = Instant::now();
        Self { started: now, done: 0, all: 0, heavy: HEAVY.into_iter().collect(), built: 0.0, last: now }
    }

    fn built(&mut self, message: &Message) {
        let is_library = message.target.kind.iter().any(|kind| kind.ends_with("lib") || kind == "proc-macro");
        let heavy = if is_library { self.heavy.remove(message.target.name.as_str()) } else { None };
        if !message.fresh {
            self.built += heavy.unwrap_or(LIGHT);
            self.last = Instant::now();
        }
    }

    fn left(&self) -> f64 {
        self.all.saturating_sub(self.done) as f64 * LIGHT + self.heavy.values().sum::<f64>()
    }

    /// Time that is left. A unit that takes minutes reports nothing meanwhile: the time counts down until it does.
    fn remaining(&self) -> Duration {
        let took = self.last.duration_since(self.started).as_secs_f64();
        let speed = (self.built + PRIOR) / (took + PRIOR);
        Duration::from_secs_f64(self.left() / speed).saturating_sub(self.last.elapsed())
    }

    fn share(&self) -> f64 {
        let elapsed = self.started.elapsed().as_secs_f64();
        if self.all == 0 { 0.0 } else { elapsed / (elapsed + self.remaining().as_secs_f64()).max(1.0) }
    }

    fn words(&self) -> String {
        let elapsed = self.started.elapsed();
        let mut words = format!("{} of {}, {}", self.done, self.all, minutes(elapsed));
        if elapsed > ESTIMATE_AFTER && self.built > 0.0 {
            words += &format!(", about {} left", minutes(self.remaining()));
        }
        words
    }
}

fn minutes(duration: Duration) -> String {
    format!("{}:{:02}", duration.as_secs() / 60, duration.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, kind: &str, fresh: bool) -> Message {
        Message { target: Target { name: name.into(), kind: vec![kind.into()] }, fresh }
    }

    #[test]
    fn cargos_progress_is_read_with_and_without_colour() {
        assert_eq!(units("    Building [=====>     ] 270/272: nepto-proto(build)   "), Some((270, 272)));
        assert_eq!(units("\u{1b}[1m\u{1b}[36m    Building\u{1b}[0m [>   ] 1/9: a, b"), Some((1, 9)));
        assert_eq!(units("   Compiling tokio v1.54.0"), None);
    }

    #[test]
    fn errors_are_shown_and_names_are_not() {
        assert!(is_news("\u{1b}[31merror[E0425]\u{1b}[0m: cannot find value"));
        assert!(is_news("    Blocking waiting for file lock on build directory"));
        assert!(!is_news("\u{1b}[1m\u{1b}[32m   Compiling\u{1b}[0m tokio v1.54.0"));
        assert!(!is_news("  "));
    }

    #[test]
    fn what_takes_long_counts_for_more_than_its_number() {
        let mut work = Work::new();
        (work.done, work.all) = (900, 1000);
        work.built(&message("serde", "lib", false));
        assert!(work.left() > 500.0, "the database is still to come: {}", work.left());
        assert!(work.remaining() > Duration::from_secs(100));
        for (name, _) in HEAVY {
            work.built(&message(name, "lib", false));
        }
        assert!(work.left() < 100.0, "{}", work.left());
    }

    #[test]
    fn what_was_there_before_is_not_counted() {
        let mut work = Work::new();
        (work.done, work.all) = (990, 1000);
        for (name, _) in HEAVY {
            work.built(&message(name, "lib", true));
        }
        assert_eq!((work.built, work.left() / LIGHT), (0.0, 10.0));
    }
}
