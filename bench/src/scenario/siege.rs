//! Floods from one address, and what another person notices of them: direct messages, and requests to the HTTP API.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{Outcome, figures, pairs, with_latency};
use crate::crowd::Crowd;
use crate::figures::{Figures, round};
use crate::ground::Ground;
use crate::pacer;
use crate::people::{Person, Town};
use crate::siege::{Flood, Siege};
use crate::stamp::Phase;

/// Messages a second, and requests a second: one person's, so that the floods are what makes it slow.
const RATE: u32 = 20;
/// Before anything is measured, and after each flood, so that one does not pay for another.
const REST: Duration = Duration::from_secs(5);
/// An answer that takes longer has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Bytes of a ciphertext.
const SIZE: usize = 1_024;
/// Latencies of requests above this are recorded as this, microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;

/// What somebody notices.
struct Noticed {
    dm_p50_ms: f64,
    dm_p95_ms: f64,
    me_p50_ms: f64,
    me_p95_ms: f64,
    /// Requests that were not answered with 200.
    failed: u64,
}

/// For each of these floods, or of all: measures alone for so many seconds, and then through it. In turn, because a machine is not
/// equally quiet for all of that time.
pub async fn run(ground: &Ground, town: &Town, secs: u64, floods: &[Flood]) -> Result<Outcome> {
    let (crowd, people) = pairs(town, 2, SIZE).await?;
    let victim = Victim { crowd: &crowd, person: people.first().context("nobody is here")?, url: &ground.url };
    let lasts = Duration::from_secs(secs);
    victim.look(REST, Phase::WarmUp).await?;
    let mut notes = Vec::new();
    for &flood in if floods.is_empty() { Flood::value_variants() } else { floods } {
        let alone = victim.look(lasts, Phase::Measured).await?;
        notes.push(("alone", alone.shown(None)));
        let siege = Siege::begin(flood, &ground.url)?;
        // the first seconds of a flood count as well
        let noticed = victim.look(lasts, Phase::Measured).await?;
        let asked = siege.end().await?;
        ensure!(asked > 0, "the flood {} did not reach the server", flood.name());
        notes.push((flood.name(), format!("{}; {asked} asked", noticed.shown(Some(&alone)))));
        sleep(REST).await;
    }
    crowd.settle(Phase::Measured, "waiting for the last", true).await?;
    let counts = crowd.ledger.counts().clone();
    crowd.leave().await;
    let figures = Figures {
        conns: people.len() as u64,
        rate: Some(f64::from(RATE)),
        size: Some(SIZE as u64),
        ..with_latency(figures("siege", &counts), &counts)
    };
    Ok(Outcome { figures, notes, latency: None, seconds: Vec::new() })
}

struct Victim<'a> {
    crowd: &'a Crowd,
    person: &'a Person,
    url: &'a str,
}

impl Victim<'_> {
    /// Writes and asks at a steady pace for so long.
    async fn look(&self, lasts: Duration, phase: Phase) -> Result<Noticed> {
        let ledger = &self.crowd.ledger;
        ledger.counts().latency.reset();
        let from_us = ledger.begin();
        let messages = pacer::pace(self.crowd.commands(), ledger.clone(), phase, RATE, from_us, lasts);
        let (sent, asked) = tokio::join!(messages, self.ask(lasts));
        sent?;
        let (answers, failed) = asked?;
        self.crowd.settle(phase, "waiting for the last", true).await?;
        let messages = ledger.counts().latency.clone();
        let ms = |histogram: &Histogram<u64>, q: f64| round(histogram.value_at_quantile(q) as f64 / 1_000.0);
        Ok(Noticed {
            dm_p50_ms: ms(&messages, 0.5),
            dm_p95_ms: ms(&messages, 0.95),
            me_p50_ms: ms(&answers, 0.5),
            me_p95_ms: ms(&answers, 0.95),
            failed,
        })
    }

    /// `GET /v1/accounts/me`, again and again; how long each took from when it was due, and how many failed.
    async fn ask(&self, lasts: Duration) -> Result<(Histogram<u64>, u64)> {
        let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
        let (url, token) = (format!("{}/v1/accounts/me", self.url.trim_end_matches('/')), self.person.token().await?);
        let mut answers = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?;
        let (mut failed, ends) = (0, Instant::now() + lasts);
        let mut due = interval(Duration::from_secs(1) / RATE);
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            let at = due.tick().await;
            if at >= ends {
                return Ok((answers, failed));
            }
            let asked = client.get(&url).bearer_auth(&token).send();
            let answered = timeout(ANSWER_WITHIN, asked).await;
            failed += u64::from(!matches!(answered, Ok(Ok(answer)) if answer.status().is_success()));
            answers.saturating_record(at.elapsed().as_micros() as u64);
        }
    }
}

impl Noticed {
    fn shown(&self, alone: Option<&Self>) -> String {
        let times = |now: f64, then: fn(&Self) -> f64| {
            alone.map_or_else(String::new, |alone| format!(" ({:.1} x)", now / then(alone).max(0.001)))
        };
        format!(
            "DM p50 {:.2}, p95 {:.2} ms{}; me p50 {:.2}, p95 {:.2} ms{}; {} failed",
            self.dm_p50_ms,
            self.dm_p95_ms,
            times(self.dm_p95_ms, |alone| alone.dm_p95_ms),
            self.me_p50_ms,
            self.me_p95_ms,
            times(self.me_p95_ms, |alone| alone.me_p95_ms),
            self.failed
        )
    }
}
