//! Background jobs: looking for gaps, and forgetting old sightings.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Collector;

pub fn jobs(collector: &Collector) -> Vec<Job> {
    let (gaps, sightings) = (collector.clone(), collector.clone());
    vec![
        Job::every("chain-gap-scan", Duration::from_secs(300)).within(Duration::from_secs(60)).run(move |_| {
            let collector = gaps.clone();
            async move { collector.scan_gaps().await }
        }),
        Job::every("sighting-expiry", Duration::from_secs(3_600)).within(Duration::from_secs(60)).run(move |_| {
            let collector = sightings.clone();
            async move { Ok(format!("{} old sightings forgotten", collector.forget_sightings().await?)) }
        }),
    ]
}
