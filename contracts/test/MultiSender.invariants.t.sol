// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {MultiSender} from "../src/MultiSender.sol";
import {NeptoToken} from "../src/NeptoToken.sol";
import {Base} from "./Base.sol";

/// @dev Takes ether or not, from one call to the next.
contract Moody {
    bool public takes;

    function be(bool takes_) external {
        takes = takes_;
    }

    function fetch(MultiSender sender, address to) external {
        sender.withdrawCredit(to);
    }

    function choose(MultiSender sender, bool out) external {
        sender.setOptedOut(out);
    }

    receive() external payable {
        require(takes);
    }
}

/// @dev Does what senders and recipients do, at random.
contract Crowd is Base {
    MultiSender public sender;
    NeptoToken public token;
    Moody[] public all;

    constructor(MultiSender sender_, NeptoToken token_) {
        (sender, token) = (sender_, token_);
        for (uint256 i = 0; i < 5; ++i) {
            all.push(new Moody());
        }
    }

    receive() external payable {}

    function be(uint256 who, bool takes) external {
        all[who % all.length].be(takes);
    }

    function choose(uint256 who, bool out) external {
        all[who % all.length].choose(sender, out);
    }

    function fetch(uint256 who, uint256 to) external {
        Moody person = all[who % all.length];
        address payable target = payable(address(all[to % all.length]));
        if (sender.credits(address(person)) > 0 && Moody(target).takes()) person.fetch(sender, target);
    }

    function send(uint256 seed, uint256 count, bool ether_) external {
        count = bound(count, 1, 12);
        address[] memory to = new address[](count);
        uint256[] memory amounts = new uint256[](count);
        uint256 total;
        for (uint256 i = 0; i < count; ++i) {
            uint256 draw = uint256(keccak256(abi.encode(seed, i)));
            to[i] = address(all[draw % all.length]);
            amounts[i] = (draw >> 16) % 1e18;
            total += amounts[i];
        }
        if (ether_) sender.sendEther{value: total}(to, amounts, 0, "");
        else sender.sendToken(token, to, amounts, total, 0, "");
    }

    function open() external {
        token.approve(address(sender), type(uint256).max);
    }
}

contract MultiSenderInvariants is Base {
    MultiSender private sender;
    NeptoToken private token;
    Crowd private crowd;

    function setUp() public {
        sender = new MultiSender();
        token = new NeptoToken("Nepto", "NEP", 1e30, address(this));
        crowd = new Crowd(sender, token);
        token.transfer(address(crowd), 1e30);
        vm.deal(address(crowd), 1e30);
        crowd.open();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(crowd);
    }

    /// @dev Nothing stays but what somebody can fetch, and nothing is lost.
    function invariant_no_residue() public view {
        uint256 credits;
        uint256 held = address(crowd).balance;
        uint256 tokens = token.balanceOf(address(crowd));
        for (uint256 i = 0; i < 5; ++i) {
            address person = address(crowd.all(i));
            credits += sender.credits(person);
            held += person.balance;
            tokens += token.balanceOf(person);
        }
        vm.assertEq(address(sender).balance, credits);
        vm.assertEq(token.balanceOf(address(sender)), 0);
        vm.assertEq(held + credits, 1e30);
        vm.assertEq(tokens, 1e30);
    }
}
