//! What other domains and processes ask.

use nepto_kit::service::Service;

use super::ops::Collector;
use nepto_proto::svc::collector::{FindGaps, ReplaySteps};

pub fn services(collector: &Collector) -> Vec<Service> {
    let (replaying, asked) = (collector.clone(), collector.clone());
    vec![
        Service::new(move |request: ReplaySteps| {
            let collector = replaying.clone();
            async move { collector.replay(&request).await }
        }),
        Service::new(move |request: FindGaps| {
            let collector = asked.clone();
            async move { collector.gaps(&request).await }
        }),
    ]
}
