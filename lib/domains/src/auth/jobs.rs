//! Background jobs. Nonces expire by themselves, in Redis.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Auth;

pub fn jobs(auth: &Auth) -> Vec<Job> {
    let auth = auth.clone();
    vec![Job::new("session-expiry", Duration::from_secs(600), Duration::from_secs(60), move || {
        let auth = auth.clone();
        async move { Ok(format!("{} expired sessions removed", auth.remove_expired().await?)) }
    })]
}
