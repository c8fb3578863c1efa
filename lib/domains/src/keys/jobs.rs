//! Background jobs.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Keys;

pub fn jobs(keys: &Keys) -> Vec<Job> {
    let (low, idle, removed) = (keys.clone(), keys.clone(), keys.clone());
    vec![
        Job::new("prekey-low-water", Duration::from_secs(900), Duration::from_secs(60), move || {
            let keys = low.clone();
            async move { Ok(format!("{} devices are low on prekeys", keys.nudge_low().await?)) }
        }),
        Job::new("idle-device-retirement", Duration::from_secs(3_600), Duration::from_secs(60), move || {
            let keys = idle.clone();
            async move { Ok(format!("{} idle devices removed", keys.retire_idle().await?)) }
        }),
        Job::new("removed-device-expiry", Duration::from_secs(3_600), Duration::from_secs(60), move || {
            let keys = removed.clone();
            async move { Ok(format!("{} removed devices forgotten", keys.forget_removed().await?)) }
        }),
    ]
}
