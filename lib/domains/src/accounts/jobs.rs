//! Background jobs: handles that have rested.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Accounts;

pub fn jobs(accounts: &Accounts) -> Vec<Job> {
    let accounts = accounts.clone();
    vec![Job::every("rested-handle-expiry", Duration::from_secs(3_600)).within(Duration::from_secs(60)).run(
        move |_| {
            let accounts = accounts.clone();
            async move { Ok(format!("{} handles are free again", accounts.forget_rested().await?)) }
        },
    )]
}
