//! What this domain does about events.

use nepto_kit::consumer::Consumer;
use nepto_proto::event::{DeviceRemoved, SessionsRevoked};

use super::ops::Auth;

pub const QUEUES: &[&str] = &["auth-device-removed", "auth-sessions-revoked"];

pub fn consumers(auth: &Auth) -> Vec<Consumer> {
    let (devices, sessions) = (auth.clone(), auth.clone());
    vec![
        Consumer::of_event("auth-device-removed", move |event: DeviceRemoved| {
            let auth = devices.clone();
            async move { auth.device_removed(event.account, event.device).await.map(drop) }
        }),
        Consumer::of_event("auth-sessions-revoked", move |event: SessionsRevoked| {
            let auth = sessions.clone();
            async move { auth.spread_end(event.account, &event.sessions).await }
        }),
    ]
}
