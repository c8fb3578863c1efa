//! People who sign in for the first time, one a second, while parts of the server are away.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::time_of_day;
use crate::people::Town;

const EVERY: Duration = Duration::from_secs(1);

/// How they fared.
#[derive(Debug, Default)]
pub struct Newcomers {
    signed_in: u64,
    longest: Duration,
    /// How many were told what.
    refused: BTreeMap<String, u64>,
}

/// They arrive until it is enough, one after the other: who waits holds the next one up.
pub async fn arrive(town: Town, enough: CancellationToken) -> Newcomers {
    let mut newcomers = Newcomers::default();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = enough.cancelled() => return newcomers,
            _ = ticks.tick() => {}
        }
        let began = Instant::now();
        match town.sign_in().await {
            Ok(_) => newcomers.signed_in += 1,
            Err(error) => {
                let (time, waited) = (time_of_day(town.env.now_ms()), began.elapsed().as_secs_f64());
                println!("  {time}  somebody could not sign in, and heard so after {waited:.1} s: {error:#}");
                *newcomers.refused.entry(format!("{error:#}")).or_default() += 1;
            }
        }
        newcomers.longest = newcomers.longest.max(began.elapsed());
    }
}

impl fmt::Display for Newcomers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in at most {:.1} s", self.signed_in, self.longest.as_secs_f64())?;
        self.refused.iter().try_for_each(|(why, times)| write!(f, "; {times} refused: {why}"))
    }
}
