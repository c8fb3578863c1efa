//! What other domains and processes ask.

use nepto_kit::service::Service;
use nepto_proto::svc::accounts::{BeginsToWrite, MayWrite, WhoAccepts, Wrote};

use super::ops::Accounts;

pub fn services(accounts: &Accounts) -> Vec<Service> {
    let (may_write, begins, wrote, who_accepts) =
        (accounts.clone(), accounts.clone(), accounts.clone(), accounts.clone());
    vec![
        Service::new(move |request: MayWrite| {
            let accounts = may_write.clone();
            async move { accounts.standing(request.from, request.to).await }
        }),
        Service::new(move |request: BeginsToWrite| {
            let accounts = begins.clone();
            async move { accounts.begins_to_write(request.from, request.to).await }
        }),
        Service::new(move |request: Wrote| {
            let accounts = wrote.clone();
            async move { accounts.wrote(request.from, request.to).await }
        }),
        Service::new(move |request: WhoAccepts| {
            let accounts = who_accepts.clone();
            async move { accounts.who_accepts(request.asker, &request.accounts).await }
        }),
    ]
}
