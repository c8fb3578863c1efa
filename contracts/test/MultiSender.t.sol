// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {MultiSender} from "../src/MultiSender.sol";
import {NeptoToken} from "../src/NeptoToken.sol";
import {Base} from "./Base.sol";
import {FeeToken, OldToken} from "./Tokens.sol";

/// @dev Takes ether only while told so, and can be made to burn gas, answer at length or call back.
contract Recipient {
    enum Mood {
        Takes,
        Refuses,
        Burns,
        Babbles,
        CallsBack
    }

    Mood public mood;
    MultiSender private immutable _sender;

    constructor(MultiSender sender) {
        _sender = sender;
    }

    function be(Mood mood_) external {
        mood = mood_;
    }

    function fetch(address to) external {
        _sender.withdrawCredit(to);
    }

    receive() external payable {
        if (mood == Mood.Refuses) revert("no");
        if (mood == Mood.Burns) while (true) {}
        if (mood == Mood.Babbles) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (mood == Mood.CallsBack) _sender.withdrawCredit(address(this));
    }
}

contract MultiSenderTest is Base {
    MultiSender private sender;
    NeptoToken private token;
    bytes32 private constant HASH = keccak256("content");

    receive() external payable {}

    function setUp() public {
        sender = new MultiSender();
        token = new NeptoToken("Nepto", "NEP", 1e30, address(this));
        token.approve(address(sender), type(uint256).max);
        vm.deal(address(this), 1e24);
    }

    function test_everybody_gets_their_part_and_one_message_is_told() public {
        address[] memory to = people(3, 1);
        uint256[] memory amounts = new uint256[](3);
        (amounts[0], amounts[1], amounts[2]) = (1, 20, 300);
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit();
            emit MultiSender.Paid(1, to[i], amounts[i]);
        }
        vm.expectEmit();
        emit MultiSender.MessageSent(1, address(this), address(token), HASH, "hello");
        vm.assertEq(sender.sendToken(token, to, amounts, 321, HASH, "hello"), 1);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(token.balanceOf(to[i]), amounts[i]);
        }
        vm.assertEq(token.balanceOf(address(sender)), 0);
        vm.assertEq(sender.sendEther{value: 321}(to, amounts, HASH, "and ether"), 2);
        vm.assertEq(to[2].balance, 300);
        vm.assertEq(address(sender).balance, 0);
    }

    function test_what_does_not_add_up_is_refused() public {
        address[] memory to = people(2, 1);
        vm.expectRevert(abi.encodeWithSelector(MultiSender.WrongTotal.selector, 9, 10));
        sender.sendToken(token, to, same(2, 5), 9, HASH, "");
        vm.expectRevert(abi.encodeWithSelector(MultiSender.WrongTotal.selector, 11, 10));
        sender.sendEther{value: 11}(to, same(2, 5), HASH, "");
        vm.expectRevert(abi.encodeWithSelector(MultiSender.LengthMismatch.selector, 2, 3));
        sender.sendToken(token, to, same(3, 5), 15, HASH, "");
        vm.expectRevert(MultiSender.NoRecipients.selector);
        sender.sendToken(token, people(0, 1), same(0, 0), 0, HASH, "");
        vm.expectRevert(abi.encodeWithSelector(MultiSender.TooManyRecipients.selector, 401, 400));
        sender.sendToken(token, people(401, 1), same(401, 1), 401, HASH, "");
        vm.expectRevert(abi.encodeWithSelector(MultiSender.MessageTooLong.selector, 513, 512));
        sender.sendToken(token, to, same(2, 5), 10, HASH, string(new bytes(513)));
    }

    function test_who_opted_out_gets_nothing_and_the_sender_keeps_it() public {
        address[] memory to = people(3, 1);
        vm.prank(to[1]);
        sender.setOptedOut(true);
        uint256 before = token.balanceOf(address(this));
        vm.expectEmit();
        emit MultiSender.Paid(1, to[0], 5);
        vm.expectEmit();
        emit MultiSender.Skipped(1, to[1], 5);
        sender.sendToken(token, to, same(3, 5), 15, HASH, "ad");
        vm.assertEq(token.balanceOf(to[1]), 0);
        vm.assertEq(before - token.balanceOf(address(this)), 10);
        uint256 ether_ = address(this).balance;
        sender.sendEther{value: 15}(to, same(3, 5), HASH, "ad");
        vm.assertEq(to[1].balance, 0);
        vm.assertEq(ether_ - address(this).balance, 10);
        // and in again
        vm.prank(to[1]);
        sender.setOptedOut(false);
        sender.sendToken(token, to, same(3, 5), 15, HASH, "ad");
        vm.assertEq(token.balanceOf(to[1]), 5);
    }

    function testFuzz_the_filter_never_lets_one_through(uint256 seed, uint256 count) public {
        address[] memory to = people(bound(count, 1, 60), seed);
        for (uint256 i = 0; i < to.length; i += 2) {
            vm.prank(to[i]);
            sender.setOptedOut(true);
        }
        sender.sendToken(token, to, same(to.length, 7), 7 * to.length, HASH, "");
        for (uint256 i = 0; i < to.length; ++i) {
            vm.assertEq(token.balanceOf(to[i]), i % 2 == 0 ? 0 : 7);
        }
        vm.assertEq(token.balanceOf(address(sender)), 0);
    }

    function test_a_token_that_keeps_a_fee_is_refused() public {
        FeeToken fee = new FeeToken();
        fee.approve(address(sender), 1e30);
        vm.expectRevert(abi.encodeWithSelector(MultiSender.FeeOnTransfer.selector, 200, 198));
        sender.sendToken(fee, people(2, 1), same(2, 100), 200, HASH, "");
    }

    function test_a_token_without_answers_works_and_whom_it_refuses_is_skipped() public {
        OldToken old = new OldToken();
        old.approve(address(sender), 300);
        address[] memory to = people(3, 1);
        old.refuse(to[0]);
        sender.sendToken(IERC20(address(old)), to, same(3, 100), 300, HASH, "");
        vm.assertEq(old.balanceOf(to[0]), 0);
        vm.assertEq(old.balanceOf(to[2]), 100);
        vm.assertEq(old.balanceOf(address(this)), 1e30 - 200);
        vm.assertEq(old.balanceOf(address(sender)), 0);
    }

    function test_ether_that_nobody_took_is_credited_and_fetched_once() public {
        Recipient.Mood[4] memory moods =
            [Recipient.Mood.Refuses, Recipient.Mood.Burns, Recipient.Mood.Babbles, Recipient.Mood.CallsBack];
        for (uint256 i = 0; i < moods.length; ++i) {
            Recipient recipient = new Recipient(sender);
            recipient.be(moods[i]);
            address[] memory to = people(2, i + 7);
            to[0] = address(recipient);
            uint256 gas_ = gasleft();
            sender.sendEther{value: 20}(to, same(2, 10), HASH, "");
            vm.assertLe(gas_ - gasleft(), 250_000, "a recipient costs what it likes");
            vm.assertEq(sender.credits(address(recipient)), 10);
            vm.assertEq(address(sender).balance, 10);
            vm.assertEq(to[1].balance, 10);
            // not to itself, while it does not take it
            if (moods[i] != Recipient.Mood.Burns) {
                vm.expectRevert(abi.encodeWithSelector(MultiSender.EtherRefused.selector, address(recipient)));
                recipient.fetch(address(recipient));
            }
            recipient.fetch(to[1]);
            vm.assertEq(to[1].balance, 20);
            vm.assertEq(address(sender).balance, 0);
            vm.expectRevert(MultiSender.NoCredit.selector);
            recipient.fetch(to[1]);
        }
    }

    function test_a_sender_that_takes_no_ether_gets_a_credit_for_what_is_left() public {
        address[] memory to = people(1, 1);
        vm.prank(to[0]);
        sender.setOptedOut(true);
        Recipient from = new Recipient(sender);
        from.be(Recipient.Mood.Refuses);
        vm.deal(address(from), 5);
        vm.prank(address(from));
        sender.sendEther{value: 5}(to, same(1, 5), HASH, "");
        vm.assertEq(sender.credits(address(from)), 5);
    }

    function testFuzz_nothing_is_lost_and_nothing_stays(uint256 seed, uint256 count, uint256 most) public {
        address[] memory to = people(bound(count, 1, 100), seed);
        uint256[] memory amounts = new uint256[](to.length);
        uint256 total;
        for (uint256 i = 0; i < to.length; ++i) {
            amounts[i] = uint256(keccak256(abi.encode(seed, i))) % (bound(most, 0, 1e20) + 1);
            total += amounts[i];
        }
        uint256 before = token.balanceOf(address(this));
        sender.sendToken(token, to, amounts, total, HASH, "");
        for (uint256 i = 0; i < to.length; ++i) {
            vm.assertEq(token.balanceOf(to[i]), amounts[i]);
        }
        vm.assertEq(before - token.balanceOf(address(this)), total);
        vm.assertEq(token.balanceOf(address(sender)), 0);
    }

    function test_ids_count() public {
        address[] memory to = people(1, 1);
        for (uint256 i = 1; i <= 3; ++i) {
            vm.assertEq(sender.sendToken(token, to, same(1, 1), 1, HASH, ""), i);
        }
        vm.assertEq(sender.batches(), 3);
    }
}
