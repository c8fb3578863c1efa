//! Lists of addresses, which are kept beside a gate: the gate has only the root of a Merkle tree over them, so that who has the
//! root can tell whether a list is the one, and who is on it can prove that.
//!
//! The tree is OpenZeppelin's [`StandardMerkleTree`] of `["address"]`: a leaf is the hash of the hash of the address as a word,
//! leaves are sorted, and two hashes are joined in their order. So a list can be made with that library, and a proof be checked
//! by contracts.
//!
//! [`StandardMerkleTree`]: https://github.com/OpenZeppelin/merkle-tree

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, keccak256};
use serde_json::Value;

use super::error::{GateCode, GateError, Place};
use super::field::{Field, wrong_type};
use super::values::ListSize;

/// Addresses of a list.
pub const ADDRESSES_MAX: u32 = 50_000;

/// Addresses, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(BTreeSet<Address>);

impl Addresses {
    /// Those of a JSON list. One that stands there twice counts once. Errors name the entry.
    pub fn read(value: &Value) -> Result<Self, GateError> {
        let entries = value.as_array().ok_or_else(|| wrong_type(&Place::ROOT, "a list of addresses"))?;
        if entries.is_empty() {
            return Err(Place::ROOT.error(GateCode::ListEmpty, "this list is empty; it needs an address"));
        }
        if entries.len() > ADDRESSES_MAX as usize {
            let detail = format!("this list has {} addresses, of at most {ADDRESSES_MAX}", entries.len());
            return Err(Place::ROOT.error(GateCode::ListTooLong, detail));
        }
        let read = |(index, entry): (usize, &Value)| Address::read(entry, &Place::ROOT.index(index));
        entries.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// How many there are, as an expression says it.
    pub fn count(&self) -> ListSize {
        ListSize(self.0.len().try_into().unwrap_or(ADDRESSES_MAX))
    }

    /// Whether an address is one of them.
    pub fn contains(&self, address: &Address) -> bool {
        self.0.contains(address)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }

    /// The root of their tree.
    pub fn root(&self) -> B256 {
        self.tree()[0]
    }

    /// What proves to whoever has the root that an address is one of them: the neighbours on the way up.
    pub fn proof(&self, address: &Address) -> Option<Vec<B256>> {
        let tree = self.tree();
        let leaf = leaf(address);
        let first_leaf = tree.len() - self.0.len();
        let mut index = first_leaf + tree[first_leaf..].iter().position(|hash| *hash == leaf)?;
        let mut proof = Vec::new();
        while index > 0 {
            // a left child has an odd number, and its neighbour the next one
            let neighbour = if index.is_multiple_of(2) { index - 1 } else { index + 1 };
            proof.push(tree[neighbour]);
            index = (index - 1) / 2;
        }
        Some(proof)
    }

    /// All nodes: the children of a node are at twice its number plus one and plus two, and the leaves at the end, the largest
    /// first.
    fn tree(&self) -> Vec<B256> {
        let mut leaves: Vec<B256> = self.0.iter().map(leaf).collect();
        leaves.sort_unstable_by(|one, other| other.cmp(one));
        let inner = leaves.len().saturating_sub(1);
        let mut tree = vec![B256::ZERO; inner];
        tree.append(&mut leaves);
        for index in (0..inner).rev() {
            tree[index] = join(tree[2 * index + 1], tree[2 * index + 2]);
        }
        tree
    }
}

/// Whether a proof shows that an address is on the list with this root.
pub fn proves(root: B256, address: &Address, proof: &[B256]) -> bool {
    proof.iter().fold(leaf(address), |hash, neighbour| join(hash, *neighbour)) == root
}

fn leaf(address: &Address) -> B256 {
    // twice, so that no inner node can be taken for a leaf
    keccak256(keccak256(address.into_word()))
}

fn join(one: B256, other: B256) -> B256 {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    keccak256([low.as_slice(), high.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn addresses(numbers: impl IntoIterator<Item = u8>) -> Addresses {
        Addresses(numbers.into_iter().map(Address::repeat_byte).collect())
    }

    /// Made by a program of its own, whose tree over the example in the library's README has the root that stands there.
    #[test]
    fn the_root_is_that_of_openzeppelins_library() {
        for (count, root) in [
            (1, "0xf321ce56216c8215eea40ec9a074b88b9a702f8faf64fc45c6d4882f9c02eab7"),
            (2, "0x676c0964686b9164103457620ea47bb5079a424b0a162cb6f8b3652bca3064b3"),
            (3, "0x5d0ee50e4de96b94659c16ff3acf389d3cf381648d8a18dbd0020329a3a5adc5"),
            (5, "0xbf89c89bec1148deb7aff7b6422cfa8276a15eed83cc56dea1cd68e914160756"),
        ] {
            assert_eq!(addresses(1..=count).root().to_string(), root, "{count}");
        }
    }

    #[test]
    fn a_bad_entry_is_named() {
        let good = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
        let twice = Addresses::read(&json!([good, good.to_lowercase()])).unwrap();
        assert_eq!((twice.count(), twice.iter().count()), (ListSize(1), 1));
        let error = Addresses::read(&json!([good, "0xd8da6bf26964af9d7eed9e03e53415d37aa9604"])).unwrap_err();
        assert_eq!((error.code, error.pointer.as_str()), (GateCode::AddressMalformed, "/1"));
        assert_eq!(Addresses::read(&json!([])).unwrap_err().code, GateCode::ListEmpty);
        let many = vec![good; ADDRESSES_MAX as usize + 1];
        assert_eq!(Addresses::read(&json!(many)).unwrap_err().code, GateCode::ListTooLong);
    }

    proptest! {
        #[test]
        fn who_is_on_it_can_prove_it_and_nobody_else(
            listed in prop::collection::btree_set(any::<[u8; 20]>(), 1..40), other: [u8; 20],
        ) {
            let listed = Addresses(listed.into_iter().map(Address::from).collect());
            let root = listed.root();
            for address in listed.iter() {
                prop_assert!(proves(root, address, &listed.proof(address).unwrap()));
            }
            let other = Address::from(other);
            if !listed.contains(&other) {
                prop_assert_eq!(listed.proof(&other), None);
                let borrowed = listed.proof(listed.iter().next().unwrap()).unwrap();
                prop_assert!(!proves(root, &other, &borrowed));
            }
        }
    }
}
