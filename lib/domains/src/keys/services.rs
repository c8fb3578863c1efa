//! What other domains and processes ask.

use nepto_kit::service::Service;
use nepto_proto::svc::keys::{
    CanRegister, Certificates, DeviceSeen, ListDevices, OwnDevices, RegisterDevice, RemoveDevice, RemoveDevicesOf,
};

use super::ops::Keys;

pub fn services(keys: &Keys) -> Vec<Service> {
    let (register, list, own, remove, seen) = (keys.clone(), keys.clone(), keys.clone(), keys.clone(), keys.clone());
    let (certificates, of_wallet, asked) = (keys.clone(), keys.clone(), keys.clone());
    vec![
        Service::new(move |request: RegisterDevice| {
            let keys = register.clone();
            async move { keys.register(request).await }
        }),
        Service::new(move |request: CanRegister| {
            let keys = asked.clone();
            async move { keys.can_register(request).await }
        }),
        Service::new(move |request: ListDevices| {
            let keys = list.clone();
            async move { keys.list(request.account).await }
        }),
        Service::new(move |request: OwnDevices| {
            let keys = own.clone();
            async move { keys.own_devices(request.account).await }
        }),
        Service::new(move |request: RemoveDevice| {
            let keys = remove.clone();
            async move { keys.remove(request.account, request.device, request.certificate).await }
        }),
        Service::new(move |request: RemoveDevicesOf| {
            let keys = of_wallet.clone();
            async move { keys.remove_devices_of(request.account, &request.wallet).await }
        }),
        Service::new(move |request: Certificates| {
            let keys = certificates.clone();
            async move { keys.certificates(request.account).await }
        }),
        Service::new(move |request: DeviceSeen| {
            let keys = seen.clone();
            async move { keys.seen(request.account, request.device).await }
        }),
    ]
}
