//! What other domains and processes ask.

use nepto_kit::service::Service;
use nepto_proto::svc::collector::{FindGaps, ReplayUpdates};

use super::ops::Collector;

pub fn services(collector: &Collector) -> Vec<Service> {
    let (replaying, asked) = (collector.clone(), collector.clone());
    vec![
        Service::new(move |request: ReplayUpdates| {
            let collector = replaying.clone();
            async move { collector.replay(&request).await }
        }),
        Service::new(move |request: FindGaps| {
            let collector = asked.clone();
            async move { collector.gaps(&request).await }
        }),
    ]
}
