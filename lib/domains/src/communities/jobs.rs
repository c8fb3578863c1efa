//! Background jobs: deleted communities, what has expired, and old entries of the audit log.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Communities;

pub fn jobs(communities: &Communities) -> Vec<Job> {
    let (removal, expiry, audit) = (communities.clone(), communities.clone(), communities.clone());
    vec![
        Job::every("community-removal", Duration::from_secs(600)).within(Duration::from_secs(300)).run(move |_| {
            let communities = removal.clone();
            async move { Ok(format!("{} deleted communities are gone for good", communities.remove_deleted().await?)) }
        }),
        Job::every("community-expiry", Duration::from_secs(600)).within(Duration::from_secs(120)).run(move |_| {
            let communities = expiry.clone();
            async move { Ok(format!("{} bans, time-outs and invites are over", communities.forget_expired().await?)) }
        }),
        Job::every("community-audit-expiry", Duration::from_secs(3_600)).within(Duration::from_secs(120)).run(
            move |_| {
                let communities = audit.clone();
                async move { Ok(format!("{} entries of audit logs forgotten", communities.forget_audit().await?)) }
            },
        ),
    ]
}
