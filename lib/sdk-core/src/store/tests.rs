use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;

use super::backend::{Backend, Batch, Durability, Entry, MemoryBackend};
use super::seal::Cost;
use super::{Range, Store, StoreError, Table};
use crate::env::Env;

/// A backend that a test can look into.
#[derive(Clone, Default)]
struct Open(Arc<MemoryBackend>);

impl Backend for Open {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], descending: bool, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.0.scan(from, to, descending, limit)
    }
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.0.commit(batch, durability)
    }
}

fn env() -> Env {
    struct Zero;
    impl crate::env::Clock for Zero {
        fn now_ms(&self) -> u64 {
            0
        }
    }
    Env::new(Arc::new(Zero), rand::rngs::StdRng::seed_from_u64(3))
}

fn open(backend: &Open, passphrase: &str) -> Result<Store, StoreError> {
    Store::open(Box::new(backend.clone()), passphrase, Cost::LOW, &env())
}

#[test]
fn a_wrong_passphrase_is_refused_and_a_changed_one_works() {
    let backend = Open::default();
    let store = open(&backend, "correct horse").unwrap();
    let txn = store.begin();
    txn.put(Table::Profile, b"k", b"v".to_vec());
    txn.commit(Durability::Now).unwrap();
    assert!(matches!(open(&backend, "battery staple"), Err(StoreError::Passphrase)));
    store.change_passphrase("battery staple", Cost::LOW).unwrap();
    drop(store);
    assert!(matches!(open(&backend, "correct horse"), Err(StoreError::Passphrase)));
    let store = open(&backend, "battery staple").unwrap();
    assert_eq!(store.begin().get(Table::Profile, b"k").unwrap().as_deref(), Some(b"v".as_slice()));
}

#[test]
fn changed_and_moved_values_are_noticed() {
    let backend = Open::default();
    let store = open(&backend, "").unwrap();
    let txn = store.begin();
    txn.put(Table::Profile, b"a", b"one".to_vec());
    txn.put(Table::Profile, b"b", b"two".to_vec());
    txn.commit(Durability::Now).unwrap();
    let key = |name: &[u8]| [&[Table::Profile as u8], name].concat();
    let sealed = backend.get(&key(b"a")).unwrap().unwrap();
    for at in [0, 30, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        backend.commit(Batch::from([(key(b"a"), Some(changed))]), Durability::Now).unwrap();
        assert!(matches!(store.begin().get(Table::Profile, b"a"), Err(StoreError::Tampered)));
    }
    backend.commit(Batch::from([(key(b"a"), Some(vec![1, 2]))]), Durability::Now).unwrap();
    assert!(matches!(store.begin().get(Table::Profile, b"a"), Err(StoreError::Tampered)));
    // from another place of the same store
    backend.commit(Batch::from([(key(b"b"), Some(sealed.clone()))]), Durability::Now).unwrap();
    assert!(matches!(store.begin().get(Table::Profile, b"b"), Err(StoreError::Tampered)));
    assert!(matches!(store.begin().scan(Table::Profile, Range::all(b"", 9)), Err(StoreError::Tampered)));
    backend.commit(Batch::from([(key(b"a"), Some(sealed))]), Durability::Now).unwrap();
    assert_eq!(store.begin().get(Table::Profile, b"a").unwrap().unwrap(), b"one");
}

#[test]
fn nothing_at_rest_names_anybody() {
    use super::super::tests::world::World;
    let mut world = World::new();
    let (alice, bob) = (world.person(), world.person());
    let backend = Open::default();
    let store = open(&backend, "").unwrap();
    let mut a = world.device_in(alice.account, &alice.wallet, super::super::tests::world::DOMAIN, Some(store));
    let mut b = world.device(&bob);
    a.say(bob.account, "a needle in a haystack");
    world.settle(&mut [&mut a, &mut b]);
    let all = backend.scan(&[0], &[0xff], false, usize::MAX).unwrap();
    assert!(all.len() > 20);
    let identity = a.core.identity_key().unwrap().serialize();
    for needle in [
        b"needle".to_vec(),
        bob.account.to_vec(),
        bob.account.to_string().into_bytes(),
        bob.account.uuid().hyphenated().to_string().into_bytes(),
        identity.to_vec(),
        bob.wallet.address().to_string().into_bytes(),
    ] {
        let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!all.iter().any(|(key, value)| holds(key) || holds(value)), "{:?}", String::from_utf8_lossy(&needle));
    }
}

#[test]
fn a_transaction_that_is_dropped_never_happened() {
    let backend = Open::default();
    let store = open(&backend, "").unwrap();
    let txn = store.begin();
    txn.put(Table::Message, b"never", vec![1]);
    drop(txn);
    store.flush().unwrap();
    assert_eq!(open(&backend, "").unwrap().begin().get(Table::Message, b"never").unwrap(), None);
}

proptest! {
    /// A transaction reads as if its writes were done, and a commit does exactly them.
    #[test]
    fn a_transaction_reads_its_own_writes(
        before in proptest::collection::btree_map(0u8..20, any::<u8>(), 0..20),
        writes in proptest::collection::vec((0u8..20, proptest::option::of(any::<u8>())), 0..20),
        from in 0u8..20, to in 0u8..21, limit in 0usize..10, descending in any::<bool>(),
    ) {
        let store = open(&Open::default(), "").unwrap();
        let txn = store.begin();
        let mut model = before.clone();
        for (key, value) in before {
            txn.put(Table::Message, &[9, key], vec![value]);
        }
        txn.put(Table::Message, &[8, 1], vec![0]);
        txn.put(Table::Message, &[10], vec![0]);
        txn.commit(Durability::Now).unwrap();
        let txn = store.begin();
        for (key, value) in writes {
            match value {
                Some(value) => { txn.put(Table::Message, &[9, key], vec![value]); model.insert(key, value); }
                None => { txn.delete(Table::Message, &[9, key]); model.remove(&key); }
            }
        }
        let (low, high) = ([from], [to]);
        let range = Range { prefix: &[9], from: &low, to: Some(&high), descending, limit };
        let mut expected: Vec<(Vec<u8>, Vec<u8>)> = model.iter()
            .filter(|(key, _)| (from..to).contains(*key))
            .map(|(key, value)| (vec![9, *key], vec![*value]))
            .collect();
        if descending { expected.reverse(); }
        expected.truncate(limit);
        prop_assert_eq!(txn.scan(Table::Message, range).unwrap(), expected.clone());
        txn.commit(Durability::Later).unwrap();
        prop_assert_eq!(store.begin().scan(Table::Message, range).unwrap(), expected);
        let all = store.begin().scan(Table::Message, Range::all(&[9], 100)).unwrap();
        prop_assert_eq!(all.len(), model.len());
    }
}
