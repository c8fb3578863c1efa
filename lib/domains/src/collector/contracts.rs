//! Which contracts are watched, and which older blocks must still be read for them. Pure rules.

use std::collections::HashMap;

use nepto_kit::db::Text;

use super::store::{ContractRow, GapRow};
use crate::chains::Contract;
use alloy_primitives::Address;

/// What must be written so that the stored contracts follow the configuration, at this tip. A contract that is new here, or
/// comes back, has missed the blocks up to the tip.
pub fn reconcile(stored: &[ContractRow], wanted: &[Contract], anchor: u64, height: u64) -> Vec<ContractRow> {
    let known: HashMap<Address, &ContractRow> = stored.iter().map(|row| (row.at(), row)).collect();
    let mut changed = Vec::new();
    for contract in wanted {
        let start_block = contract.start_block.max(1);
        let mut row = match known.get(&contract.address) {
            Some(row) => (*row).clone(),
            // it is collected from its beginning if the chain is begun just now, or if that is still to come
            None => ContractRow {
                address: Text(contract.address),
                kind: contract.kind.as_str().to_owned(),
                start_block: start_block.max(anchor.max(height) + 1),
                left_at: None,
                gaps: Vec::new(),
            },
        };
        if let Some(left_at) = row.left_at.take() {
            add(&mut row.gaps, left_at + 1, height);
        }
        if start_block < row.start_block {
            add(&mut row.gaps, start_block, height.min(row.start_block - 1));
            row.start_block = start_block;
        }
        if known.get(&contract.address) != Some(&&row) {
            changed.push(row);
        }
    }
    for row in stored {
        let is_wanted = wanted.iter().any(|contract| contract.address == row.at());
        if !is_wanted && row.left_at.is_none() {
            changed.push(ContractRow { left_at: Some(height), ..row.clone() });
        }
    }
    changed
}

/// A contract that is declared as another kind than it was collected as, and that kind: what its events meant then can't be
/// taken back.
pub fn redeclared<'a>(stored: &'a [ContractRow], wanted: &'a [Contract]) -> Option<(&'a Contract, &'a str)> {
    wanted.iter().find_map(|contract| {
        let row = stored.iter().find(|row| row.at() == contract.address && row.kind != contract.kind.as_str())?;
        Some((contract, row.kind.as_str()))
    })
}

/// Adds a gap and joins those that touch.
pub fn add(gaps: &mut Vec<GapRow>, from: u64, to: u64) {
    if from > to {
        return;
    }
    gaps.push(GapRow { from, to });
    gaps.sort_unstable_by_key(|gap| gap.from);
    let mut joined: Vec<GapRow> = Vec::new();
    for gap in gaps.drain(..) {
        match joined.last_mut() {
            Some(last) if gap.from <= last.to + 1 => last.to = last.to.max(gap.to),
            _ => joined.push(gap),
        }
    }
    *gaps = joined;
}

/// Takes a range out of the gaps.
pub fn close(gaps: &mut Vec<GapRow>, from: u64, to: u64) {
    let rest = |gap: GapRow| {
        let below = (gap.from < from).then(|| GapRow { from: gap.from, to: gap.to.min(from - 1) });
        let above = (gap.to > to).then(|| GapRow { from: gap.from.max(to + 1), to: gap.to });
        [below, above].into_iter().flatten()
    };
    *gaps = gaps.drain(..).flat_map(rest).collect();
}

/// The next heights to read, at most `span`, and the contracts that miss all of them. The newest gap first: what happened
/// lately matters more.
pub fn next_gap(rows: &[ContractRow], span: u64) -> Option<(GapRow, Vec<Address>)> {
    let active = || rows.iter().filter(|row| row.left_at.is_none());
    let newest = active().flat_map(|row| &row.gaps).max_by_key(|gap| gap.to)?;
    let to = newest.to;
    let mut from = newest.from.max((to + 1).saturating_sub(span.max(1)));
    let mut contracts = Vec::new();
    for row in active() {
        if let Some(gap) = row.gaps.iter().find(|gap| (gap.from..=gap.to).contains(&to)) {
            from = from.max(gap.from);
            contracts.push(row.at());
        }
    }
    Some((GapRow { from, to }, contracts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nepto_proto::api::assets::ContractKind;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn heights(gaps: &[GapRow]) -> BTreeSet<u64> {
        gaps.iter().flat_map(|gap| gap.from..=gap.to).collect()
    }

    proptest! {
        #[test]
        fn gaps_are_sets_of_heights(changes in prop::collection::vec((any::<bool>(), 1u64..40, 0u64..8), 0..30)) {
            let (mut gaps, mut expected) = (Vec::new(), BTreeSet::new());
            for (is_added, from, length) in changes {
                if is_added {
                    add(&mut gaps, from, from + length - 1);
                    expected.extend(from..from + length);
                } else {
                    close(&mut gaps, from, from + length - 1);
                    expected.retain(|height| !(from..from + length).contains(height));
                }
                prop_assert_eq!(heights(&gaps), expected.clone());
            }
            prop_assert!(gaps.windows(2).all(|pair| pair[0].to < pair[1].from));
        }

        #[test]
        fn every_gap_is_read_to_its_end(
            gaps in prop::collection::vec(prop::collection::vec((1u64..60, 1u64..20), 0..4), 1..4),
            span in 1u64..10,
        ) {
            let mut rows: Vec<ContractRow> = gaps.iter().enumerate().map(|(number, gaps)| {
                let mut row = ContractRow {
                    address: Text(Address::repeat_byte(number as u8)),
                    kind: "erc20".into(),
                    start_block: 1,
                    left_at: None,
                    gaps: Vec::new(),
                };
                for (from, length) in gaps {
                    add(&mut row.gaps, *from, from + length);
                }
                row
            }).collect();
            let mut left: u64 = rows.iter().map(|row| heights(&row.gaps).len() as u64).sum();
            while let Some((gap, contracts)) = next_gap(&rows, span) {
                prop_assert!(!contracts.is_empty() && gap.to - gap.from < span);
                for row in rows.iter_mut().filter(|row| contracts.contains(&row.at())) {
                    let before = heights(&row.gaps).len() as u64;
                    close(&mut row.gaps, gap.from, gap.to);
                    prop_assert_eq!(before - heights(&row.gaps).len() as u64, gap.to - gap.from + 1);
                    left -= gap.to - gap.from + 1;
                }
            }
            prop_assert_eq!(left, 0);
        }
    }

    fn contract(number: u8, start_block: u64) -> Contract {
        Contract { address: Address::repeat_byte(number), kind: ContractKind::Erc20, start_block }
    }

    #[test]
    fn what_was_missed_is_known() {
        // begun at block 9 for a contract of block 10: nothing is missing
        let first = reconcile(&[], &[contract(1, 10)], 9, 9);
        assert_eq!((first[0].start_block, first[0].gaps.len()), (10, 0));
        assert_eq!(reconcile(&first, &[contract(1, 10)], 9, 50), []);
        // one that begins later misses nothing, also if it is to begin sooner after all
        let future = reconcile(&first, &[contract(1, 10), contract(2, 90)], 9, 50);
        assert_eq!((future[0].start_block, future[0].gaps.len()), (90, 0));
        let sooner = reconcile(&future, &[contract(2, 70)], 9, 50);
        assert_eq!((sooner[0].start_block, sooner[0].gaps.len()), (70, 0));
        let now = reconcile(&future, &[contract(2, 40)], 9, 50);
        assert_eq!((now[0].start_block, &now[0].gaps[..]), (40, &[GapRow { from: 40, to: 50 }][..]));
        // one that comes later has missed everything since its start
        let second = reconcile(&first, &[contract(1, 10), contract(2, 20)], 9, 50);
        assert_eq!(second[0].gaps, [GapRow { from: 20, to: 50 }]);
        // one that leaves and comes back has missed what was between
        let left = reconcile(&first, &[], 9, 60);
        assert_eq!(left[0].left_at, Some(60));
        let back = reconcile(&left, &[contract(1, 10)], 9, 70);
        assert_eq!((back[0].left_at, &back[0].gaps[..]), (None, &[GapRow { from: 61, to: 70 }][..]));
        // what it is stays what it is, also while it is away
        let other = [Contract { kind: ContractKind::Token, ..contract(1, 10) }];
        for rows in [&first, &left, &back] {
            assert_eq!(
                redeclared(rows, &other).map(|(contract, was)| (contract.kind, was)),
                Some((ContractKind::Token, "erc20"))
            );
            assert!(redeclared(rows, &[contract(1, 10), contract(2, 20)]).is_none());
        }
        // an earlier start is a gap before
        let earlier = reconcile(&first, &[contract(1, 4)], 9, 50);
        assert_eq!((earlier[0].start_block, &earlier[0].gaps[..]), (4, &[GapRow { from: 4, to: 9 }][..]));
    }
}
