//! Background jobs.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Collector;

pub fn jobs(collector: &Collector) -> Vec<Job> {
    let collector = collector.clone();
    vec![Job::new("chain-gap-scan", Duration::from_secs(300), Duration::from_secs(60), move || {
        let collector = collector.clone();
        async move { collector.scan_gaps().await }
    })]
}
