//! Places of which nobody may take all: so many in total, and of these so many for one network and for one prefix.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Origin;

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For everybody together.
    pub all: usize,
    /// For one network, which is part of a prefix ([`Origin`]).
    pub network: usize,
    /// For one prefix; see [`Origin`].
    pub prefix: usize,
}

impl Bounds {
    /// What one may have while so many places are taken. Once fewer than half are free, at most half of those that are: so each
    /// further prefix gets a third of what is left, and to take everything needs many (dynamic thresholds for a shared buffer,
    /// Choudhury and Hahne 1998).
    fn left(self, taken: usize) -> Self {
        let free = self.all.saturating_sub(taken);
        if free * 2 >= self.all {
            return self;
        }
        let most = (free / 2).max(1);
        Self { all: self.all, network: self.network.min(most), prefix: self.prefix.min(most) }
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The network has all that it may have.
    Network,
    /// The prefix has all that it may have.
    Prefix,
    /// Every place is taken, by whomever.
    All,
}

impl Full {
    /// Whether it is only this origin's share: others still find a place.
    pub const fn is_theirs(self) -> bool {
        !matches!(self, Self::All)
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Network => "address",
            Self::Prefix => "prefix",
            Self::All => "all",
        }
    }
}

/// The places. Clones share them.
#[derive(Clone)]
pub struct Shares(Arc<Inner>);

struct Inner {
    what: &'static str,
    bounds: Bounds,
    taken: Mutex<Taken>,
}

/// The tables have at most as many rows as places are taken.
#[derive(Default)]
struct Taken {
    all: usize,
    networks: HashMap<IpAddr, usize>,
    prefixes: HashMap<IpAddr, usize>,
}

/// A place; given back when dropped.
pub struct Share {
    shares: Shares,
    origin: Option<Origin>,
}

impl Shares {
    /// Places for this; `what` is the label of the metric that counts who found none.
    pub fn new(what: &'static str, bounds: Bounds) -> Self {
        Self(Arc::new(Inner { what, bounds, taken: Mutex::default() }))
    }

    /// A place. Who comes from nowhere in particular has no share of its own, only one of all.
    pub fn take(&self, origin: Option<Origin>) -> Result<Share, Full> {
        match self.try_take(origin) {
            Ok(()) => Ok(Share { shares: self.clone(), origin }),
            Err(full) => {
                metrics::counter!("nepto_http_refused_total", "what" => self.0.what, "share" => full.label())
                    .increment(1);
                Err(full)
            }
        }
    }

    fn try_take(&self, origin: Option<Origin>) -> Result<(), Full> {
        let mut taken = self.lock();
        let bounds = self.0.bounds.left(taken.all);
        if taken.all >= bounds.all {
            return Err(Full::All);
        }
        if let Some(origin) = origin {
            if taken.networks.get(&origin.network).is_some_and(|&taken| taken >= bounds.network) {
                return Err(Full::Network);
            }
            if taken.prefixes.get(&origin.prefix).is_some_and(|&taken| taken >= bounds.prefix) {
                return Err(Full::Prefix);
            }
            *taken.networks.entry(origin.network).or_default() += 1;
            *taken.prefixes.entry(origin.prefix).or_default() += 1;
        }
        taken.all += 1;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        taken.all -= 1;
        if let Some(origin) = self.origin {
            give_back(&mut taken.networks, origin.network);
            give_back(&mut taken.prefixes, origin.prefix);
        }
    }
}

fn give_back<K: Eq + Hash>(table: &mut HashMap<K, usize>, key: K) {
    if let Some(taken) = table.get_mut(&key) {
        *taken -= 1;
        if *taken == 0 {
            table.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(last: [u8; 2]) -> Option<Origin> {
        Some(IpAddr::from([192, 0, last[0], last[1]]).into())
    }

    #[test]
    fn one_address_and_one_prefix_leave_places_for_others() {
        let shares = Shares::new("test", Bounds { all: 6, network: 2, prefix: 3 });
        let take = |last| shares.take(origin(last));
        let first = [take([1, 1]), take([1, 1])];
        assert!(first.iter().all(Result::is_ok));
        assert_eq!(take([1, 1]).err(), Some(Full::Network));
        let neighbour = take([1, 2]);
        assert!(neighbour.is_ok());
        assert_eq!(take([1, 3]).err(), Some(Full::Prefix));
        let others = [take([2, 1]), shares.take(None), shares.take(None)];
        assert!(others.iter().all(Result::is_ok));
        assert_eq!(take([3, 1]).err(), Some(Full::All));
        drop((first, others));
        assert!(take([1, 1]).is_ok());
    }

    #[test]
    fn many_prefixes_together_leave_places_for_one_more() {
        let shares = Shares::new("test", Bounds { all: 1_000, network: 50, prefix: 200 });
        let mut held = Vec::new();
        for prefix in 0..9 {
            held.extend((0..200).filter_map(|host| shares.take(origin([prefix, host])).ok()));
        }
        assert_eq!(held.len(), 965, "five have two hundred, and then each a third of what is left");
        assert!(shares.take(origin([200, 1])).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_nobody_has_more_and_nothing_stays_behind(
            steps in proptest::collection::vec((any::<bool>(), 0..3u8, 0..3u8), 1..200)
        ) {
            let bounds = Bounds { all: 12, network: 2, prefix: 4 };
            let shares = Shares::new("test", bounds);
            let mut held: Vec<((u8, u8), Share)> = Vec::new();
            for (comes, prefix, host) in steps {
                if comes {
                    let before = held.len();
                    let of_network = held.iter().filter(|(who, _)| *who == (prefix, host)).count();
                    let of_prefix = held.iter().filter(|(who, _)| who.0 == prefix).count();
                    let left = bounds.left(before);
                    let free = before < bounds.all && of_network < left.network && of_prefix < left.prefix;
                    let taken = shares.take(origin([prefix, host]));
                    prop_assert_eq!(taken.is_ok(), free);
                    held.extend(taken.ok().map(|share| ((prefix, host), share)));
                } else if !held.is_empty() {
                    held.remove(usize::from(host) % held.len());
                }
            }
            held.clear();
            let taken = shares.lock();
            prop_assert_eq!((taken.all, taken.networks.len(), taken.prefixes.len()), (0, 0, 0));
        }
    }
}
