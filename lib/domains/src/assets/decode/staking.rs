//! Synthetix' StakingRewards: `Staked`, `Withdrawn`, `RewardPaid`, `RewardAdded`.

use nepto_chain::topics;

use super::{Event, Undecodable, address};
use crate::assets::model::{Amount, AssetClass, Effect};

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    let (class, is_added) = match event.first() {
        first if first == *topics::STAKED => (AssetClass::Staked, true),
        first if first == *topics::WITHDRAWN => (AssetClass::Staked, false),
        first if first == *topics::REWARD_PAID => (AssetClass::Rewarded, true),
        first if first == *topics::REWARD_ADDED => {
            // nobody's yet
            let [_] = event.words("RewardAdded", 1)?;
            return Ok(Vec::new());
        }
        _ => return event.unknown("StakingRewards"),
    };
    let [user, amount] = event.words("a staking event", 2)?;
    let (holder, amount) = (address(user, "`user`")?, Amount(amount));
    let amount = if is_added { amount } else { amount.negated() };
    Ok(vec![Effect::Changed { holder, contract: event.contract, class, amount }])
}
