//! Background jobs: low prekeys, idle devices, removed devices.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::{Keys, Retired};

/// Idle devices that one run removes. Each is somebody's, and is not brought back.
const IDLE_REMOVED_MAX: usize = 100;

pub fn jobs(keys: &Keys) -> Vec<Job> {
    let (low, idle, removed) = (keys.clone(), keys.clone(), keys.clone());
    vec![
        Job::every("prekey-low-water", Duration::from_secs(900)).within(Duration::from_secs(60)).run(move |run| {
            let keys = low.clone();
            async move { Ok(format!("{} devices are low on prekeys", keys.nudge_low(&run).await?)) }
        }),
        Job::every("idle-device-retirement", Duration::from_secs(3_600)).within(Duration::from_secs(60)).run(
            move |_| {
                let keys = idle.clone();
                async move {
                    let Retired { removed, are_left } = keys.retire_idle(IDLE_REMOVED_MAX).await?;
                    let left = if are_left { ", more are left for the next run" } else { "" };
                    Ok(format!("{removed} idle devices removed{left}"))
                }
            },
        ),
        Job::every("removed-device-expiry", Duration::from_secs(3_600)).within(Duration::from_secs(60)).run(
            move |_| {
                let keys = removed.clone();
                async move { Ok(format!("{} removed devices forgotten", keys.forget_removed().await?)) }
            },
        ),
    ]
}
