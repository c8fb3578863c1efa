//! Whom a token is taken from. A token that can be only one has a line of turns, in the order of its blocks and logs; each
//! takes it from whoever the turn before gave it to, whatever the event says of it. So there is one holder or none after
//! any turn, and it does not matter in which order turns are heard of: what comes between two that are known changes what
//! the later one did. Pure rules.

use std::collections::BTreeMap;

use alloy_primitives::Address;

use super::model::{Amount, AssetClass, BlockEffects, Holding, LogPosition, Single, Turn};

/// What is known of a token's line around what is added: the last turn before it, all between, and the first after it.
pub type Known = BTreeMap<(u64, u32), Turn>;

/// One gained a token, and another lost it, by the turn at this position; or a turn that was thought to do so did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Passed {
    position: LogPosition,
    from: Address,
    to: Address,
    /// One, or minus one.
    amount: Amount,
}

/// Puts turns into their lines, and what they change into the deltas. Turns that are known already change nothing, and are
/// not left to be committed.
pub fn settle(block_effects: &mut BlockEffects, known: &BTreeMap<Single, Known>) {
    let none = Known::new();
    let mut turns = std::mem::take(&mut block_effects.turns);
    for (single, added) in &mut turns {
        let known = known.get(single).unwrap_or(&none);
        added.retain(|turn| !known.contains_key(&key(turn)));
        for Passed { position, from, to, amount } in passed(known, added) {
            for class in [AssetClass::Whole, AssetClass::Token(single.token)] {
                let holding = |holder| Holding { holder, contract: single.contract, origin: single.origin, class };
                block_effects.change(position, holding(from), amount.negated(), Some(to));
                block_effects.change(position, holding(to), amount, Some(from));
            }
        }
    }
    turns.retain(|_, added| !added.is_empty());
    block_effects.turns = turns;
}

const fn key(turn: &Turn) -> (u64, u32) {
    (turn.position.block, turn.position.log)
}

fn passed(known: &Known, added: &[Turn]) -> Vec<Passed> {
    let mut line = known.clone();
    line.extend(added.iter().map(|turn| (key(turn), *turn)));
    let Some(first) = added.iter().map(key).min() else { return Vec::new() };
    let mut passed = Vec::new();
    let mut owner = known.range(..first).next_back().map_or(Address::ZERO, |(_, turn)| turn.owner);
    // as it was thought to be without what is added
    let mut thought = owner;
    for (key, turn) in line.range(first..) {
        let is_known = known.contains_key(key);
        if !is_known || owner != thought {
            if is_known && thought != turn.owner {
                passed.push(Passed {
                    position: turn.position,
                    from: thought,
                    to: turn.owner,
                    amount: Amount::ONE.negated(),
                });
            }
            if owner != turn.owner {
                passed.push(Passed { position: turn.position, from: owner, to: turn.owner, amount: Amount::ONE });
            }
        }
        owner = turn.owner;
        if is_known {
            thought = turn.owner;
        }
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::model::Origin;
    use alloy_primitives::{B256, U256};
    use nepto_proto::svc::collector::Pipeline;
    use proptest::prelude::*;

    fn turn((block, log): (u64, u32), owner: u8) -> Turn {
        let position = LogPosition { block, log, time_s: block, transaction: B256::ZERO };
        Turn { position, owner: Address::repeat_byte(owner) }
    }

    fn single() -> Single {
        let origin = Origin { pipeline: Pipeline::Erc721, topics: 4 };
        Single { origin, contract: Address::repeat_byte(9), token: U256::from(5) }
    }

    /// What is known around these, as the store reads it.
    fn around(line: &Known, added: &[Turn]) -> Known {
        let Some((first, last)) = added.iter().map(key).min().zip(added.iter().map(key).max()) else {
            return Known::new();
        };
        let before = line.range(..first).next_back();
        let after = line.range((last.0, last.1 + 1)..).next();
        let all = before.into_iter().chain(line.range(first..=last)).chain(after);
        all.map(|(at, turn)| (*at, *turn)).collect()
    }

    proptest! {
        /// In whatever order and company turns are heard of, once or twice: the deltas of each block are what the whole line
        /// says.
        #[test]
        fn the_order_of_hearing_of_turns_is_nothing(
            line in prop::collection::btree_map((1_u64..8, 0_u32..3), 0_u8..4, 1..12),
            order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..40),
        ) {
            let all: Vec<Turn> = line.iter().map(|(at, owner)| turn(*at, *owner)).collect();
            let picked = order.iter().map(|(index, ends)| (*index.get(&all), *ends));
            let rest = all.iter().map(|turn| (*turn, true));
            let (mut known, mut sums, mut together) = (Known::new(), BTreeMap::new(), Vec::new());
            for (turn, ends) in picked.chain(rest) {
                if !together.contains(&turn) {
                    together.push(turn);
                }
                if !ends {
                    continue;
                }
                let added = std::mem::take(&mut together);
                let mut block_effects = BlockEffects { turns: [(single(), added.clone())].into(), ..BlockEffects::default() };
                settle(&mut block_effects, &[(single(), around(&known, &added))].into());
                for ((block, holding), delta) in block_effects.deltas {
                    let sum = sums.entry((block, holding)).or_insert(Amount::ZERO);
                    *sum = sum.plus(delta.amount);
                }
                known.extend(added.iter().map(|turn| (key(turn), *turn)));
            }
            let mut expected = BlockEffects { turns: [(single(), all)].into(), ..BlockEffects::default() };
            settle(&mut expected, &BTreeMap::new());
            let expected: BTreeMap<_, _> = expected.deltas.iter().map(|(key, delta)| (*key, delta.amount)).collect();
            let is_some = |amount: &Amount| *amount != Amount::ZERO;
            sums.retain(|_, amount| is_some(amount));
            let expected: BTreeMap<_, _> = expected.into_iter().filter(|(_, amount)| is_some(amount)).collect();
            prop_assert_eq!(sums, expected);
        }
    }

    #[test]
    fn a_token_leaves_whoever_had_it() {
        let mut block_effects = BlockEffects {
            turns: [(single(), vec![turn((1, 0), 1), turn((2, 0), 2), turn((3, 0), 0)])].into(),
            ..BlockEffects::default()
        };
        settle(&mut block_effects, &BTreeMap::new());
        let token = AssetClass::Token(U256::from(5));
        let of = |block, who| {
            let Single { origin, contract, .. } = single();
            let holding = Holding { holder: Address::repeat_byte(who), contract, origin, class: token };
            block_effects.deltas.get(&(block, holding)).map(|delta| delta.amount.signed())
        };
        let changes = [of(1, 1), of(2, 1), of(2, 2), of(3, 2)].map(Option::unwrap);
        assert_eq!(changes, ["1", "-1", "1", "-1"]);
    }
}
