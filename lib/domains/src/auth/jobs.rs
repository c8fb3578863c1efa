//! Background jobs. Nonces expire by themselves, in Redis.

use std::time::Duration;

use nepto_kit::job::Job;

use super::ops::Auth;

pub fn jobs(auth: &Auth) -> Vec<Job> {
    let (sessions, wallets) = (auth.clone(), auth.clone());
    let invites = auth.clone();
    vec![
        Job::every("invite-expiry", Duration::from_secs(3_600)).within(Duration::from_secs(60)).run(move |_| {
            let auth = invites.clone();
            async move { Ok(format!("{} expired invites removed", auth.remove_expired_invites().await?)) }
        }),
        Job::every("session-expiry", Duration::from_secs(600)).within(Duration::from_secs(60)).run(move |_| {
            let auth = sessions.clone();
            async move { Ok(format!("{} expired sessions removed", auth.remove_expired().await?)) }
        }),
        Job::every("wallet-signature-recheck", Duration::from_secs(15)).within(Duration::from_secs(120)).run(
            move |_| {
                let auth = wallets.clone();
                async move { Ok(auth.recheck_contract_wallets().await?.to_string()) }
            },
        ),
    ]
}
