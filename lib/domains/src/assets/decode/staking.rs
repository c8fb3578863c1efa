//! Synthetix' StakingRewards: `Staked`, `Withdrawn`, `RewardPaid`, `RewardAdded`.

use nepto_chain::topics;

use super::{Event, Undecodable, address};
use crate::assets::model::{Amount, Class, Effect};

pub fn decode(event: &Event<'_>) -> Result<Vec<Effect>, Undecodable> {
    if event.first() == *topics::REWARD_ADDED {
        // nobody's yet
        let [_] = event.words("RewardAdded", 1)?;
        return Ok(Vec::new());
    }
    let [user, amount] = event.words("a staking event", 2)?;
    let (holder, amount) = (address(user, "`user`")?, Amount(amount));
    let (class, amount) = match event.first() {
        first if first == *topics::STAKED => (Class::Staked, amount),
        first if first == *topics::WITHDRAWN => (Class::Staked, amount.negated()),
        _ => (Class::Rewarded, amount),
    };
    Ok(vec![Effect::Changed { holder, contract: event.contract, class, amount }])
}
