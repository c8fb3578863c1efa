//! What this domain does about events.

use nepto_kit::consumer::Consumer;
use nepto_proto::event::AccessChanged;

use super::ops::Communities;

/// Tells again whose access changed, in case the process that changed it died before it could.
pub const ACCESS_CHANGED: &str = "communities-access-changed";

pub fn consumers(communities: &Communities) -> Vec<Consumer> {
    let communities = communities.clone();
    vec![Consumer::of_event(ACCESS_CHANGED, move |changed: AccessChanged| {
        let communities = communities.clone();
        async move { communities.tell_again(changed.community, changed.account).await }
    })]
}
