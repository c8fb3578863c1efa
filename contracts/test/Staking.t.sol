// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Staking} from "../src/Staking.sol";
import {NeptoToken} from "../src/NeptoToken.sol";
import {Base} from "./Base.sol";
import {FeeToken} from "./Tokens.sol";

contract StakingTest is Base {
    uint256 private constant WEEK = 7 days;
    NeptoToken private token;
    Staking private staking;
    address private alice = address(0xA11CE);
    address private bob = address(0xB0B);

    function setUp() public {
        vm.warp(1_700_000_000);
        token = new NeptoToken("Nepto", "NEP", 1e30, address(this));
        staking = new Staking(token, token, WEEK, address(this));
        for (uint256 i = 0; i < 2; ++i) {
            address who = i == 0 ? alice : bob;
            token.transfer(who, 1e24);
            vm.prank(who);
            token.approve(address(staking), type(uint256).max);
        }
    }

    function _stake(address who, uint256 amount) private {
        vm.prank(who);
        staking.stake(amount);
    }

    function _fund(uint256 reward) private {
        token.transfer(address(staking), reward);
        staking.notifyRewardAmount(reward);
    }

    function test_a_reward_flows_by_stake_and_time() public {
        _stake(alice, 100e18);
        _fund(700e18);
        vm.warp(1_700_000_000 + 1 days);
        _stake(bob, 300e18);
        vm.warp(1_700_000_000 + WEEK + 1 days);
        // a seventh alone, then a quarter of the rest
        vm.assertLe(250e18 - staking.earned(alice), 1e4);
        vm.assertLe(450e18 - staking.earned(bob), 1e4);
        vm.prank(alice);
        vm.expectEmit();
        emit Staking.Withdrawn(alice, 100e18);
        staking.exit();
        vm.assertLe(1e24 + 250e18 - token.balanceOf(alice), 1e4);
        vm.assertEq(staking.totalSupply(), 300e18);
    }

    function test_stakes_of_others_are_never_promised_as_reward() public {
        _stake(alice, 100e18);
        vm.expectRevert(abi.encodeWithSelector(Staking.RewardNotFunded.selector, 0, 1));
        staking.notifyRewardAmount(1);
        _fund(50e18);
        // it is promised already
        vm.expectRevert(abi.encodeWithSelector(Staking.RewardNotFunded.selector, 0, 1));
        staking.notifyRewardAmount(1);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, alice));
        staking.notifyRewardAmount(1);
    }

    function test_nothing_flows_while_nobody_stakes() public {
        _fund(700e18);
        vm.warp(1_700_000_000 + 30 days);
        _stake(alice, 1e18);
        vm.warp(1_700_000_000 + 30 days + WEEK);
        vm.assertLe(700e18 - staking.earned(alice), 1e6);
    }

    function test_nothing_is_no_amount() public {
        vm.expectRevert(Staking.NothingToDo.selector);
        staking.stake(0);
        vm.expectRevert(Staking.NothingToDo.selector);
        staking.withdraw(0);
        vm.expectRevert(Staking.NothingToDo.selector);
        staking.exit();
        staking.getReward();
    }

    function test_what_is_told_is_what_arrived() public {
        FeeToken fee = new FeeToken();
        Staking other = new Staking(fee, token, WEEK, address(this));
        fee.approve(address(other), 1e30);
        vm.expectEmit();
        emit Staking.Staked(address(this), 99);
        other.stake(100);
        vm.assertEq(other.balanceOf(address(this)), 99);
    }
}

/// @dev Does what people do, at random.
contract Stakers is Base {
    Staking public staking;
    NeptoToken private token;
    address[] public all;

    constructor(Staking staking_, NeptoToken token_) {
        (staking, token) = (staking_, token_);
        all = people(4, 1);
    }

    function open() external {
        for (uint256 i = 0; i < all.length; ++i) {
            token.transfer(all[i], 1e24);
            vm.prank(all[i]);
            token.approve(address(staking), type(uint256).max);
        }
    }

    function stake(uint256 who, uint256 amount) external {
        address person = all[who % all.length];
        amount = bound(amount, 0, token.balanceOf(person));
        if (amount == 0) return;
        vm.prank(person);
        staking.stake(amount);
    }

    function withdraw(uint256 who, uint256 amount) external {
        address person = all[who % all.length];
        amount = bound(amount, 0, staking.balanceOf(person));
        if (amount == 0) return;
        vm.prank(person);
        staking.withdraw(amount);
    }

    function getReward(uint256 who) external {
        vm.prank(all[who % all.length]);
        staking.getReward();
    }

    function fund(uint256 reward) external {
        reward = bound(reward, 1, 1e24);
        token.transfer(address(staking), reward);
        staking.notifyRewardAmount(reward);
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, 10 days));
    }
}

contract StakingInvariants is Base {
    NeptoToken private token;
    Staking private staking;
    Stakers private stakers;

    function setUp() public {
        vm.warp(1_700_000_000);
        token = new NeptoToken("Nepto", "NEP", 1e30, address(this));
        staking = new Staking(token, token, 7 days, address(this));
        stakers = new Stakers(staking, token);
        staking.transferOwnership(address(stakers));
        token.transfer(address(stakers), 1e30);
        stakers.open();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(stakers);
    }

    /// @dev Every stake can be taken back, and every reward paid, at any moment.
    function invariant_everything_is_covered() public view {
        uint256 stakes;
        uint256 earned;
        for (uint256 i = 0; i < 4; ++i) {
            stakes += staking.balanceOf(stakers.all(i));
            earned += staking.earned(stakers.all(i));
        }
        vm.assertEq(stakes, staking.totalSupply());
        vm.assertLe(earned, staking.promised());
        vm.assertEq(token.balanceOf(address(staking)), stakes + staking.promised());
    }
}
