// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

/// @title Staking with rewards that flow evenly over a period
/// @notice The events are those of Synthetix' StakingRewards, which collectors know: `Staked`, `Withdrawn`, `RewardPaid`,
/// `RewardAdded`. Amounts in them are what really moved.
/// @dev Stakes and rewards may be the same token: rewards are only promised from what is not staked.
contract Staking is Ownable, ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// @dev Rewards for one staked base unit are counted in parts of this.
    uint256 private constant SCALE = 1e18;

    /// @notice What is staked.
    IERC20 public immutable stakingToken;
    /// @notice What is paid for it.
    IERC20 public immutable rewardsToken;
    /// @notice How long each reward flows, in seconds.
    uint256 public immutable rewardsDuration;

    /// @notice When the current reward has flowed out, in Unix seconds.
    uint256 public periodFinish;
    /// @notice Reward a second, in base units times 1e18.
    uint256 public rewardRate;
    /// @notice When the counter below was brought up to date.
    uint256 public lastUpdateTime;
    /// @notice Reward for one staked base unit since the beginning, times 1e18.
    uint256 public rewardPerTokenStored;
    /// @notice All stakes.
    uint256 public totalSupply;
    /// @notice Rewards that were promised and not paid yet.
    uint256 public promised;

    /// @notice The stake of an account.
    mapping(address account => uint256) public balanceOf;
    /// @notice The counter when the account's reward was computed last.
    mapping(address account => uint256) public userRewardPerTokenPaid;
    /// @notice Its reward up to then.
    mapping(address account => uint256) public rewards;

    event RewardAdded(uint256 reward);
    event Staked(address indexed user, uint256 amount);
    event Withdrawn(address indexed user, uint256 amount);
    event RewardPaid(address indexed user, uint256 reward);

    /// @notice Nothing is no amount.
    error NothingToDo();
    /// @notice The contract does not hold what would be promised.
    error RewardNotFunded(uint256 free, uint256 reward);

    constructor(IERC20 stakingToken_, IERC20 rewardsToken_, uint256 rewardsDuration_, address owner_) Ownable(owner_) {
        stakingToken = stakingToken_;
        rewardsToken = rewardsToken_;
        rewardsDuration = rewardsDuration_;
    }

    /// @notice Stakes what was approved before.
    function stake(uint256 amount) external nonReentrant {
        _update(msg.sender);
        uint256 before = stakingToken.balanceOf(address(this));
        stakingToken.safeTransferFrom(msg.sender, address(this), amount);
        // a token may keep a fee: only what arrived is staked
        uint256 arrived = stakingToken.balanceOf(address(this)) - before;
        if (arrived == 0) revert NothingToDo();
        totalSupply += arrived;
        balanceOf[msg.sender] += arrived;
        emit Staked(msg.sender, arrived);
    }

    /// @notice Takes stake back.
    function withdraw(uint256 amount) external nonReentrant {
        _withdraw(amount);
    }

    /// @notice Takes the reward.
    function getReward() external nonReentrant {
        _getReward();
    }

    /// @notice Takes everything.
    function exit() external nonReentrant {
        _withdraw(balanceOf[msg.sender]);
        _getReward();
    }

    /// @notice Lets a reward flow to the stakers over the next period, together with what has not flowed yet. The contract
    /// must hold it already.
    function notifyRewardAmount(uint256 reward) external onlyOwner {
        _update(address(0));
        uint256 free = rewardsToken.balanceOf(address(this)) - promised;
        if (address(rewardsToken) == address(stakingToken)) free -= totalSupply;
        if (reward == 0) revert NothingToDo();
        if (reward > free) revert RewardNotFunded(free, reward);
        promised += reward;
        uint256 scaled = reward * SCALE;
        if (block.timestamp < periodFinish) scaled += (periodFinish - block.timestamp) * rewardRate;
        rewardRate = scaled / rewardsDuration;
        lastUpdateTime = block.timestamp;
        periodFinish = block.timestamp + rewardsDuration;
        emit RewardAdded(reward);
    }

    /// @notice The reward of an account, up to now.
    function earned(address account) public view returns (uint256) {
        uint256 since = rewardPerToken() - userRewardPerTokenPaid[account];
        return Math.mulDiv(balanceOf[account], since, SCALE) + rewards[account];
    }

    /// @notice Reward for one staked base unit since the beginning, times 1e18.
    function rewardPerToken() public view returns (uint256) {
        if (totalSupply == 0) return rewardPerTokenStored;
        return rewardPerTokenStored + (_flowsUntil() - lastUpdateTime) * rewardRate / totalSupply;
    }

    function _withdraw(uint256 amount) private {
        if (amount == 0) revert NothingToDo();
        _update(msg.sender);
        totalSupply -= amount;
        balanceOf[msg.sender] -= amount;
        stakingToken.safeTransfer(msg.sender, amount);
        emit Withdrawn(msg.sender, amount);
    }

    function _getReward() private {
        _update(msg.sender);
        uint256 reward = rewards[msg.sender];
        if (reward == 0) return;
        rewards[msg.sender] = 0;
        promised -= reward;
        rewardsToken.safeTransfer(msg.sender, reward);
        emit RewardPaid(msg.sender, reward);
    }

    function _update(address account) private {
        if (totalSupply == 0 && lastUpdateTime < periodFinish) {
            // nothing flows while nobody is there to take it
            periodFinish = block.timestamp + (periodFinish - lastUpdateTime);
        }
        rewardPerTokenStored = rewardPerToken();
        lastUpdateTime = _flowsUntil();
        if (account == address(0)) return;
        rewards[account] = earned(account);
        userRewardPerTokenPaid[account] = rewardPerTokenStored;
    }

    function _flowsUntil() private view returns (uint256) {
        return Math.min(block.timestamp, periodFinish);
    }
}
