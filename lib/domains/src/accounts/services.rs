//! What other domains and processes ask.

use nepto_kit::service::Service;

use super::ops::Accounts;
use super::{MayWrite, WhoAccepts};

pub fn services(accounts: &Accounts) -> Vec<Service> {
    let (may_write, who_accepts) = (accounts.clone(), accounts.clone());
    vec![
        Service::new(move |request: MayWrite| {
            let accounts = may_write.clone();
            async move { accounts.may_write(request.from, request.to).await }
        }),
        Service::new(move |request: WhoAccepts| {
            let accounts = who_accepts.clone();
            async move { accounts.who_accepts(request.asker, &request.accounts).await }
        }),
    ]
}
