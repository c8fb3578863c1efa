//! What other domains and processes ask.

use nepto_kit::service::Service;
use nepto_proto::svc::auth::CheckSession;
use nepto_proto::svc::auth::{EndSessions, FindAccount, RootWallets};

use super::ops::Auth;

pub fn services(auth: &Auth) -> Vec<Service> {
    let (sessions, accounts, roots, ended) = (auth.clone(), auth.clone(), auth.clone(), auth.clone());
    vec![
        Service::new(move |request: CheckSession| {
            let auth = sessions.clone();
            async move { auth.check_session(request.account, request.session).await }
        }),
        Service::new(move |request: FindAccount| {
            let auth = accounts.clone();
            async move { auth.find(request).await }
        }),
        Service::new(move |request: RootWallets| {
            let auth = roots.clone();
            async move { auth.root_wallets(&request.accounts).await }
        }),
        Service::new(move |request: EndSessions| {
            let auth = ended.clone();
            async move { auth.device_removed(request.account, request.device).await }
        }),
    ]
}
