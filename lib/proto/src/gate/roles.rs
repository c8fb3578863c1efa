//! Roles that depend on each other: a gate may ask for another role, whose gate asks for a third, and never for its own again.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::RoleId;

/// The circle that there would be if a role had a gate that asks for these roles: from the role on, back to it; `None` if there
/// is none. `asked_by` says which roles the gate of another role asks for. Each role is looked at once, whatever leads to it.
pub fn cycle(
    role: RoleId,
    asks_for: &BTreeSet<RoleId>,
    asked_by: impl Fn(RoleId) -> BTreeSet<RoleId>,
) -> Option<Vec<RoleId>> {
    // each role that was reached, with the one that led to it
    let mut reached: BTreeMap<RoleId, RoleId> = asks_for.iter().map(|next| (*next, role)).collect();
    let mut left: Vec<RoleId> = asks_for.iter().copied().collect();
    while let Some(next) = left.pop() {
        if next == role {
            return Some(way_back(role, &reached));
        }
        for further in asked_by(next) {
            if let std::collections::btree_map::Entry::Vacant(entry) = reached.entry(further) {
                entry.insert(next);
                left.push(further);
            }
        }
    }
    None
}

/// The roles that led from a role to itself.
fn way_back(role: RoleId, reached: &BTreeMap<RoleId, RoleId>) -> Vec<RoleId> {
    let mut way = vec![role];
    let mut last = role;
    while let Some(&before) = reached.get(&last) {
        way.push(before);
        last = before;
        if before == role {
            break;
        }
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn role(number: u128) -> RoleId {
        RoleId::new(Uuid::from_u128(number))
    }

    #[test]
    fn a_circle_is_told_in_its_order() {
        let graph: BTreeMap<RoleId, BTreeSet<RoleId>> =
            [(role(2), [role(3)].into()), (role(3), [role(1), role(4)].into())].into();
        let asked_by = |id: RoleId| graph.get(&id).cloned().unwrap_or_default();
        let found = cycle(role(1), &[role(2), role(4)].into(), asked_by);
        assert_eq!(found, Some(vec![role(1), role(2), role(3), role(1)]));
        assert_eq!(cycle(role(5), &[role(1), role(2)].into(), asked_by), None);
        assert_eq!(cycle(role(1), &[role(1)].into(), asked_by), Some(vec![role(1), role(1)]));
    }

    type Edges = BTreeSet<(RoleId, RoleId)>;

    /// Who reaches whom, by joining edges until there is nothing new.
    fn closure(edges: &Edges) -> Edges {
        let mut reaches = edges.clone();
        loop {
            let before = reaches.len();
            let ends = |via: RoleId| reaches.iter().filter(move |edge| edge.0 == via).map(|edge| edge.1);
            let longer: Vec<_> = reaches.iter().flat_map(|&(from, via)| ends(via).map(move |to| (from, to))).collect();
            reaches.extend(longer);
            if reaches.len() == before {
                return reaches;
            }
        }
    }

    proptest! {
        #[test]
        fn a_circle_is_found_exactly_if_the_role_reaches_itself(
            edges in prop::collection::btree_set((0..8_u128, 0..8_u128), 0..16),
        ) {
            let edges: Edges = edges.into_iter().map(|(from, to)| (role(from), role(to))).collect();
            let of = |id: RoleId| -> BTreeSet<RoleId> {
                edges.iter().filter(|edge| edge.0 == id).map(|edge| edge.1).collect()
            };
            let reaches = closure(&edges);
            for start in (0..8).map(role) {
                let found = cycle(start, &of(start), of);
                prop_assert_eq!(found.is_some(), reaches.contains(&(start, start)));
                if let Some(way) = found {
                    prop_assert_eq!((way[0], way[way.len() - 1]), (start, start));
                    prop_assert!(way.windows(2).all(|step| edges.contains(&(step[0], step[1]))));
                }
            }
        }
    }
}
