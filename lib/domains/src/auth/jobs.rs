//! Background jobs. Nonces expire by themselves, in Redis.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Auth;

pub fn jobs(auth: &Auth) -> Vec<Job> {
    let (sessions, wallets) = (auth.clone(), auth.clone());
    let invites = auth.clone();
    vec![
        Job::new("invite-expiry", Duration::from_secs(3_600), Duration::from_secs(60), move || {
            let auth = invites.clone();
            async move { Ok(format!("{} expired invites removed", auth.remove_expired_invites().await?)) }
        }),
        Job::new("session-expiry", Duration::from_secs(600), Duration::from_secs(60), move || {
            let auth = sessions.clone();
            async move { Ok(format!("{} expired sessions removed", auth.remove_expired().await?)) }
        }),
        Job::new("wallet-signature-recheck", Duration::from_secs(15), Duration::from_secs(120), move || {
            let auth = wallets.clone();
            async move { Ok(auth.recheck_contract_wallets().await?.to_string()) }
        }),
    ]
}
