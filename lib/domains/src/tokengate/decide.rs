//! What follows from an evaluation: somebody gets a role, loses it, or nothing changes. Pure.
//!
//! A gate is evaluated twice: at the block that has as many confirmations as the operator asks for, and at the newest final one.
//! The first may grant; only both together may take away. What is unknown does neither.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use nepto_proto::gate::{Gate, Truth, Why};

use super::evaluate::{Terms, evaluate, truth};
use super::facts::{Depth, Facts};

/// What is to be done about somebody's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They get it.
    Grant,
    /// Nothing changes.
    Keep,
    /// They lose it.
    Take,
}

/// A gate, evaluated at the two blocks that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// At the block with as many confirmations as granting needs.
    pub confirmed: Why,
    /// At the newest final block. Facts that may still change count as unknown, whoever hands them in.
    pub settled: Why,
}

/// How facts are judged.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Confirmations that granting needs.
    pub confirmations: u64,
    /// How old the block of a chain may be.
    pub age_ms_max: i64,
}

/// What is known, at the two blocks.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// At a block with enough confirmations.
    pub confirmed: &'a Facts,
    /// At a final block.
    pub settled: &'a Facts,
}

impl Policy {
    /// What granting needs, at a time in milliseconds since 1970.
    fn confirmed(self, now_ms: i64) -> Terms {
        Terms { now_ms, depth: Depth::Confirmations(self.confirmations), age_ms_max: self.age_ms_max }
    }

    /// What taking away needs besides.
    fn settled(self, now_ms: i64) -> Terms {
        Terms { depth: Depth::Final, ..self.confirmed(now_ms) }
    }

    /// What is to be done about somebody who has the role or does not, without saying why: for many at once. The final block is
    /// looked at only where it matters. `now_ms` is milliseconds since 1970.
    pub fn decide(
        self,
        gate: &Gate,
        wallets: &BTreeSet<Address>,
        known: Known<'_>,
        has: bool,
        now_ms: i64,
    ) -> Decision {
        let confirmed = truth(gate, wallets, known.confirmed, self.confirmed(now_ms));
        let settled = match (has, confirmed) {
            (true, Truth::False) => truth(gate, wallets, known.settled, self.settled(now_ms)),
            _ => Truth::Unknown,
        };
        decide(has, confirmed, settled)
    }
}

impl Evaluated {
    /// Evaluates a gate of somebody who has these wallets. `now_ms` is milliseconds since 1970.
    pub fn new(gate: &Gate, wallets: &BTreeSet<Address>, known: Known<'_>, policy: Policy, now_ms: i64) -> Self {
        Self {
            confirmed: evaluate(gate, wallets, known.confirmed, policy.confirmed(now_ms)),
            settled: evaluate(gate, wallets, known.settled, policy.settled(now_ms)),
        }
    }

    /// What is to be done about somebody who has the role, or does not have it.
    pub fn decide(&self, has: bool) -> Decision {
        decide(has, self.confirmed.truth, self.settled.truth)
    }
}

/// What is to be done, by what holds at the two blocks.
///
/// Who just got a token does not hold it at the final block yet, and would lose at once what they were granted, if that block
/// alone could take: so the confirmed block must agree. Who just lost it still holds it at the final block, and keeps the role
/// until the loss can't be undone.
pub fn decide(has: bool, confirmed: Truth, settled: Truth) -> Decision {
    match (has, confirmed, settled) {
        (false, Truth::True, _) => Decision::Grant,
        (true, Truth::False, Truth::False) => Decision::Take,
        _ => Decision::Keep,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn truth() -> impl Strategy<Value = Truth> {
        select(Truth::ALL.to_vec())
    }

    /// Whether somebody has the role afterwards.
    fn after(has: bool, decision: Decision) -> bool {
        match decision {
            Decision::Grant => true,
            Decision::Keep => has,
            Decision::Take => false,
        }
    }

    #[test]
    fn each_case_is_decided() {
        use Decision::{Grant, Keep, Take};
        use Truth::{False, True, Unknown};
        for (confirmed, settled, without, with) in [
            (True, True, Grant, Keep),
            (True, Unknown, Grant, Keep),
            (True, False, Grant, Keep),
            (Unknown, True, Keep, Keep),
            (Unknown, Unknown, Keep, Keep),
            (Unknown, False, Keep, Keep),
            (False, True, Keep, Keep),
            (False, Unknown, Keep, Keep),
            (False, False, Keep, Take),
        ] {
            let decided = (decide(false, confirmed, settled), decide(true, confirmed, settled));
            assert_eq!(decided, (without, with), "{confirmed} {settled}");
        }
    }

    /// A chain as it is seen while it grows: how the rule is in each block in the end, and what blocks that may still change say.
    #[derive(Debug, Clone)]
    struct Chain {
        holds: Vec<bool>,
        /// Of each moment: how the rule is in the confirmed block as it looks then, if another one takes its place later.
        orphaned: Vec<Option<bool>>,
        /// Of each moment: whether the two blocks can be looked at.
        is_seen: Vec<(bool, bool)>,
        confirmations: usize,
        finality: usize,
    }

    fn chains() -> impl Strategy<Value = Chain> {
        (1..40_usize, 0..4_usize, 0..6_usize).prop_flat_map(|(blocks, confirmations, more)| {
            (
                prop::collection::vec(any::<bool>(), blocks),
                prop::collection::vec(prop::option::weighted(0.2, any::<bool>()), blocks),
                prop::collection::vec((prop::bool::weighted(0.8), prop::bool::weighted(0.8)), blocks),
            )
                .prop_map(move |(holds, orphaned, is_seen)| Chain {
                    holds,
                    orphaned,
                    is_seen,
                    confirmations,
                    finality: confirmations + more,
                })
        })
    }

    impl Chain {
        /// What is known when this many blocks are there. A block that is final stays.
        fn seen(&self, height: usize) -> (Truth, Truth) {
            let at = |depth: usize| height.checked_sub(depth + 1);
            let of = |block: Option<usize>| block.map_or(Truth::Unknown, |block| self.holds[block].into());
            let (confirmed, settled) = (at(self.confirmations), at(self.finality));
            let is_orphan = self.confirmations < self.finality;
            let orphaned = self.orphaned[height - 1].filter(|_| is_orphan && confirmed.is_some());
            let confirmed = orphaned.map_or(of(confirmed), Truth::from);
            let seen = |is_seen: bool, truth: Truth| if is_seen { truth } else { Truth::Unknown };
            let (sees_confirmed, sees_settled) = self.is_seen[height - 1];
            (seen(sees_confirmed, confirmed), seen(sees_settled, of(settled)))
        }
    }

    proptest! {
        #[test]
        fn what_is_unknown_changes_nothing(has: bool, other in truth()) {
            prop_assert_eq!(decide(has, Truth::Unknown, other), Decision::Keep);
            prop_assert_eq!(decide(true, other, Truth::Unknown), Decision::Keep);
        }

        #[test]
        fn deciding_twice_is_deciding_once(has: bool, confirmed in truth(), settled in truth()) {
            let once = after(has, decide(has, confirmed, settled));
            prop_assert_eq!(decide(once, confirmed, settled), Decision::Keep);
        }

        /// Whatever is orphaned or can't be seen in between: when the chain has gone on long enough and is seen, who has the role
        /// is who passes the gate.
        #[test]
        fn in_the_end_who_passes_has_it(chain in chains(), has: bool) {
            let mut now = has;
            for height in 1..=chain.holds.len() {
                let (confirmed, settled) = chain.seen(height);
                let decision = decide(now, confirmed, settled);
                if decision == Decision::Take {
                    let block = height - 1 - chain.finality;
                    prop_assert!(!chain.holds[block], "the rule held in final block {}", block);
                }
                now = after(now, decision);
            }
            let last = *chain.holds.last().unwrap();
            now = after(now, decide(now, last.into(), last.into()));
            prop_assert_eq!(now, last);
        }
    }
}
