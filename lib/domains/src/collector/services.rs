//! What other domains and processes ask.

use nepto_kit::service::Service;

use super::ReplaySteps;
use super::ops::Collector;

pub fn services(collector: &Collector) -> Vec<Service> {
    let collector = collector.clone();
    vec![Service::new(move |request: ReplaySteps| {
        let collector = collector.clone();
        async move { collector.replay(&request).await }
    })]
}
