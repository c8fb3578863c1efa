//! What other domains and processes ask.

use nepto_kit::service::Service;
use nepto_proto::svc::communities::{Access, CommunityStanding};

use super::ops::Communities;

pub fn services(communities: &Communities) -> Vec<Service> {
    let (access, standing) = (communities.clone(), communities.clone());
    vec![
        Service::new(move |request: Access| {
            let communities = access.clone();
            async move { communities.access(request).await }
        }),
        Service::new(move |request: CommunityStanding| {
            let communities = standing.clone();
            async move { communities.standing(request).await }
        }),
    ]
}
