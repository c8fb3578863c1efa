//! What other domains and processes ask.

use nepto_kit::service::Service;
use nepto_proto::svc::assets::Cursors;

use super::ops::Assets;

pub fn services(assets: &Assets) -> Vec<Service> {
    let assets = assets.clone();
    vec![Service::new(move |request: Cursors| {
        let assets = assets.clone();
        async move { assets.cursors(request.chain_id).await }
    })]
}
