//! How many files are fetched at once, in all and from one host; and rest for hosts that take no connection, so that a dead one
//! costs little and holds up no other. A host that is there does not rest, whatever became of a file of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::FetchError;
use super::rest::Rest;

/// Hosts that are remembered.
const HOSTS_MAX: usize = 4_096;
/// Fetches that wait for one host; more are refused.
const WAITING_MAX: usize = 256;

/// The hosts that are asked.
#[derive(Clone)]
pub struct Hosts {
    known: Arc<Mutex<HashMap<String, Host>>>,
    permits: Arc<Semaphore>,
}

struct Host {
    permits: Arc<Semaphore>,
    /// Fetches that are under way or wait.
    wanted: usize,
    rest: Rest,
}

/// Leave to ask a host, for as long as it lives.
pub struct FetchPermit {
    _wanted: Wanted,
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Counts among those who want something of a host.
struct Wanted {
    hosts: Hosts,
    host: String,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Some(host) = self.hosts.lock().get_mut(&self.host) {
            host.wanted -= 1;
        }
    }
}

impl Hosts {
    pub fn new(concurrency_max: usize) -> Self {
        Self { known: Arc::default(), permits: Arc::new(Semaphore::new(concurrency_max)) }
    }

    /// Waits until the host may be asked, by so many at once. Who waits for one host takes no permit from those of others.
    pub async fn enter(&self, host: &str, at_once: usize) -> Result<FetchPermit, FetchError> {
        let (wanted, permits) = self.want(host, at_once)?;
        let closed = |_| FetchError::Busy;
        let host_permit = permits.acquire_owned().await.map_err(closed)?;
        // it may have failed for others meanwhile
        if self.lock().get(host).is_some_and(|host| host.rest.lasts()) {
            return Err(FetchError::HostRests);
        }
        let all = self.permits.clone().acquire_owned().await.map_err(closed)?;
        Ok(FetchPermit { _wanted: wanted, _host: host_permit, _all: all })
    }

    fn want(&self, name: &str, at_once: usize) -> Result<(Wanted, Arc<Semaphore>), FetchError> {
        let mut known = self.lock();
        if known.len() >= HOSTS_MAX && !known.contains_key(name) {
            // rest is forgotten as well: hosts that don't exist cost nothing to name, and must keep no others out
            known.retain(|_, host| host.wanted > 0);
            if known.len() >= HOSTS_MAX {
                return Err(FetchError::Busy);
            }
        }
        let host = known.entry(name.to_owned()).or_insert_with(|| Host {
            permits: Arc::new(Semaphore::new(at_once)),
            wanted: 0,
            rest: Rest::default(),
        });
        if host.rest.lasts() {
            return Err(FetchError::HostRests);
        }
        if host.wanted >= WAITING_MAX {
            return Err(FetchError::Busy);
        }
        host.wanted += 1;
        let permits = host.permits.clone();
        drop(known);
        Ok((Wanted { hosts: self.clone(), host: name.to_owned() }, permits))
    }

    /// Notes whether the host took a connection.
    pub fn note(&self, name: &str, was_there: bool) {
        let mut known = self.lock();
        let Some(host) = known.get_mut(name) else { return };
        if was_there {
            host.rest = Rest::default();
        } else {
            host.rest.begin();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fetch::rest::REST_FIRST;
    use tokio::time::{advance, timeout};

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn one_host_holds_up_no_other() {
        let hosts = Hosts::new(3);
        let first = hosts.enter("a", 2).await.unwrap();
        let _second = hosts.enter("a", 2).await.unwrap();
        assert!(timeout(SOON, hosts.enter("a", 2)).await.is_err(), "two at once for a host");
        let _other = hosts.enter("b", 2).await.unwrap();
        assert!(timeout(SOON, hosts.enter("c", 2)).await.is_err(), "three at once in all");
        drop(first);
        timeout(SOON, hosts.enter("a", 2)).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_counted_and_too_many_are_refused() {
        let hosts = Hosts::new(100);
        let _under_way = hosts.enter("a", 1).await.unwrap();
        let mut waiting: Vec<_> = (1..WAITING_MAX).map(|_| Box::pin(hosts.enter("a", 1))).collect();
        for one in &mut waiting {
            assert!(timeout(SOON, one).await.is_err());
        }
        assert_eq!(hosts.enter("a", 1).await.err(), Some(FetchError::Busy));
        drop(waiting.pop());
        assert!(timeout(SOON, hosts.enter("a", 1)).await.is_err(), "there is a place to wait again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_not_there_rests_longer_each_time() {
        let hosts = Hosts::new(10);
        for rest in [REST_FIRST, REST_FIRST * 2, REST_FIRST * 4] {
            let place = hosts.enter("a", 1).await.unwrap();
            let waiting = tokio::spawn({
                let hosts = hosts.clone();
                async move { hosts.enter("a", 1).await.err() }
            });
            tokio::task::yield_now().await;
            hosts.note("a", false);
            drop(place);
            assert_eq!(waiting.await.unwrap(), Some(FetchError::HostRests), "who waits does not ask it again");
            advance(rest - SOON).await;
            assert_eq!(hosts.enter("a", 1).await.err(), Some(FetchError::HostRests));
            advance(SOON).await;
        }
        drop(hosts.enter("a", 1).await.unwrap());
        hosts.note("a", true);
        hosts.note("a", false);
        advance(REST_FIRST).await;
        hosts.enter("a", 1).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_hosts_are_remembered_than_may_be() {
        let hosts = Hosts::new(10);
        for number in 0..HOSTS_MAX {
            drop(hosts.enter(&number.to_string(), 1).await.unwrap());
            hosts.note(&number.to_string(), false);
        }
        hosts.enter("one more", 1).await.unwrap();
        assert_eq!(hosts.lock().len(), 1);
    }
}
