//! Whether what processes of the last release say to others over NATS is read by today's types, and says the same when they say it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use nepto_proto::event::{self, Event};
use nepto_proto::svc::{Operation, accounts, auth, keys};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

type Read = Box<dyn Fn(&Value) -> Result<()>>;

/// Everything that was heard of the last release, by its subject.
fn readers() -> BTreeMap<String, Read> {
    BTreeMap::from([
        of_event::<event::SessionsRevoked>(),
        of_event::<event::WalletLinked>(),
        of_event::<event::WalletUnlinked>(),
        of_event::<event::DeviceRemoved>(),
        of_event::<event::MessageWaiting>(),
        of_operation::<accounts::BeginsToWrite>(),
        of_operation::<accounts::MayWrite>(),
        of_operation::<accounts::WhoAccepts>(),
        of_operation::<accounts::Wrote>(),
        of_operation::<auth::EndSessions>(),
        of_operation::<auth::FindAccount>(),
        of_operation::<auth::RootWallets>(),
        of_operation::<keys::CanRegister>(),
        of_operation::<keys::ListDevices>(),
        of_operation::<keys::DeviceSeen>(),
        of_operation::<keys::RegisterDevice>(),
        of_operation::<keys::RemoveDevicesOf>(),
    ])
}

fn of_event<E: Event + 'static>() -> (String, Read) {
    (E::subject(), Box::new(|body| keeps::<E>(body.as_str().context("a body")?)))
}

fn of_operation<O: Operation>() -> (String, Read) {
    let read = |said: &Value| {
        keeps::<O>(said["question"].as_str().context("a question")?)?;
        let answer: Value = serde_json::from_str(said["answer"].as_str().context("an answer")?)?;
        keeps::<O::Reply>(&answer["done"].to_string())
    };
    (nepto_proto::subject::service(O::DOMAIN, O::NAME), Box::new(read))
}

/// It can be read, and loses nothing: who is not replaced yet finds in it what it put there.
fn keeps<T: Serialize + DeserializeOwned>(said: &str) -> Result<()> {
    let (before, read): (Value, T) = (serde_json::from_str(said)?, serde_json::from_str(said)?);
    let now = serde_json::to_value(read)?;
    ensure!(holds(&now, &before), "{before} has become {now}");
    Ok(())
}

/// Whether everything in `part` is in `whole`.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| value.is_null() || whole.get(name).is_some_and(|found| holds(found, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| holds(whole, part))
        }
        _ => whole == part,
    }
}

/// What today's code can't read, by its subject.
pub fn broken(heard: &BTreeMap<String, Value>) -> Vec<String> {
    let readers = readers();
    let failed = heard.iter().filter_map(|(subject, said)| match readers.get(subject) {
        Some(read) => read(said).err().map(|error| format!("{subject}: {error:#}")),
        None => Some(format!("{subject}: nobody reads it any more")),
    });
    failed.collect()
}
